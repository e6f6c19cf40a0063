/** A request to lu.ma with its retries. */
import { milliseconds } from "date-fns";
import { SyncError } from "../failure";
import { sleep } from "../runtime";
import { attempt, type Attempt, type FailedAttempt } from "./attempt";

/** How often to try, and how long to wait for an answer. */
export type Patience = {
  /** The wait before each retry. After a 429, lu.ma says how long to wait. */
  retryWaitsMs: number[];
  answerTimeoutMs: number;
};

/** For requests that a sync depends on: up to three retries after a 429, and three after other transient failures. */
export const PATIENT: Patience = {
  retryWaitsMs: [1_000, 2_000, 4_000],
  answerTimeoutMs: milliseconds({ seconds: 30 }),
};
/** For requests that can wait until the next sync. */
export const ONCE: Patience = {
  retryWaitsMs: [],
  answerTimeoutMs: milliseconds({ seconds: 10 }),
};

/** lu.ma blocks a key for a minute after 200 requests in a minute (lu.ma's documentation, "Rate limits"). */
const RATE_LIMIT_WAIT_MS = milliseconds({ seconds: 60 });
const MIN_RATE_LIMIT_WAIT_MS = milliseconds({ seconds: 1 });
const MAX_RATE_LIMIT_WAIT_MS = milliseconds({ seconds: 120 });

export type LumaRequest = Omit<Attempt, "answerTimeoutMs"> & {
  /** What the request is for, for messages: "page 3". */
  label: string;
  patience: Patience;
};

/**
 * The JSON of a 2xx answer. Logs each wait before a retry.
 *
 * @throws SyncError if lu.ma refuses the request, doesn't recover, or is too slow.
 */
export async function requestJson(request: LumaRequest): Promise<unknown> {
  const { label, deadline, patience } = request;
  if (Date.now() >= deadline) throw tooSlow();
  let [rateLimited, failed] = [0, 0];
  for (let attempts = 1; ; attempts += 1) {
    const outcome = await attempt({ ...request, answerTimeoutMs: patience.answerTimeoutMs });
    if ("json" in outcome) return outcome.json;
    const { cause, what, said } = outcome;
    if (cause === "rateLimited") rateLimited += 1;
    else failed += 1;
    const waitMs = toWait(outcome, { rateLimited, failed }, patience);
    if (waitMs === undefined) {
      const times = `${attempts} attempt${attempts === 1 ? "" : "s"}`;
      throw new SyncError(`${what} for ${label} (${times})${said}`, cause);
    }
    if (Date.now() + waitMs >= deadline) throw tooSlow(what);
    console.log(`lu.ma: ${what} for ${label}; retrying in ${Math.ceil(waitMs / 1_000)} s.`);
    await sleep(waitMs);
  }
}

/** How long to wait before a retry; `undefined` if there is no use in one. */
function toWait(
  { cause, retryAfter }: FailedAttempt,
  { rateLimited, failed }: { rateLimited: number; failed: number },
  { retryWaitsMs }: Patience,
): number | undefined {
  if (cause === "rateLimited") {
    if (rateLimited > retryWaitsMs.length) return undefined;
    // If there is a second 429, `Retry-After` was wrong: it may be 0, or a date in the past.
    return Math.max(toRateLimitWait(retryAfter), rateLimited > 1 ? RATE_LIMIT_WAIT_MS : 0);
  }
  return cause === "unavailable" ? retryWaitsMs[failed - 1] : undefined;
}

/** `Retry-After` is a number of seconds or an HTTP date (RFC 9110, 10.2.3). */
function toRateLimitWait(retryAfter: string | null): number {
  const waitMs = toMilliseconds(retryAfter ?? "");
  if (Number.isNaN(waitMs)) return RATE_LIMIT_WAIT_MS;
  return Math.min(Math.max(waitMs, MIN_RATE_LIMIT_WAIT_MS), MAX_RATE_LIMIT_WAIT_MS);
}

function toMilliseconds(retryAfter: string): number {
  if (/^\d+(\.\d+)?$/.test(retryAfter)) return Number(retryAfter) * 1_000;
  // Date.parse accepts nearly everything; an HTTP date begins with the day of the week.
  return /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(retryAfter)
    ? Date.parse(retryAfter) - Date.now()
    : NaN;
}

/** @throws SyncError if the deadline would pass during the wait. */
export async function pause(waitMs: number, deadline: number): Promise<void> {
  if (Date.now() + waitMs >= deadline) throw tooSlow();
  await sleep(waitMs);
}

/** @param last what lu.ma did last, if that is the reason for the wait. */
function tooSlow(last?: string): SyncError {
  const what = "lu.ma was too slow: it could not be read within 7 minutes, waits included";
  return new SyncError(last === undefined ? what : `${what} (last problem: ${last})`, "tooSlow");
}
