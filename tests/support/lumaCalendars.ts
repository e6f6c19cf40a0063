/**
 * Answers as lu.ma has since July 2026, in both generations of its API: lists of events, single events, and a key's
 * calendar. lumaServer.ts sends the answers.
 */
export const OLDER_PATH = "/public/v1/calendar/list-events";
export const CURRENT_PATH = "/v1/calendars/events/list";
const OLDER_EVENT_PATH = "/public/v1/event/get";
const CURRENT_EVENT_PATH = "/v1/events/get";
const CALENDAR_PATH = "/v1/calendars/get";

/** An event in the current API's format. Lists leave out its description; the older API wraps it and renames its id. */
export type WireEvent = { id: string; name: string; start_at: string; [field: string]: unknown };

type WireCalendar = { id: string; name: string; [field: string]: unknown };

export type RequestKind = "list" | "event" | "calendar" | "other";

const KIND_OF_PATH: Record<string, RequestKind> = {
  [OLDER_PATH]: "list",
  [CURRENT_PATH]: "list",
  [OLDER_EVENT_PATH]: "event",
  [CURRENT_EVENT_PATH]: "event",
  [CALENDAR_PATH]: "calendar",
};

export function kindOf(path: string): RequestKind {
  return KIND_OF_PATH[path] ?? "other";
}

/** The part of Node's HTTP that answers need. */
export type Reply = {
  writeHead: (code: number, headers?: Record<string, string>) => unknown;
  write: (chunk: string) => unknown;
  end: (chunk?: string) => unknown;
};
export type Asked = {
  url?: string;
  headers: Record<string, string | string[] | undefined>;
  socket: { destroy: () => unknown };
};

/** Answers one request. */
export type Answer = (response: Reply, request: Asked) => void;

type Calendar = { events: WireEvent[]; listed: WireEvent[]; about: WireCalendar };

/** lu.ma's calendars, by key. */
export class LumaCalendars {
  /** Caps `pagination_limit`, as lu.ma does. */
  maxPageSize = 100;
  /** Whether `calendars/get` is answered with `{ calendar: … }`. */
  wrapsCalendar = false;
  private readonly calendars = new Map<string, Calendar>();
  private readonly dropped = new Set<string>();
  private readonly altered = new Map<string, Partial<WireEvent>>();

  /**
   * Sets the events of a key's calendar, and makes the key valid.
   *
   * @param listed the events on its list, if they differ.
   */
  setCalendar(key: string, events: WireEvent[], listed: WireEvent[] = events): void {
    const number = this.calendars.size + 1;
    const about = { id: `cal-${number}`, name: `Calendar ${number}`, slug: null };
    this.calendars.set(key, { events, listed, about: this.calendars.get(key)?.about ?? about });
  }

  /** Changes what `calendars/get` returns for a key that has a calendar. */
  describeCalendar(key: string, about: Partial<WireCalendar>): void {
    const calendar = this.calendars.get(key);
    if (calendar === undefined) throw new Error(`no calendar has the key ${key}`);
    calendar.about = { ...calendar.about, ...about };
  }

  /** Deletes an event: it is on no list, and its id is answered with 404. */
  dropEvent(id: string): void {
    this.takeEvent(id);
    this.dropped.add(id);
  }

  /** Transfers an event to another calendar: other keys are refused with 403. */
  moveEvent(id: string, toKey: string): void {
    const event = this.takeEvent(id);
    if (event === undefined) throw new Error(`no calendar has the event ${id}`);
    this.setCalendar(toKey, [...(this.calendars.get(toKey)?.events ?? []), event]);
  }

  /** Makes a request for this event return other fields than the list has, such as another `id`. */
  alterEvent(id: string, fields: Partial<WireEvent>): void {
    this.altered.set(id, fields);
  }

  private takeEvent(id: string): WireEvent | undefined {
    let taken: WireEvent | undefined;
    const isOther = (event: WireEvent) => event.id !== id;
    for (const calendar of this.calendars.values()) {
      taken ??= calendar.events.find((event) => event.id === id);
      calendar.events = calendar.events.filter(isOther);
      calendar.listed = calendar.listed.filter(isOther);
    }
    return taken;
  }

