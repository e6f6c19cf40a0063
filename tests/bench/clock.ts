/** The benchmark's two ways with time: pauses that take none, and a whole run in simulated time. */
import { setImmediate } from "node:timers";

/** Longer than the module's pauses between requests and after writes, shorter than its wait for an answer. */
const LONGEST_SKIPPED_MS = 5_000;
/** Enough for whatever goes on without a timer to come to its end: reading a stubbed answer's body, say. */
const TURNS_BEFORE_A_JUMP = 5;

/** Node's own HTTP client is among the callers, and gives arguments. */
type Callback = (...args: unknown[]) => void;

/** Makes the module's pauses take no time; longer timers stay. Returns how to undo it. */
export function skipPauses(): () => void {
  const realSetTimeout = globalThis.setTimeout;
  const impatient = (callback: Callback, delayMs = 0, ...args: unknown[]) =>
    realSetTimeout(callback, delayMs < LONGEST_SKIPPED_MS ? 0 : delayMs, ...args);
  globalThis.setTimeout = impatient as typeof setTimeout;
  return () => {
    globalThis.setTimeout = realSetTimeout;
  };
}

type Timer = { at: number; callback: () => void };

/** A time for all runs: the same numbers come out every day. */
const SIMULATED_START = Date.parse("2026-09-01T07:00:00.000Z");

/**
 * Time that passes only while everything waits for it. Takes the place of the real one until stopped; nothing may
 * have used HTTP before, because Node's client goes on setting timers for a while, and not in this way.
 */
export class SimulatedClock {
  private readonly timers = new Map<number, Timer>();
  private readonly real = { setTimeout, clearTimeout, now: Date.now };
  private lastTimerId = 0;
  private now = SIMULATED_START;

  constructor() {
    globalThis.setTimeout = ((callback: () => void, delayMs = 0) =>
      this.addTimer(callback, delayMs)) as unknown as typeof setTimeout;
    globalThis.clearTimeout = ((timerId: number) => {
      this.timers.delete(timerId);
    }) as typeof clearTimeout;
    Date.now = () => this.now;
  }

  stop(): void {
    globalThis.setTimeout = this.real.setTimeout;
    globalThis.clearTimeout = this.real.clearTimeout;
    Date.now = this.real.now;
  }

  /** Goes from timer to timer until none is left, or `isOver` says so. */
  async runUntilIdle(isOver: () => boolean = () => false): Promise<void> {
    for (;;) {
      for (let turn = 0; turn < TURNS_BEFORE_A_JUMP; turn += 1) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        if (isOver()) return;
      }
      const next = this.takeNextTimer();
      if (next === undefined) return;
      this.now = Math.max(this.now, next.at);
      next.callback();
    }
  }

  private addTimer(callback: () => void, delayMs: number): number {
    this.lastTimerId += 1;
    this.timers.set(this.lastTimerId, { at: this.now + delayMs, callback });
    return this.lastTimerId;
  }

  /** The earliest one; of those at the same time, the one that was set first. */
  private takeNextTimer(): Timer | undefined {
    let next: { timerId: number; timer: Timer } | undefined;
    for (const [timerId, timer] of this.timers) {
      if (next === undefined || timer.at < next.timer.at) next = { timerId, timer };
    }
    if (next !== undefined) this.timers.delete(next.timerId);
    return next?.timer;
  }
}
