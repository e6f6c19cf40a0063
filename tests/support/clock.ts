/** Simulated time, for tests in which the waiting itself is the point. */
import { setImmediate } from "node:timers";
import { vi } from "vitest";

/** Only what has to do with waiting: the HTTP stack and the engine keep the real rest. */
export function useSimulatedTime(now: number = Date.now()): void {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now });
}

/** Loopback answers within a turn of the event loop or a few; so many quiet ones mean that all wait for time. */
const QUIET_TURNS = 20;

/** Waits for a promise, letting simulated time pass as `passTimeUntil` does. */
export async function settle<Result>(
  promise: Promise<Result>,
  activity?: () => number,
): Promise<Result> {
  let isSettled = false;
  const settled = promise.finally(() => {
    isSettled = true;
  });
  settled.catch(() => undefined);
  await passTimeUntil(() => isSettled, activity);
  return await settled;
}

/**
 * Lets simulated time pass, from timer to timer, but only while nothing else happens: `activity` counts what does,
 * such as requests at a server. Without simulated time it just waits.
 */
export async function passTimeUntil(
  isOver: () => boolean,
  activity: () => number = () => 0,
): Promise<void> {
  let quietTurns = 0;
  let seen = activity();
  for (;;) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (isOver()) return;
    quietTurns = activity() === seen ? quietTurns + 1 : 0;
    seen = activity();
    if (quietTurns < QUIET_TURNS) continue;
    quietTurns = 0;
    if (vi.isFakeTimers()) await vi.advanceTimersToNextTimerAsync();
  }
}
