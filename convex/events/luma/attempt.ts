/**
 * One attempt to get an answer from lu.ma, and what came of it: the only file that calls fetch. Knows HTTP; not whether
 * to ask again, nor what an answer contains.
 */
import { milliseconds } from "date-fns";
import * as z from "zod/v4";
import type { LumaKey } from "../../orgs/lumaKey";
import { quote } from "./error";

/** No answer within this time, headers or body, is as good as none. */
const ANSWER_TIMEOUT_MS = milliseconds({ seconds: 30 });

export type Attempt = {
  url: URL;
  key: LumaKey;
  /** When to give up, ms since 1970. */
  deadline: number;
};

/** What one attempt comes to: the rows of the README's table of failures. */
export type Outcome = { kind: "json"; json: unknown } | Failure;

/** `what` says which host did what, `said` quotes what it wrote; neither holds the key. */
type Failure = { what: string; said: string; status?: number } & (
  | { kind: "rate limited"; retryAfter: string | null }
  /** 401 or 403 in JSON: lu.ma's own word on the key. */
  | { kind: "key rejected" }
  /** 404, 410 or a redirect: following one would hand the key to whatever host it names. */
  | { kind: "gone" }
  /** Another 4xx in JSON. */
  | { kind: "refused" }
  /** A 4xx without JSON: the word of a proxy, not lu.ma's. */
  | { kind: "blocked" }
  /** 5xx, a 2xx without JSON, a lost connection, no answer in time. */
  | { kind: "broken" }
  | { kind: "unconnected" }
);

/** One attempt; never throws. */
export async function attempt({ url, key, deadline }: Attempt): Promise<Outcome> {
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
  const answered = (async (): Promise<Outcome> => {
    try {
      response = await fetch(url.href, {
        headers: { accept: "application/json", "x-luma-api-key": key.apiKey },
        redirect: "manual",
        signal: controller.signal,
      });
      return toOutcome(response, await response.text(), url, key);
    } catch (error) {
      if (response === undefined) {
        const said = `: ${quote(withoutQuery(describeError(error)), key.apiKey)}`;
        return { kind: "unconnected", what: `no connection to ${url.host}`, said };
      }
      // Without its body, an answer still says by its status what to do; a 200 does not.
      if (!response.ok) return toOutcome(response, "", url, key);
      const what = `${url.host} lost the connection in the middle of an answer`;
      return { kind: "broken", what, said: "" };
    }
  })();
  try {
    const first = await Promise.race([answered, timedOut]);
    if (first !== "timed out") return first;
    if (response !== undefined && !response.ok) return toOutcome(response, "", url, key);
    const what = `${url.host} gave no answer within ${Math.round(timeoutMs / 1_000)} s`;
    return { kind: "broken", what, said: "" };
  } finally {
    clearTimeout(timer);
  }
}

function toOutcome(response: Response, body: string, url: URL, key: LumaKey): Outcome {
  // Some runtimes hide the status of a redirect that they did not follow.
  const status = response.type === "opaqueredirect" ? 302 : response.status;
  const answer = parseJson(body);
  if (response.ok && answer !== undefined) return { kind: "json", json: answer.json };
  const text = quote(errorBody.safeParse(answer?.json).data?.message ?? body, key.apiKey);
  const seen = {
    what: `${url.host} answered ${status}`,
    said: text === "" ? "" : `: "${text}"`,
    status,
  };
  if (status === 429) {
    return { kind: "rate limited", ...seen, retryAfter: response.headers.get("retry-after") };
  }
  if (status === 404 || status === 410) return { kind: "gone", ...seen };
  if (status >= 500) return { kind: "broken", ...seen };
  if (status >= 400) {
    if (answer === undefined) return { kind: "blocked", ...seen };
    if (status !== 401 && status !== 403) return { kind: "refused", ...seen };
    const what = `${url.host} rejected the API key with ${status}`;
    return { kind: "key rejected", ...seen, what };
  }
  if (status >= 300) return { kind: "gone", ...seen };
  return { kind: "broken", ...seen, what: `${seen.what} with a body that is not JSON` };
}

/** lu.ma's errors are `{ message, code }`. */
const errorBody = z.object({ message: z.string() });

function parseJson(body: string): { json: unknown } | undefined {
  try {
    return { json: JSON.parse(body) as unknown };
  } catch {
    return undefined;
  }
}

/** With the cause, where the runtime gives one: Node's own message is just "fetch failed". */
function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error as { cause?: { code?: unknown } };
  return typeof cause?.code === "string" ? `${error.message} (${cause.code})` : error.message;
}

/** A runtime's own message may name the URL; who logs in to a proxy by its URL wants that kept quiet. */
function withoutQuery(message: string): string {
  return message.replace(/\/\/[^/@\s]*@/g, "//").replace(/\?[^\s)"']*/g, "");
}
