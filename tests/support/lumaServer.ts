/**
 * A stand-in for lu.ma: a real HTTP server on loopback that lists events and gives single ones in both generations of
 * the API, by path, as lu.ma has answered since July 2026. Calendars belong to keys; what should go wrong is put in a
 * queue.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const OLDER_PATH = "/public/v1/calendar/list-events";
export const CURRENT_PATH = "/v1/calendars/events/list";
const OLDER_EVENT_PATH = "/public/v1/event/get";
const CURRENT_EVENT_PATH = "/v1/events/get";

/**
 * An event of a calendar, in the current API's words. Its description is given for the event alone; in the older format
 * it is wrapped and its id renamed on the way out.
 */
export type WireEvent = { id: string; name: string; start_at: string; [field: string]: unknown };

/** Of a page of a list, of one event, or of anything else. */
export type RequestKind = "list" | "event" | "other";

export type ReceivedRequest = {
  kind: RequestKind;
  path: string;
  query: URLSearchParams;
  key: string | undefined;
  at: number;
};

const KIND_OF_PATH: Record<string, RequestKind> = {
  [OLDER_PATH]: "list",
  [CURRENT_PATH]: "list",
  [OLDER_EVENT_PATH]: "event",
  [CURRENT_EVENT_PATH]: "event",
};

/** Answers one request in place of the calendar. */
export type Answer = (response: ServerResponse, request: IncomingMessage) => void;

export class LumaServer {
  readonly requests: ReceivedRequest[] = [];
  /** Caps `pagination_limit`, as lu.ma does with a number of its own. */
  maxPageSize = 100;
  private readonly calendars = new Map<string, WireEvent[]>();
  private readonly queued: { answer: Answer; key?: string; kind?: RequestKind }[] = [];
  private waitingFor = 0;
  private ticks = 0;
  private constructor(private readonly server: Server) {}

  static async start(): Promise<LumaServer> {
    const server = createServer();
    const luma = new LumaServer(server);
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      luma.receive(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return luma;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** For LUMA_LIST_EVENTS_URL. */
  url(path: string = CURRENT_PATH): string {
    return `${this.origin}${path}`;
  }

  /** Sets what a key's calendar holds; the key is valid from now on. */
  setCalendar(key: string, events: WireEvent[]): void {
    this.calendars.set(key, events);
  }

  calendarOf(key: string): WireEvent[] {
    return this.calendars.get(key) ?? [];
  }

  /** Answers the next request (of this key, of this kind) with something else. */
  answerNext(answer: Answer, only: { key?: string; kind?: RequestKind } = {}): void {
    this.queued.push({ answer, ...only });
  }

  requestsOf(kind: RequestKind): ReceivedRequest[] {
    return this.requests.filter((request) => request.kind === kind);
  }

  private receive(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", this.origin);
    const key = getKey(request);
    const kind = KIND_OF_PATH[url.pathname] ?? "other";
    this.requests.push({
      kind,
      path: url.pathname,
      query: url.searchParams,
      key,
      at: Date.now(),
    });
    const next = this.queued.findIndex(
      (item) =>
        (item.key === undefined || item.key === key) &&
        (item.kind === undefined || item.kind === kind),
    );
    const [item] = next === -1 ? [] : this.queued.splice(next, 1);
    if (item === undefined) this.answer(response, request);
    else item.answer(response, request);
  }

  /** Answers as lu.ma would; for what is in the queue and wants to, later. */
  readonly answer: Answer = (response, request) => {
    const url = new URL(request.url ?? "/", this.origin);
    this.toAnswer(url, getKey(request))(response, request);
  };

  private toAnswer(url: URL, key: string | undefined): Answer {
    const isOlder = url.pathname === OLDER_PATH || url.pathname === OLDER_EVENT_PATH;
    const kind = KIND_OF_PATH[url.pathname];
    if (kind === undefined) return failure(404, "Not found.");
    if (key === undefined) return failure(400, "Please provide an API key.");
    const events = this.calendars.get(key);
    if (events === undefined) return failure(401, "You are not signed in.");
    if (kind === "list") {
      const page = this.toPage(events, url.searchParams);
      return status(200, { ...page, entries: page.entries.map(isOlder ? toOlderEntry : toEntry) });
    }
    const id = url.searchParams.get(isOlder ? "api_id" : "event_id");
    if (id === null) return failure(400, "Invalid request.\n- event_id: Invalid input");
    const event = events.find((one) => one.id === id);
    if (event === undefined) return failure(403, "You don't have access to this event.");
    return status(200, isOlder ? { event: toOlderEvent(event), hosts: [] } : event);
  }

  /** For what has to happen before an answer is given: `settle` lets no simulated time pass meanwhile. */
  async waitFor(happening: Promise<unknown>): Promise<void> {
    this.waitingFor += 1;
    await happening.finally(() => (this.waitingFor -= 1));
  }

  /** For `settle`: changes with each request, and all the time while the server itself waits for something. */
  readonly activity = (): number => {
    if (this.waitingFor > 0) this.ticks += 1;
    return this.requests.length + this.ticks;
  };

  private toPage(events: WireEvent[], query: URLSearchParams) {
    const after = Date.parse(query.get("after") ?? "") || -Infinity;
    const before = Date.parse(query.get("before") ?? "") || Infinity;
    // What has no readable start cannot be out of the window.
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
    const hasMore = from + size < inWindow.length;
    return {
      entries: inWindow.slice(from, from + size),
      has_more: hasMore,
      // lu.ma gives one on the last page, too.
      next_cursor: `after-${from + size}`,
    };
  }
}

function getKey(request: IncomingMessage): string | undefined {
  const header = request.headers["x-luma-api-key"];
  return Array.isArray(header) ? header[0] : header;
}

/** Since July 2026, lists carry no descriptions. */
function toEntry({ description: _, description_md: __, ...entry }: WireEvent): object {
  return entry;
}

/** The older generation never says whose an event is, nor who may see the address. */
function toOlderEvent(event: WireEvent): WireEvent & { api_id: string } {
  const older: WireEvent & { api_id: string } = { ...event, api_id: event.id };
  for (const field of ["tags", "platform", "access", "location_visibility"]) delete older[field];
  return older;
}

function toOlderEntry(event: WireEvent): object {
  return { api_id: event.id, event: toEntry(toOlderEvent(event)), tags: event.tags ?? [] };
}

/** An error as lu.ma gives it. */
export function failure(code: number, message: string): Answer {
  return status(code, { message, code: null });
}

/** An answer with a status; a string as HTML, anything else as JSON. */
export function status(
  code: number,
  body: unknown = "",
  headers: Record<string, string> = {},
): Answer {
  return (response) => {
    const isText = typeof body === "string";
    response.writeHead(code, {
      "content-type": isText ? "text/html" : "application/json",
      "x-ratelimit-limit": "200",
      "x-ratelimit-remaining": "199",
      "x-ratelimit-reset": "60",
      ...headers,
    });
    response.end(isText ? body : JSON.stringify(body));
  };
}

/** The connection is reset before anything is answered. */
export const reset: Answer = (_response, request) => {
  request.socket.destroy();
};

/** The connection is closed in the middle of the body. */
export const cutOff: Answer = (response, request) => {
  response.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
  response.write('{"entries": [');
  setImmediate(() => request.socket.destroy());
};

/** Nothing is ever answered. */
export const silence: Answer = () => undefined;

/** The headers come, the body never ends. */
export const endlessBody: Answer = (response) => {
  response.writeHead(200, { "content-type": "application/json" });
  response.write('{"entries": [');
};
