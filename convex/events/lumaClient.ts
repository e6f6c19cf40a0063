/**
 * Reads from lu.ma: a calendar's whole listing, or one event's description, or a LumaError. Nothing that went wrong
 * looks like an empty calendar. lu.ma's own names and formats stay behind this file. No database.
 */
import type { LumaKey } from "../orgs/lumaKey";
import {
  getAddresses,
  getAddressHint,
  toEventUrl,
  toPageUrl,
  type LumaAddress,
} from "./luma/addresses";
import { combineErrors, LumaError, SYNC_LATER } from "./luma/error";
import { toDescription, toMirroredEvent } from "./luma/mapping";
import { pause, requestJson } from "./luma/request";
import { lumaPage, readDescription, readEntry, type InvalidEntry } from "./luma/wire";
import type { MirroredEvent } from "./validators";

/** What is asked for; the server caps it at a number that it does not tell. */
const PAGE_SIZE = 100;
/** 20,000 events in four months is no calendar: something turns in circles. */
const MAX_PAGES = 200;
/** Keeps well below lu.ma's 200 requests a minute (its documentation, "Rate limits"). */
const PAGE_PAUSE_MS = 200;
/** The 429 of one page at which it is given up. */
const MAX_RATE_LIMITED = 4;

/** A complete listing, ready to be stored. */
export type LumaListing = {
  /** By lu.ma id: the same id twice is one event, as it was listed last. */
  events: Map<string, MirroredEvent>;
  invalid: InvalidEntry[];
  /** Where it came from. */
  address: LumaAddress;
};

type ListingRequest = {
  key: LumaKey;
  /** The events' start, ms since 1970, UTC. */
  after: number;
  before: number;
  /** When to give up, ms since 1970, waits included. */
  deadline: number;
};

/**
 * Every event that the key's calendar manages and that starts between `after` and `before`, whatever its visibility.
 *
 * @throws LumaError with a reason for an administrator, without the key.
 */
export async function fetchLumaEvents(request: ListingRequest): Promise<LumaListing> {
  let { address, page } = await fetchFirstPage(request);
  const listing: LumaListing = { events: new Map(), invalid: [], address };
  const usedCursors = new Set<string>();
  for (let pageNumber = 1; ; pageNumber += 1) {
    for (const entry of page.entries) {
      const read = readEntry(entry);
      if ("event" in read) listing.events.set(read.event.id, toMirroredEvent(read.event));
      else listing.invalid.push(read.invalid);
    }
    if (!page.has_more) return listing;

    const cursor = page.next_cursor;
    if (!cursor) throw oddity(`page ${pageNumber} has a next one, but lu.ma gave no cursor for it`);
    if (usedCursors.has(cursor)) {
      throw oddity(`lu.ma gave the cursor of page ${pageNumber} a second time`);
    }
    if (pageNumber === MAX_PAGES) throw oddity(`lu.ma's listing has more than ${MAX_PAGES} pages`);
    usedCursors.add(cursor);
    await pause(PAGE_PAUSE_MS, request.deadline);
    page = await fetchPage(request, address, pageNumber + 1, cursor);
  }
}

type LumaPage = ReturnType<typeof lumaPage.parse>;

/** Finds the address that answers, by its first page. */
async function fetchFirstPage(request: ListingRequest) {
  const errors: LumaError[] = [];
  for (const address of getAddresses()) {
    try {
      return { address, page: await fetchPage(request, address, 1) };
    } catch (error) {
      if (!(error instanceof LumaError)) throw error;
      errors.push(error);
      if (error.consequences.isFinal) break;
    }
  }
  throw combineErrors(errors);
}

async function fetchPage(
  { key, after, before, deadline }: ListingRequest,
  address: LumaAddress,
  pageNumber: number,
  cursor?: string,
): Promise<LumaPage> {
  const url = toPageUrl(address, { after, before, size: PAGE_SIZE, cursor });
  const label = `page ${pageNumber}`;
  const json = await requestJson({ url, key, label, deadline, maxRateLimited: MAX_RATE_LIMITED });
  const page = lumaPage.safeParse(json);
  if (page.success) return page.data;
  const wrong = page.error.issues.map((issue) => issue.path.join(".") || "all of it");
  throw new LumaError(
    `${url.host} answered ${label} with JSON that is not a list of events (wrong: ${[...new Set(wrong)].join(", ")})`,
    {
      kind: "lasting",
      advice:
        getAddressHint().trim() ||
        "lu.ma may have changed its API: look for a newer version of this module.",
    },
  );
}

/** What lu.ma should not do, and may not do the next time. */
function oddity(what: string): LumaError {
  return new LumaError(what, {
    kind: "passing",
    advice: `${SYNC_LATER}${getAddressHint()}`,
  });
}

/**
 * One event's description, ready to be stored: empty when lu.ma has none, `undefined` when this event's cannot be fetched,
 * and asking again would not help.
 *
 * @throws LumaError when it is of no use to ask for others now.
 */
export async function fetchLumaDescription(
  lumaEventId: string,
  { key, address, deadline }: { key: LumaKey; address: LumaAddress; deadline: number },
): Promise<string | undefined> {
  const url = toEventUrl(address, lumaEventId);
  const label = "a description";
  try {
    const json = await requestJson({ url, key, label, deadline, maxRateLimited: 1 });
    const description = readDescription(json);
    return description === null ? undefined : toDescription(description);
  } catch (error) {
    if (error instanceof LumaError && isOfOneEvent(error.consequences.status)) {
      return undefined;
    }
    throw error;
  }
}

/** A redirect, or a 4xx that does not concern the key. */
function isOfOneEvent(status: number | undefined): boolean {
  return status !== undefined && status >= 300 && status < 500 && status !== 401 && status !== 429;
}
