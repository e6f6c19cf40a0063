/**
 * Asks lu.ma for one page, as often as it takes: the only file that calls fetch. Knows HTTP, waiting and
 * giving up; not what a page contains.
 */
import { milliseconds } from "date-fns";
import { LumaError, quote } from "./error";

/** No answer within this time, headers or body, is as good as none. */
const ANSWER_TIMEOUT_MS = milliseconds({ seconds: 30 });
/** Waits before asking again after an answer that may be better next time: 4 attempts in all. */
const RETRY_WAITS_MS = [1_000, 2_000, 4_000];
/** lu.ma blocks a key for one minute after 200 requests in one (its documentation, "Rate limits"). */
const RATE_LIMIT_WAIT_MS = milliseconds({ minutes: 1 });
const MIN_RATE_LIMIT_WAIT_MS = milliseconds({ seconds: 1 });
const MAX_RATE_LIMIT_WAIT_MS = milliseconds({ minutes: 2 });
/** The 429 of one page after which it is given up. */
const MAX_RATE_LIMITED = 4;

export type PageRequest = {
  url: URL;
  apiKey: string;
  /** What is asked for, for messages: "page 3". */
  label: string;
  /** When to give up, ms since 1970, waits included. */
  deadline: number;
};

/** `gone`: there is no such endpoint any more, and why one thinks so. */
export type PageAnswer = { json: unknown } | { gone: string };

/** @throws LumaError when lu.ma refuses, does not recover, or is too slow. */
export async function requestPage(request: PageRequest): Promise<PageAnswer> {
  let rateLimited = 0;
  let failed = 0;
  let unconnected = 0;
  for (;;) {
    const answer = await ask(request);
    const attempts = countAttempts(rateLimited + failed + 1);
    if ("status" in answer && isGone(answer.status)) {
      return { gone: `it answered ${answer.status} to ${request.label} (${attempts})` };
    }
    if ("status" in answer && answer.status === 429) {
      rateLimited += 1;
      if (rateLimited === MAX_RATE_LIMITED) {
        throw new LumaError(
          `rate limited: lu.ma answered 429 to ${request.label} ${rateLimited} times (${attempts}). ` +
            "Something else may be using the same key; sync again in a few minutes.",
        );
      }
      await pause(toRateLimitWait(answer.retryAfter), request.deadline);
      continue;
    }
    if ("status" in answer && answer.status < 500) {
      const parsed = answer.status < 300 ? parseJson(answer.body) : undefined;
      if (parsed !== undefined) return parsed;
      if (answer.status >= 300) throw refusal(answer, request, attempts);
    }
    if (!("status" in answer) && !answer.connected) unconnected += 1;
    const wait = RETRY_WAITS_MS[failed];
    if (wait === undefined) {
      const seen = describe(answer, request.apiKey);
      if (unconnected === RETRY_WAITS_MS.length + 1) return { gone: `${seen} (${attempts})` };
      throw new LumaError(
        `${request.label} could not be had: ${seen} (${attempts}). Sync again later.`,
      );
    }
    failed += 1;
    await pause(wait, request.deadline);
  }
}

function countAttempts(attempts: number): string {
  return attempts === 1 ? "1 attempt" : `${attempts} attempts`;
}

/** A redirect counts as gone: following it would hand the key to whatever host it names. */
function isGone(status: number): boolean {
  return status === 404 || status === 410 || (status >= 300 && status < 400);
}

type Answered = { status: number; retryAfter: string | null; body: string };
type Unanswered = { connected: boolean; seen: string };

