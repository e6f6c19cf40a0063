/**
 * The stand-in for lu.ma. It answers over real HTTP on loopback or in place of fetch, and can be told to answer
 * something else, once or for a time.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import {
  CURRENT_PATH,
  kindOf,
  LumaCalendars,
  type Answer,
  type Asked,
  type Reply,
  type RequestKind,
} from "./lumaCalendars";

export * from "./lumaCalendars";

export type ReceivedRequest = {
  kind: RequestKind;
  path: string;
  query: URLSearchParams;
  key: string | undefined;
  at: number;
};

/** Limits something to the requests with a key, of a kind, or for an event. */
type Only = { key?: string; kind?: RequestKind; eventId?: string };
type Failure = Only & { answer: Answer; from: number; until: number; isOnce: boolean };

export class LumaServer extends LumaCalendars {
  readonly requests: ReceivedRequest[] = [];
  /** How long an answer takes, in ms of simulated time if time is simulated. */
  answerMs: number | ((request: ReceivedRequest) => number) = 0;
  private readonly failures: Failure[] = [];
  private readonly realFetch = globalThis.fetch;
  private waitingFor = 0;
  private ticks = 0;
  /** How many requests over HTTP have neither failed nor had their answers read as text. */
  private inFlight = 0;
  /** Answers that the server has not finished. */
  private readonly heldBack = new Set<object>();
  private constructor(private readonly server: Server) {
    super();
    server.on("request", (request, response) => {
      this.heldBack.add(response);
      const letGo = () => this.heldBack.delete(response);
      response.on("finish", letGo).on("close", letGo);
      this.receive(response, request);
    });
    globalThis.fetch = (...request) => this.fetchOverHttp(...request);
  }

  private async fetchOverHttp(...request: Parameters<typeof fetch>): Promise<Response> {
    const settle = () => void (this.inFlight -= 1);
    this.inFlight += 1;
    try {
      const response = await this.realFetch.call(globalThis, ...request);
      const readText = response.text.bind(response);
      response.text = () => readText().finally(settle);
      return response;
    } catch (error) {
      settle();
      throw error;
    }
  }

  static async start(): Promise<LumaServer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new LumaServer(server);
  }

  async stop(): Promise<void> {
    globalThis.fetch = this.realFetch;
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** Answers every `fetch` until `stop`. Over HTTP, large bodies and many requests would take real time. */
  stubFetch({ answerMs = this.answerMs }: Partial<Pick<LumaServer, "answerMs">> = {}): this {
    this.answerMs = answerMs;
    // As with HTTP, lu.ma's code mustn't run inside the Convex function that called fetch.
    const outside = AsyncLocalStorage.snapshot();
    globalThis.fetch = ((url: string, init: RequestInit = {}) =>
      outside(() => fetchFrom(this, url, init))) as typeof fetch;
    return this;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** For LUMA_LIST_EVENTS_URL. */
  url(path: string = CURRENT_PATH): string {
    return `${this.origin}${path}`;
  }

  /** Answers the next of these requests like this. */
  answerNext(answer: Answer, only: Only = {}): void {
    this.failures.push({ answer, ...only, from: -Infinity, until: Infinity, isOnce: true });
  }

  /** Answers all of these requests in a range of time (ms since 1970, without `until`) like this. */
  failBetween(from: number, until: number, answer: Answer, only: Only = {}): void {
    this.failures.push({ answer, ...only, from, until, isOnce: false });
  }

  /** Answers as lu.ma would again. */
  clearFailures(): void {
    this.failures.length = 0;
  }

  requestsOf(kind: RequestKind): ReceivedRequest[] {
    return this.requests.filter((request) => request.kind === kind);
  }

  receive(response: Reply, asked: Asked): void {
    const url = new URL(asked.url ?? "/", this.origin);
    const [kind, key, at] = [kindOf(url.pathname), getKey(asked), Date.now()];
    const request = { kind, path: url.pathname, query: url.searchParams, key, at };
    this.requests.push(request);
    const eventId = url.searchParams.get("event_id") ?? undefined;
    const matching = this.failures.filter(
      (one) =>
        (one.key ?? key) === key &&
        (one.kind ?? kind) === kind &&
        (one.eventId ?? eventId) === eventId &&
        one.from <= at &&
        at < one.until,
    );
    const failure = matching.find(({ isOnce }) => isOnce) ?? matching[0];
    if (failure?.isOnce) this.failures.splice(this.failures.indexOf(failure), 1);
    const { answer } = failure ?? this;
    const answerMs = typeof this.answerMs === "number" ? this.answerMs : this.answerMs(request);
    if (answerMs === 0) answer(response, asked);
    else setTimeout(() => ((this.ticks += 1), answer(response, asked)), answerMs);
  }

  /** Answers as lu.ma would, for answers that do something else first. */
  readonly answer: Answer = (response, request) => {
    const url = new URL(request.url ?? "/", this.origin);
    this.toAnswer(url, getKey(request))(response, request);
  };

  /** Waits for something that must happen before an answer. `settle` lets no simulated time pass meanwhile. */
  async waitFor(happening: Promise<unknown>): Promise<void> {
    this.waitingFor += 1;
    await happening.finally(() => (this.waitingFor -= 1));
  }

  /**
   * For `settle`: changes with each request, and constantly while the server waits for something, or while a request or
   * an answer is on its way, which may take a while on a busy machine.
   */
  readonly activity = (): number => {
    if (this.waitingFor > 0 || this.inFlight > this.heldBack.size) this.ticks += 1;
    return this.requests.length + this.ticks;
  };
}

function getKey({ headers }: Asked): string | undefined {
  const header = headers["x-luma-api-key"];
  return Array.isArray(header) ? header[0] : header;
}

/** Answers a fetch, including everything that an answer can do to a connection. */
async function fetchFrom(luma: LumaServer, url: string, init: RequestInit): Promise<Response> {
  return await new Promise((resolve, reject) => {
    /** Set until the answer has ended. */
    let stream: ReadableStreamDefaultController<Uint8Array> | undefined;
    const body = new ReadableStream<Uint8Array>({ start: (begun) => void (stream = begun) });
    const write = (chunk = "") => stream?.enqueue(new TextEncoder().encode(chunk));
    const end = (chunk?: string) => {
      write(chunk);
      stream?.close();
      stream = undefined;
    };
    const fail = (error: Error) => {
      reject(error);
      stream?.error(error);
      stream = undefined;
    };
    const abort = () => fail(new DOMException("This operation was aborted", "AbortError"));
    init.signal?.addEventListener("abort", abort);
    const writeHead = (status: number, headers?: Record<string, string>) =>
      resolve(new Response(body, { status, headers }));
    const headers = Object.fromEntries(new Headers(init.headers));
    const socket = { destroy: () => fail(new TypeError("fetch failed")) };
    luma.receive({ writeHead, write, end }, { url, headers, socket });
  });
}
