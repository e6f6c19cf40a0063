/**
 * Reads from lu.ma: a calendar's whole listing, one event, or the key's calendar. Nothing that goes wrong looks like an
 * empty calendar. lu.ma's own names and formats stay behind this file. No database.
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

/** What a sync asks for; lu.ma caps it at a number that it does not tell. */
const PAGE_SIZE = 100;
/** 20,000 events in four months is no calendar: something turns in circles. */
const MAX_PAGES = 200;
/** From the end of one page to the start of the next. lu.ma allows 200 requests a minute ("Rate limits"). */
const PAGE_PAUSE_MS = 200;

const EXPIRED_ON_LATER_PAGE: Cause[] = ["malformed", "gone", "refused"];

/** A complete listing, ready to be stored. */
export type LumaListing = {
  /** By lu.ma id: the same id twice is one event, as it was listed last. */
  listed: Map<string, MirroredEvent>;
  invalid: InvalidEntry[];
  address: LumaAddress;
};

/** An entry that could not be read. Without an id, nobody can say which event it is. */
type InvalidEntry = {
  id: string | null;
  /** Which one, and what is wrong with it, for the log. */
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
 * Every event that the key's calendar manages and that starts between `after` and `before`, whatever its visibility.
 *
 * @throws SyncError, which never holds the key.
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
    const odd = (what: string) => new SyncError(`lu.ma gave ${what}`, "oddPages");
    if (!cursor) throw odd(`no cursor for the page after page ${pageNumber}`);
    if (usedCursors.has(cursor)) throw odd(`the cursor of page ${pageNumber} a second time`);
    if (pageNumber === MAX_PAGES) throw odd(`more than ${MAX_PAGES} pages`);
    usedCursors.add(cursor);
    await pause(PAGE_PAUSE_MS, request.deadline);
    page = await fetchPage(request, address, pageNumber + 1, cursor);
  }
}

type LumaPage = ReturnType<typeof lumaPage.parse>;

/** Asks the older address only when the documented one is gone for good: it never says who may see an address. */
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
    // If lu.ma refuses a later page, but not the first one, the cursor has most likely expired.
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

/** What lu.ma says about one event: how it is now, that it is gone, or nothing that can be used. */
export type EventAnswer =
  | {
      event: MirroredEvent;
      /** Absent: the event is hidden, or lu.ma said nothing about a description. Empty: it has none. */
      description: string | undefined;
      /** The calendar that manages the event, if lu.ma says so, and that it is not this key's. */
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

/** @throws SyncError when lu.ma doesn't say. */
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
 * The key's calendar: `null` at the older address, where it is never known; "nothing" if lu.ma doesn't say. Throws no
 * SyncError.
 */
export async function fetchCalendar({
  address,
  ...request
}: SingleRequest): Promise<{ id: string; name: string } | null | "nothing"> {
  const { calendar: url } = address;
  if (url === null) return null;
  try {
    const json = await requestJson({ ...request, url, label: "the calendar" });
    const calendar = readCalendar(json);
    if (calendar === null) return "nothing";
    const toLine = (text: string) => quote(text, request.key.apiKey);
    return { id: toLine(calendar.id), name: toLine(calendar.name) };
  } catch (error) {
    if (error instanceof SyncError) return "nothing";
    throw error;
  }
}