/** One request. Resolves to what came of it; never throws. */
async function ask({ url, apiKey, deadline }: PageRequest): Promise<Answered | Unanswered> {
  const timeoutMs = Math.min(ANSWER_TIMEOUT_MS, deadline - Date.now());
  const controller = new AbortController();
  let response: Response | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timedOut = new Promise<"timed out">((resolve) => {
    timer = setTimeout(() => {
      // Once and nowhere else: a second abort ends the whole function in Convex's runtime.
      controller.abort();
      resolve("timed out");
    }, timeoutMs);
  });
  const answered = (async (): Promise<Answered | Unanswered> => {
    try {
      response = await fetch(url.href, {
        headers: { accept: "application/json", "x-luma-api-key": apiKey },
        redirect: "manual",
        signal: controller.signal,
      });
      return toAnswered(response, await response.text());
    } catch (error) {
      // Without its body, an answer still says by its status what to do; a 200 does not.
      if (response !== undefined && !response.ok) return toAnswered(response, "");
      const message = error instanceof Error ? error.message : String(error);
      return response === undefined
        ? { connected: false, seen: `no connection to ${url.host}: ${withoutQuery(message)}` }
        : { connected: true, seen: "the connection was lost in the middle of an answer" };
    }
  })();
  try {
    const first = await Promise.race([answered, timedOut]);
    if (first !== "timed out") return first;
    return response !== undefined && !response.ok
      ? toAnswered(response, "")
      : { connected: true, seen: `no answer within ${ANSWER_TIMEOUT_MS / 1_000} s` };
  } finally {
    clearTimeout(timer);
  }
}

function toAnswered(response: Response, body: string): Answered {
  // Some runtimes hide the status of a redirect that they did not follow.
  const status = response.type === "opaqueredirect" ? 302 : response.status;
  return { status, retryAfter: response.headers.get("retry-after"), body };
}

function parseJson(body: string): { json: unknown } | undefined {
  try {
    return { json: JSON.parse(body) as unknown };
  } catch {
    return undefined;
  }
}

function refusal(answer: Answered, { apiKey, label }: PageRequest, attempts: string): LumaError {
  if (answer.status === 401 || answer.status === 403) {
    return new LumaError(
      `lu.ma rejected the API key with ${answer.status} (${attempts}): the key is wrong, or its calendar ` +
        "has no Luma Plus. Set a key from the calendar's settings on lu.ma.",
    );
  }
  return new LumaError(
    `lu.ma answered ${describe(answer, apiKey)} to ${label} (${attempts}). The same request would be ` +
      "refused again: the message says why.",
  );
}

function describe(answer: Answered | Unanswered, apiKey: string): string {
  if (!("status" in answer)) return quote(answer.seen, apiKey);
  const body = quote(answer.body, apiKey);
  const what =
    answer.status < 300 ? `${answer.status} with a body that is not JSON` : answer.status;
  return body === "" ? String(what) : `${what}: "${body}"`;
}

/** A runtime's own message may name the URL; who logs in to a proxy by its URL wants that kept quiet. */
function withoutQuery(message: string): string {
  return message.replace(/\/\/[^/@\s]*@/g, "//").replace(/\?[^\s)"']*/g, "");
}

/** `Retry-After` is a number of seconds or an HTTP date (RFC 9110, 10.2.3). */
function toRateLimitWait(retryAfter: string | null): number {
  const wait = toMilliseconds(retryAfter?.trim() ?? "");
  if (Number.isNaN(wait)) return RATE_LIMIT_WAIT_MS;
  return Math.min(Math.max(wait, MIN_RATE_LIMIT_WAIT_MS), MAX_RATE_LIMIT_WAIT_MS);
}

function toMilliseconds(retryAfter: string): number {
  if (/^\d+(\.\d+)?$/.test(retryAfter)) return Number(retryAfter) * 1_000;
  // Date.parse makes dates of nearly everything; an HTTP date begins with the day of the week.
  return /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(retryAfter)
    ? Date.parse(retryAfter) - Date.now()
    : NaN;
}

/** Waits, unless the time would be up by then. */
export async function pause(waitMs: number, deadline: number): Promise<void> {
  if (Date.now() + waitMs >= deadline) throw tooSlow();
  await new Promise((resolve) => setTimeout(resolve, waitMs));
}

function tooSlow(): LumaError {
  return new LumaError(
    "too slow: fetching the events took more than 7 minutes, waits included. Sync again later.",
  );
}
