/**
 * Reads from lu.ma: a calendar's complete list of events, a single event, or the key's calendar. A list is complete or
 * an error, never silently short. lu.ma's own names and formats stay behind this file.
 */
import { SyncError, toConsequences, type Cause } from "./failure";
import { getAddresses, toEventUrl, toPageUrl, type LumaAddress } from "./luma/addresses";
import {
  isKnownToBePublic,
  isSaidToBeHidden,
  toDescription,
  toMirroredEvent,
} from "./luma/mapping";
import type { LumaKey } from "./luma/key";
import { pause, PATIENT, requestJson, type Patience } from "./luma/request";
import { lumaPage, readCalendar, readEntry } from "./luma/wire";
import { quote } from "./text";
import type { MirroredEvent } from "./validators";

/** lu.ma caps this at an undocumented number. */
const PAGE_SIZE = 100;
/** No calendar has 20,000 events in a window, so pagination must be looping. */
const MAX_PAGES = 200;
/**
 * From the end of one page to the start of the next. lu.ma allows 200 requests a minute (its documentation, "Rate
 * limits").
 */
const PAGE_PAUSE_MS = 200;

const EXPIRED_ON_LATER_PAGE: Cause[] = ["malformed", "gone", "refused"];

/** A complete listing, ready to be stored. */
export type LumaListing = {
  /** By lu.ma id. If an id is listed twice, the last one counts. */
  listed: Map<string, MirroredEvent>;
  invalid: InvalidEntry[];
  address: LumaAddress;
};

/** An entry that couldn't be read. */
type InvalidEntry = {
  /** `null` if not even the id could be read. */
  id: string | null;
  /** Which entry, and what is wrong with it, for the log and for errors. */
  what: string;
  isPublic: boolean;
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
 * All events on lu.ma's list for this key that start between `after` and `before`, whatever their visibility.
 *
 * @throws SyncError, whose message never contains the key.
 */
export async function fetchLumaEvents(request: ListingRequest): Promise<LumaListing> {
  const first = await fetchFirstPage(request);
  const { address } = first;
  let { page } = first;
  const listing: LumaListing = { listed: new Map(), invalid: [], address };
  const usedCursors = new Set<string>();
  for (let pageNumber = 1; ; pageNumber += 1) {
    for (const entry of page.entries) {
      const read = readEntry(entry);
      if ("event" in read) {
        listing.listed.set(read.event.id, toMirroredEvent(read.event, read.audiences));
      } else {
        const what = quote(`${read.id ?? "(no id)"} (${read.reason})`, request.key.apiKey);
        if (read.id !== null) listing.listed.delete(read.id);
        listing.invalid.push({ id: read.id, what, isPublic: isKnownToBePublic(read.audiences) });
      }
    }
    if (!page.has_more) return listing;

    const cursor = page.next_cursor;
    const odd = (what: string) => new SyncError(`lu.ma returned ${what}`, "oddPages");
    if (!cursor) throw odd(`no cursor after page ${pageNumber}`);
    if (usedCursors.has(cursor)) throw odd(`the same cursor again after page ${pageNumber}`);
    if (pageNumber === MAX_PAGES) throw odd(`more than ${MAX_PAGES} pages`);
    usedCursors.add(cursor);
    await pause(PAGE_PAUSE_MS, request.deadline);
    page = await fetchPage(request, address, pageNumber + 1, cursor);
  }
}

type LumaPage = ReturnType<typeof lumaPage.parse>;

/** Tries the older API only if the documented one seems to be gone for good, because the older one returns less. */
async function fetchFirstPage(request: ListingRequest) {
  const errors: SyncError[] = [];
  for (const address of getAddresses()) {
    try {
      return { address, page: await fetchPage(request, address, 1) };
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      errors.push(error);
      if (!error.causes.some((cause) => toConsequences(cause).asksOlder)) break;
    }
  }
  const what = errors.map((error) => error.message).join("; ");
  throw new SyncError(what, ...errors.flatMap((error) => error.causes));
}

async function fetchPage(
  { key, after, before, deadline }: ListingRequest,
  address: LumaAddress,
  pageNumber: number,
  cursor?: string,
): Promise<LumaPage> {
  const url = toPageUrl(address, { after, before, size: PAGE_SIZE, cursor });
  const label = `page ${pageNumber}`;
  let json: unknown;
  try {
    json = await requestJson({ url, key, deadline, label, patience: PATIENT });
  } catch (error) {
    if (!(error instanceof SyncError) || cursor === undefined) throw error;
    // If lu.ma refuses a later page but not the first, the cursor has most likely expired.
    const isExpired = error.causes.some((cause) => EXPIRED_ON_LATER_PAGE.includes(cause));
    throw isExpired ? new SyncError(error.message, "oddPages") : error;
  }
  const page = lumaPage.safeParse(json);
  if (page.success) return page.data;
  const wrong = page.error.issues.map((issue) => issue.path.join(".") || "all of it");
  throw new SyncError(
    `${url.host} answered ${label} with JSON that is not a list of events (wrong: ${[...new Set(wrong)].join(", ")})`,
    "unreadable",
  );
}

/** What lu.ma says about one event: its current state, that it's gone, or nothing usable. */
export type EventAnswer =
  | {
      event: MirroredEvent;
      /** Empty: the event has none. Absent: it's hidden, or lu.ma doesn't say. */
      description: string | undefined;
      /** The id of the event's calendar; absent if this key's calendar manages it, or lu.ma doesn't say. */
      managedBy: string | undefined;
    }
  | "gone"
  | "nothing";

export type SingleRequest = {
  key: LumaKey;
  address: LumaAddress;
  /** When to give up, ms since 1970. */
  deadline: number;
  patience: Patience;
};

/** @throws SyncError if the request failed for a reason that says nothing about this event. */
export async function fetchEvent(
  { address, ...request }: SingleRequest,
  lumaEventId: string,
): Promise<EventAnswer> {
  const url = toEventUrl(address, lumaEventId);
  let json: unknown;
  try {
    json = await requestJson({ ...request, url, label: "one event" });
  } catch (error) {
    const cause = error instanceof SyncError ? error.causes[0] : undefined;
    const ofOneEvent = cause && toConsequences(cause).ofOneEvent;
    if (ofOneEvent === undefined) throw error;
    return ofOneEvent;
  }
  const read = readEntry(json);
  if (!("event" in read) || read.event.id !== lumaEventId) return "nothing";
  const { event, audiences } = read;
  const isManaged = audiences.some(({ access }) => access === "manage");
  return {
    event: toMirroredEvent(event, audiences),
    description: isSaidToBeHidden(audiences) ? undefined : toDescription(event),
    managedBy: isManaged ? undefined : event.calendar_id,
  };
}

/**
 * The key's calendar; `null` in the older API, which doesn't say, and "nothing" if lu.ma can't be reached or
 * understood. Never throws a SyncError.
 */
export async function fetchCalendar({
  address,
  ...request
}: SingleRequest): Promise<{ id: string; name: string } | null | "nothing"> {
  const { calendar: url } = address;
  if (url === null) return null;
  try {
    const calendar = readCalendar(await requestJson({ ...request, url, label: "the calendar" }));
    if (calendar === null) return "nothing";
    const toLine = (text: string) => quote(text, request.key.apiKey);
    return { id: toLine(calendar.id), name: toLine(calendar.name) };
  } catch (error) {
    if (error instanceof SyncError) return "nothing";
    throw error;
  }
}
