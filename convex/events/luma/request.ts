/** One request to lu.ma: asked again for as long as that may help, then given up with a reason. */
import { milliseconds } from "date-fns";
import { getAddressHint } from "./addresses";
import { attempt, type Attempt } from "./attempt";
import { CHECK_NETWORK, LumaError, SYNC_LATER, type Consequences } from "./error";

/** Waits before asking again after an answer that may be better next time: 4 attempts in all. */
const RETRY_WAITS_MS = [1_000, 2_000, 4_000];
/** lu.ma blocks a key for one minute after 200 requests in one (its documentation, "Rate limits"). */
const RATE_LIMIT_WAIT_MS = milliseconds({ seconds: 60 });
const MIN_RATE_LIMIT_WAIT_MS = milliseconds({ seconds: 1 });
const MAX_RATE_LIMIT_WAIT_MS = milliseconds({ seconds: 120 });

type Kind = Consequences["kind"];
export type LumaRequest = Attempt & {
  /** What is asked for, for messages: "page 3". */
  label: string;
  /** The number of 429 at which it is given up. */
  maxRateLimited: number;
};

/**
 * The JSON that is answered with a 2xx status.
 *
 * @throws LumaError when lu.ma refuses, does not recover, or is too slow.
 */
export async function requestJson(request: LumaRequest): Promise<unknown> {
  const { key, label, deadline, maxRateLimited } = request;
  if (Date.now() >= deadline) throw tooSlow();
  let rateLimited = 0;
  let failed = 0;
  for (;;) {
    const outcome = await attempt(request);
    if (outcome.kind === "json") return outcome.json;
    const attempts = rateLimited + failed + 1;
    const giveUp = (kind: Kind, advice: string, more: Partial<Consequences> = {}) =>
      new LumaError(
        `${outcome.what} for ${label} (${attempts} attempt${attempts === 1 ? "" : "s"})${outcome.said}`,
        { kind, advice, status: outcome.status, ...more },
      );
    switch (outcome.kind) {
      case "rate limited":
        rateLimited += 1;
        if (rateLimited >= maxRateLimited) {
          const advice = `The key in ${key.source} is rate limited, and something else may be using it: sync again in a few minutes.`;
          throw giveUp("passing", advice, { isFinal: true });
        }
        await pause(toRateLimitWait(outcome.retryAfter), deadline, outcome.what);
        break;
      case "broken":
      case "unconnected": {
        const waitMs = RETRY_WAITS_MS[failed];
        const isUnreachable = outcome.kind === "unconnected";
        if (waitMs === undefined) {
          const advice = `${isUnreachable ? CHECK_NETWORK : SYNC_LATER}${getAddressHint()}`;
          throw giveUp("passing", advice, { isUnserved: true, isUnreachable });
        }
        failed += 1;
        await pause(waitMs, deadline, outcome.what);
        break;
      }
      case "blocked": {
        const advice = `That is no answer of lu.ma's own. ${SYNC_LATER}${getAddressHint()}`;
        throw giveUp("passing", advice, { isUnserved: true });
      }
      case "key rejected": {
        const advice =
          `The key in ${key.source} is wrong, or its calendar has no Luma Plus: take the key from the calendar's ` +
          `settings on lu.ma, and set it with ${key.howToSet}.`;
        throw giveUp("lasting", advice, { isFinal: true });
      }
      case "gone":
        throw giveUp(
          "lasting",
          getAddressHint().trim() ||
            "lu.ma may have moved its API: look for a newer version of this module.",
        );
      case "refused": {
        const advice =
          "The answer says why; if it is of no help, look for a newer version of this module.";
        throw giveUp("lasting", `${advice}${getAddressHint()}`);
      }
    }
  }
}

/** `Retry-After` is a number of seconds or an HTTP date (RFC 9110, 10.2.3). */
function toRateLimitWait(retryAfter: string | null): number {
  const waitMs = toMilliseconds(retryAfter ?? "");
  if (Number.isNaN(waitMs)) return RATE_LIMIT_WAIT_MS;
  return Math.min(Math.max(waitMs, MIN_RATE_LIMIT_WAIT_MS), MAX_RATE_LIMIT_WAIT_MS);
}

function toMilliseconds(retryAfter: string): number {
  if (/^\d+(\.\d+)?$/.test(retryAfter)) return Number(retryAfter) * 1_000;
  // Date.parse makes dates of nearly everything; an HTTP date begins with the day of the week.
  return /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(retryAfter)
    ? Date.parse(retryAfter) - Date.now()
    : NaN;
}

/**
 * Waits, unless the time would be up by then.
 *
 * @param last what lu.ma did last, if that is why there is a wait.
 * @throws LumaError when the time would be up.
 */
export async function pause(waitMs: number, deadline: number, last?: string): Promise<void> {
  if (Date.now() + waitMs >= deadline) throw tooSlow(last);
  await new Promise((resolve) => setTimeout(resolve, waitMs));
}

function tooSlow(last?: string): LumaError {
  const what = "too slow: lu.ma did not give all of it within 7 minutes, waits included";
  const end = last === undefined ? "" : ` (last, ${last})`;
  return new LumaError(`${what}${end}`, { kind: "passing", advice: SYNC_LATER, isFinal: true });
}
