/**
 * Simulated time for tests, the demo and the benchmark. setTimeout, clearTimeout and Date follow a clock that jumps
 * from timer to timer, but only while nothing else happens. Everything else, such as the HTTP stack, keeps real time.
 */
import { setImmediate } from "node:timers";

/** Loopback answers within a few turns of the event loop. After this many quiet ones, everything waits for time. */
const QUIET_TURNS = 20;
/** After this many real ms without a timer, nothing more will happen. */
const IDLE_MS = 10_000;

type Callback = (...args: unknown[]) => void;

/** The originals, while time is simulated. */
let real: Pick<typeof globalThis, "setTimeout" | "clearTimeout" | "Date"> | undefined;
let now = 0;
/** In the order in which they were set. */
const timers = new Set<Timer>();

/** Has the methods that Node's HTTP client calls on a timer. */
class Timer {
  at: number;
  constructor(
    readonly run: () => void,
    private readonly delayMs: number,
  ) {
    this.at = now + delayMs;
    timers.add(this);
  }
  refresh(): this {
    this.at = now + this.delayMs;
    timers.delete(this);
    timers.add(this);
    return this;
  }
  readonly ref = () => this;
  readonly unref = () => this;
  readonly hasRef = () => true;
}

/** Replaces real time until `useRealTime` is called. Drops the timers of an earlier simulation. */
export function useSimulatedTime(startsAt: number = Date.now()): void {
  useRealTime();
  const { setTimeout, clearTimeout, Date } = globalThis;
  real = { setTimeout, clearTimeout, Date };
  now = startsAt;
  const getNow = () => now;
  const set = (callback: Callback, delayMs?: number, ...args: unknown[]) =>
    new Timer(() => callback(...args), Math.max(0, Number(delayMs) || 0));
  const clear = (timer: unknown) => {
    if (timer instanceof Timer) timers.delete(timer);
    else clearTimeout(timer as number | undefined);
  };
  Object.assign(globalThis, { setTimeout: set, clearTimeout: clear });
  globalThis.Date = new Proxy(Date, {
    apply: () => new Date(now).toString(),
    construct: (date, args: unknown[], newTarget) =>
      Reflect.construct(date, args.length === 0 ? [now] : args, newTarget) as object,
    get: (date, property) =>
      property === "now" ? getNow : (Reflect.get(date, property) as unknown),
  });
}

export function useRealTime(): void {
  if (real !== undefined) Object.assign(globalThis, real);
  real = undefined;
  timers.clear();
}

/** Sets the clock, in ms since 1970, without running the timers that are due by then. */
export function setTime(ms: number): void {
  if (real === undefined) throw new Error("time is real: call useSimulatedTime first");
  now = ms;
}

/** How many timers are pending. */
export function countTimers(): number {
  return timers.size;
}

/** Waits for a promise, letting simulated time pass as `passTimeUntil` does. */
export async function settle<Result>(
  promise: Promise<Result>,
  activity?: () => number,
): Promise<Result> {
  let isSettled = false;
  const settled = promise.finally(() => (isSettled = true));
  settled.catch(() => undefined);
  await passTimeUntil(() => isSettled, activity);
  return await settled;
}

/** Lets this much simulated time pass or, without `ms`, as much as there are timers for. */
export async function passTime(ms = Infinity, activity?: () => number): Promise<void> {
  if (ms < Infinity) await settle(new Promise((resolve) => setTimeout(resolve, ms)), activity);
  else await passTimeUntil(() => false, activity, true);
}

/**
 * Lets simulated time pass, from timer to timer, but only while nothing else happens. `activity` counts what else
 * happens, such as requests at a server. In real time, it only waits.
 */
export async function passTimeUntil(
  isOver: () => boolean,
  activity: () => number = () => 0,
  endsWithoutTimers = false,
): Promise<void> {
  let quietTurns = 0;
  let idleSince: number | undefined;
  let seen = activity();
  for (;;) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (isOver()) return;
    quietTurns = activity() === seen ? quietTurns + 1 : 0;
    seen = activity();
    if (quietTurns < QUIET_TURNS) continue;
    quietTurns = 0;
    if (timers.size > 0) idleSince = undefined;
    else if (endsWithoutTimers) return;
    else if (real !== undefined) {
      idleSince ??= performance.now();
      if (performance.now() - idleSince > IDLE_MS) throw new Error("nothing more will happen");
    }
    runNextTimer();
  }
}

/** If several timers are due at the same time, the one that was set first runs first. */
function runNextTimer(): void {
  let next: Timer | undefined;
  for (const timer of timers) if (next === undefined || timer.at < next.at) next = timer;
  if (next === undefined) return;
  timers.delete(next);
  now = Math.max(now, next.at);
  next.run();
}
