/**
 * Reads from lu.ma: a calendar's whole listing, one event, or the key's calendar. Nothing that goes wrong looks like an
 * empty calendar. lu.ma's own names and formats stay behind this file. No database.
 */
import type { LumaKey } from "../orgs/lumaKey";
import { CAUSES, SyncError, type Cause } from "./failure";
import { getAddresses, toEventUrl, toPageUrl, type LumaAddress } from "./luma/addresses";
import {
  isKnownToBePublic,
  isSaidToBeHidden,
  toDescription,
  toMirroredEvent,
} from "./luma/mapping";
import { ONCE, pause, PATIENT, requestJson } from "./luma/request";
import { lumaPage, readCalendar, readEntry } from "./luma/wire";
import { quote } from "./text";
import type { MirroredEvent } from "./validators";

/** What a sync asks for; lu.ma caps it at a number that it does not tell. */
const PAGE_SIZE = 100;
/** 20,000 events in four months is no calendar: something turns in circles. */
const MAX_PAGES = 200;
/** From the end of one page to the start of the next. lu.ma allows 200 requests a minute ("Rate limits"). */
const PAGE_PAUSE_MS = 200;
/** From the start of one request for a single event to the start of the next: 200 a minute. */
const EVENT_PAUSE_MS = 300;

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
      if (!error.causes.some((cause) => CAUSES[cause].asksOlder)) break;
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
    throw isExpired ? new SyncError(error.message, "expired") : error;
  }
  const page = lumaPage.safeParse(json);
  if (page.success) return page.data;
  const wrong = page.error.issues.map((issue) => issue.path.join(".") || "all of it");
  throw new SyncError(
    `${url.host} answered ${label} with JSON that is not a list of events (wrong: ${[...new Set(wrong)].join(", ")})`,
    "noList",
  );
}

/** What lu.ma says of one event: how it is now, that it is gone, or nothing that can be used. */
export type EventAnswer =
  /** No description: it is not public, or lu.ma said nothing of a description. Empty: lu.ma has none. */
  { event: MirroredEvent; description: string | undefined } | "gone" | "nothing";

/** `deadline`: when to give up, ms since 1970. */
type SingleRequest = { key: LumaKey; address: LumaAddress; deadline: number };

/** Asks for one event after another, 300 ms from the start of one request to the start of the next. */
export class EventReader {
  private readonly request: SingleRequest;
  private lastAskedAt = -Infinity;

  constructor(request: SingleRequest) {
    this.request = request;
  }

  /** @throws SyncError when the time is up. */
  async pause(): Promise<void> {
    const { deadline } = this.request;
    await pause(Math.max(0, this.lastAskedAt + EVENT_PAUSE_MS - Date.now()), deadline);
  }

  /**
   * Asks once for a description, which can wait until the next sync, but as often as for a page to check whether an
   * event is gone.
   *
   * @throws SyncError when it is of no use to ask for others now.
   */
  async fetchEvent(lumaEventId: string, what: "description" | "check"): Promise<EventAnswer> {
    const { key, address, deadline } = this.request;
    this.lastAskedAt = Date.now();
    const url = toEventUrl(address, lumaEventId);
    const patience = what === "check" ? PATIENT : ONCE;
    let json: unknown;
    try {
      json = await requestJson({ url, key, deadline, label: "one event", patience });
    } catch (error) {
      const cause = error instanceof SyncError ? error.causes[0] : undefined;
      const says = cause && CAUSES[cause].ofOneEvent;
      if (says === undefined) throw error;
      return says;
    }
    const read = readEntry(json);
    if (!("event" in read) || read.event.id !== lumaEventId) return "nothing";
    const isHidden = isSaidToBeHidden(read.audiences);
    return {
      event: toMirroredEvent(read.event, read.audiences),
      description: isHidden ? undefined : toDescription(read.event),
    };
  }

  /** Asks once for the key's calendar; `null` when lu.ma does not say. Throws no SyncError. */
  async fetchCalendar(): Promise<{ id: string; name: string } | null> {
    const { key, address, deadline } = this.request;
    if (address.calendar === null) return null;
    const request = { url: address.calendar, key, deadline, label: "the calendar", patience: ONCE };
    try {
      const calendar = readCalendar(await requestJson(request));
      return (
        calendar && { id: quote(calendar.id, key.apiKey), name: quote(calendar.name, key.apiKey) }
      );
    } catch (error) {
      if (error instanceof SyncError) return null;
      throw error;
    }
  }
}
