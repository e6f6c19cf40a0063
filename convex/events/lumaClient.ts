/**
 * Reads a calendar's whole listing from lu.ma: endpoints, pages and their bounds. It returns a complete
 * listing or throws: nothing that went wrong looks like an empty calendar. No database.
 */
import { milliseconds } from "date-fns";
import { LumaError } from "./luma/error";
import { toMirroredEvent } from "./luma/mapping";
import { pause, requestPage } from "./luma/request";
import { lumaPage, readEntry, type InvalidEntry } from "./luma/wire";
import type { MirroredEvent } from "./validators";

/**
 * The endpoint's two addresses: the one this module was planned for, then the only one in Luma's documentation
 * of August 2026, which says that older ones "remain available for backward compatibility".
 */
const ENDPOINTS = [
  "https://public-api.lu.ma/public/v1/calendar/list-events",
  "https://public-api.luma.com/v1/calendars/events/list",
];
/** Replaces both, for tests, demos and proxies. */
const ENDPOINT_VARIABLE = "LUMA_LIST_EVENTS_URL";

/** What is asked for; the server caps it at a number that it does not tell. */
const PAGE_SIZE = 100;
/** 20,000 events in four months is no calendar: something turns in circles. */
const MAX_PAGES = 200;
/** Keeps well below lu.ma's 200 requests a minute (its documentation, "Rate limits"). */
const PAGE_PAUSE_MS = 200;
/** A full run's action takes an organization on in its first 2 minutes and must be done after 10. */
const FETCH_TIMEOUT_MS = milliseconds({ minutes: 7 });

/** A complete listing, ready to be stored. */
export type LumaListing = {
  /** By lu.ma id: the same id twice is one event, as it was listed last. */
  events: Map<string, MirroredEvent>;
  invalid: InvalidEntry[];
};

/**
 * Every event that the key's calendar manages and that starts between `after` and `before` (ms since 1970,
 * UTC), whatever its visibility. Takes 7 minutes at most, waits included.
 *
 * @throws LumaError with a reason for an administrator, without the key.
 */
export async function fetchLumaEvents(request: {
  apiKey: string;
  after: number;
  before: number;
}): Promise<LumaListing> {
  const { apiKey } = request;
  const deadline = Date.now() + FETCH_TIMEOUT_MS;
  const listing: LumaListing = { events: new Map(), invalid: [] };
  const usedCursors = new Set<string>();
  let { endpoint, json } = await requestFirstPage(request, deadline);
  for (let pageNumber = 1; ; pageNumber += 1) {
    const page = readPage(json, pageNumber);
    for (const entry of page.entries) {
      const read = readEntry(entry);
      if ("event" in read) listing.events.set(read.event.id, toMirroredEvent(read.event));
      else listing.invalid.push(read.invalid);
    }
    if (!page.has_more) return listing;

    const cursor = page.next_cursor;
    if (!cursor) {
      throw new LumaError(`page ${pageNumber} has a next one, but lu.ma gave no cursor for it.`);
    }
    if (usedCursors.has(cursor)) {
      throw new LumaError(`lu.ma gave the cursor of page ${pageNumber} a second time.`);
    }
    if (pageNumber === MAX_PAGES) {
      throw new LumaError(`lu.ma's listing has more than ${MAX_PAGES} pages.`);
    }
    usedCursors.add(cursor);
    await pause(PAGE_PAUSE_MS, deadline);
    const url = toPageUrl(endpoint, request, cursor);
    const label = `page ${pageNumber + 1}`;
    const answer = await requestPage({ url, apiKey, label, deadline });
    if ("gone" in answer) throw new LumaError(`the listing broke off: ${answer.gone}.`);
    json = answer.json;
  }
}

/** Finds the endpoint that is still there, by its first page. */
async function requestFirstPage(
  request: { apiKey: string; after: number; before: number },
  deadline: number,
): Promise<{ endpoint: URL; json: unknown }> {
  const gone: string[] = [];
  for (const endpoint of getEndpoints()) {
    const url = toPageUrl(endpoint, request);
    const answer = await requestPage({ url, apiKey: request.apiKey, label: "page 1", deadline });
    if ("json" in answer) return { endpoint, json: answer.json };
    gone.push(`${endpoint.host}: ${answer.gone}`);
  }
  throw new LumaError(
    `lu.ma's list of events could not be fetched. ${gone.join("; ")}. Sync again later; if that does not help, look ` +
      `whether lu.ma has moved its API, and set ${ENDPOINT_VARIABLE} to where it is now.`,
  );
}

function getEndpoints(): URL[] {
  const replacement = process.env[ENDPOINT_VARIABLE]?.trim();
  if (!replacement) return ENDPOINTS.map((endpoint) => new URL(endpoint));
  try {
    const url = new URL(replacement);
    // fetch refuses a URL with a user's name or password.
    if (/^https?:$/.test(url.protocol) && !url.username && !url.password) return [url];
  } catch {
    // Said below.
  }
  throw new LumaError(
    `the environment variable ${ENDPOINT_VARIABLE} is not an http(s) URL (without a user's name in it). ` +
      "Correct it, or remove it to ask lu.ma itself.",
  );
}

function toPageUrl(endpoint: URL, window: { after: number; before: number }, cursor?: string): URL {
  const url = new URL(endpoint);
  url.searchParams.set("after", new Date(window.after).toISOString());
  url.searchParams.set("before", new Date(window.before).toISOString());
  url.searchParams.set("pagination_limit", String(PAGE_SIZE));
  url.searchParams.set("sort_column", "start_at");
  url.searchParams.set("sort_direction", "asc");
  if (cursor !== undefined) url.searchParams.set("pagination_cursor", cursor);
  return url;
}

function readPage(json: unknown, pageNumber: number) {
  const page = lumaPage.safeParse(json);
  if (page.success) return page.data;
  const fields = [
    ...new Set(page.error.issues.map((issue) => issue.path.join(".") || "all of it")),
  ];
  throw new LumaError(
    `lu.ma answered page ${pageNumber} with JSON that is not a list of events (wrong: ${fields.join(", ")}).`,
  );
}