  protected toAnswer(url: URL, key: string | undefined): Answer {
    const isOlder = url.pathname === OLDER_PATH || url.pathname === OLDER_EVENT_PATH;
    const kind = kindOf(url.pathname);
    if (kind === "other") return failure(404, "Not found.");
    if (key === undefined) return failure(400, "Please provide an API key.");
    const calendar = this.calendars.get(key);
    if (calendar === undefined) return failure(401, "You are not signed in.");
    if (kind === "calendar") {
      return status(200, this.wrapsCalendar ? { calendar: calendar.about } : calendar.about);
    }
    if (kind === "list") {
      const page = this.toPage(calendar.listed, url.searchParams);
      return status(200, { ...page, entries: page.entries.map(isOlder ? toOlderEntry : toEntry) });
    }
    const id = url.searchParams.get(isOlder ? "api_id" : "event_id");
    if (id === null) return failure(400, "Invalid request.\n- event_id: Invalid input");
    const stored = calendar.events.find((one) => one.id === id);
    if (this.dropped.has(id)) return failure(404, "Not found.");
    if (stored === undefined) return failure(403, "You don't have access to this event.");
    const event = { ...stored, ...this.altered.get(id) };
    const body = isOlder ? { event: toOlderEvent(event) } : event;
    return status(200, { ...body, hosts: [] });
  }

  private toPage(events: WireEvent[], query: URLSearchParams) {
    const after = Date.parse(query.get("after") ?? "") || -Infinity;
    const before = Date.parse(query.get("before") ?? "") || Infinity;
    // An event without a readable start can't be outside of the window.
    const inWindow = events.filter((event) => {
      const start = Date.parse(String(event.start_at));
      return Number.isNaN(start) || (start >= after && start <= before);
    });
    if (query.get("sort_column") === "start_at") {
      const sign = query.get("sort_direction") === "desc" ? -1 : 1;
      inWindow.sort((a, b) => sign * (Date.parse(a.start_at) - Date.parse(b.start_at) || 0));
    }
    const size = Math.min(Number(query.get("pagination_limit") ?? 50), this.maxPageSize);
    const from = Number(query.get("pagination_cursor")?.replace("after-", "") ?? 0);
    const to = from + size;
    // lu.ma returns a cursor on the last page, too.
    const [has_more, next_cursor] = [to < inWindow.length, `after-${to}`];
    return { entries: inWindow.slice(from, to), has_more, next_cursor };
  }
}

/** Since July 2026, lists have no descriptions. */
function toEntry({ description: _, description_md: __, ...entry }: WireEvent): object {
  return entry;
}

/** The older API doesn't say who manages an event, or who may see its address. */
function toOlderEvent(event: WireEvent): WireEvent & { api_id: string } {
  const older: WireEvent & { api_id: string } = { ...event, api_id: event.id };
  for (const field of ["tags", "platform", "access", "location_visibility"]) delete older[field];
  return older;
}

function toOlderEntry(event: WireEvent): object {
  return { api_id: event.id, event: toEntry(toOlderEvent(event)), tags: event.tags ?? [] };
}

/** An error as lu.ma returns it. */
export function failure(code: number, message: string): Answer {
  return status(code, { message, code: null });
}

const RATE_LIMIT = {
  "x-ratelimit-limit": "200",
  "x-ratelimit-remaining": "199",
  "x-ratelimit-reset": "60",
};

/** An answer with a status. A string is sent as HTML, anything else as JSON. */
export function status(code: number, body: unknown = "", headers: object = {}): Answer {
  return (response) => {
    const isText = typeof body === "string";
    const type = isText ? "text/html" : "application/json";
    response.writeHead(code, { "content-type": type, ...RATE_LIMIT, ...headers });
    response.end(isText ? body : JSON.stringify(body));
  };
}

/** The connection is reset before anything is answered. */
export const reset: Answer = (_response, request) => {
  request.socket.destroy();
};

/** The connection is closed in the middle of the body. */
export const cutOff: Answer = (response, request) => {
  endlessBody(response, request);
  setImmediate(() => request.socket.destroy());
};

/** No answer ever comes. */
export const silence: Answer = () => undefined;

/** The headers arrive, but the body never ends. */
export const endlessBody: Answer = (response) => {
  response.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
  response.write('{"entries": [');
};
