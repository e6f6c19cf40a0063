/**
 * One HTTP request to lu.ma and its outcome: the only file that calls fetch. Retries and the meaning of an answer are
 * handled elsewhere.
 */
import * as z from "zod/v4";
import type { Cause } from "../failure";
import { quote } from "../text";
import type { LumaKey } from "./key";

export type Attempt = {
  url: URL;
  key: LumaKey;
  /** How long to wait for a whole answer, headers and body. */
  answerTimeoutMs: number;
  /** When to give up, ms since 1970. */
  deadline: number;
};

export type Outcome = { json: unknown } | FailedAttempt;

/** `what` says which host did what, and `said` quotes its answer. Neither contains the key. */
export type FailedAttempt = {
  cause: Cause;
  what: string;
  said: string;
  retryAfter: string | null;
};

/** Never throws. */
export async function attempt({ url, key, answerTimeoutMs, deadline }: Attempt): Promise<Outcome> {
  const timeoutMs = Math.min(answerTimeoutMs, deadline - Date.now());
  const controller = new AbortController();
  // Abort only here, and once: in Convex's runtime, a second abort kills the whole function.
  const timer = setTimeout(() => controller.abort(), timeoutMs);
  let response: Response | undefined;
  try {
    response = await fetch(url.href, {
      headers: { accept: "application/json", "x-luma-api-key": key.apiKey },
      redirect: "manual",
      signal: controller.signal,
    });
    return toOutcome(response, await response.text(), url, key);
  } catch (error) {
    // If the body was lost, the status of an error is still useful; a 200 isn't.
    if (response !== undefined && !response.ok) return toOutcome(response, "", url, key);
    if (controller.signal.aborted) {
      return failed(`${url.host} gave no answer within ${Math.round(timeoutMs / 1_000)} s`);
    }
    if (response !== undefined) {
      return failed(`${url.host} lost the connection in the middle of an answer`);
    }
    const said = `: ${quote(redactUrls(describeError(error)), key.apiKey)}`;
    return failed(`no connection to ${url.host}`, said);
  } finally {
    clearTimeout(timer);
  }
}

function failed(what: string, said = ""): FailedAttempt {
  return { cause: "unavailable", what, said, retryAfter: null };
}

function toOutcome(response: Response, body: string, url: URL, key: LumaKey): Outcome {
  // Some runtimes hide the status of a redirect that they did not follow.
  const status = response.type === "opaqueredirect" ? 302 : response.status;
  const answer = parseJson(body);
  if (response.ok && answer !== undefined) return answer;
  const text = quote(errorBody.safeParse(answer?.json).data?.message ?? body, key.apiKey);
  return {
    cause: toCause(status, answer !== undefined),
    what: `${url.host} answered ${status}${response.ok ? " with a body that is not JSON" : ""}`,
    said: text === "" ? "" : `: "${text}"`,
    retryAfter: response.headers.get("retry-after"),
  };
}

function toCause(status: number, isJson: boolean): Cause {
  if (status === 429) return "rateLimited";
  if (status === 408 || status === 425 || status >= 500 || status < 300) return "unavailable";
  if (status < 400) return "redirected";
  if (!isJson) return "foreign";
  if (status === 400) return "malformed";
  if (status === 401) return "keyRejected";
  if (status === 403) return "forbidden";
  return status === 404 || status === 410 ? "gone" : "refused";
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

/** A runtime's message may contain the URL, with its query, and a proxy's URL may contain a login. */
function redactUrls(message: string): string {
  return message.replace(/\/\/[^/@\s]*@/g, "//").replace(/\?[^\s)"']*/g, "");
}
