/**
 * A stand-in for lu.ma: a real HTTP server on loopback that speaks the documented list-events in both of its
 * generations, by path. Calendars belong to keys; what should go wrong is put in a queue.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const OLDER_PATH = "/public/v1/calendar/list-events";
export const CURRENT_PATH = "/v1/calendars/events/list";

/** An event as today's API gives it; in the older format it is wrapped and its id renamed on the way out. */
export type WireEvent = { id: string; name: string; start_at: string; [field: string]: unknown };

export type ReceivedRequest = {
  path: string;
  query: URLSearchParams;
  key: string | undefined;
  at: number;
};

/** Answers one request in place of the calendar. */
export type Answer = (response: ServerResponse, request: IncomingMessage) => void;

export class LumaServer {
  readonly requests: ReceivedRequest[] = [];
  /** Caps `pagination_limit`, as lu.ma does with a number of its own. */
  maxPageSize = 100;
  private readonly calendars = new Map<string, WireEvent[]>();
  private readonly queued: { answer: Answer; key: string | undefined }[] = [];
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

  /** Answers the next request (of this key, if one is given) with something else. */
  answerNext(answer: Answer, key?: string): void {
    this.queued.push({ answer, key });
  }

  private receive(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", this.origin);
    const key = getKey(request);
    this.requests.push({ path: url.pathname, query: url.searchParams, key, at: Date.now() });
    const next = this.queued.findIndex((item) => item.key === undefined || item.key === key);
    const [item] = next === -1 ? [] : this.queued.splice(next, 1);
    if (item === undefined) this.answer(response, request);
    else item.answer(response, request);
  }

  /** Answers as lu.ma would; for what is in the queue and wants to, later. */
  readonly answer: Answer = (response, request) => {
    const url = new URL(request.url ?? "/", this.origin);
    const key = getKey(request);
    if (url.pathname !== OLDER_PATH && url.pathname !== CURRENT_PATH) {
      status(404, { message: "Not found" })(response, request);
      return;
    }
    const events = key === undefined ? undefined : this.calendars.get(key);
    if (events === undefined) {
      status(401, { message: "Invalid API key" })(response, request);
      return;
    }
    const page = this.toPage(events, url.searchParams);
    const entries = url.pathname === OLDER_PATH ? page.entries.map(toOlderEntry) : page.entries;
    status(200, { ...page, entries })(response, request);
  };

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
      ...(hasMore ? { next_cursor: `after-${from + size}` } : {}),
    };
  }
}

function getKey(request: IncomingMessage): string | undefined {
  const header = request.headers["x-luma-api-key"];
  return Array.isArray(header) ? header[0] : header;
}

function toOlderEntry({ id, tags, ...event }: WireEvent) {
  return { api_id: id, event: { api_id: id, ...event }, tags: tags ?? [] };
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
