/** The benchmark's two ways with time: a page's pause that takes none, and a whole run in simulated time. */
import { setImmediate } from "node:timers";

/** The module's pause between two pages of a listing. */
const PAGE_PAUSE_MS = 200;
/** Enough for whatever goes on without a timer to come to its end: reading a stubbed answer's body, say. */
const TURNS_BEFORE_A_JUMP = 5;

/** Node's own HTTP client is among the callers, and gives arguments. */
type Callback = (...args: unknown[]) => void;

/** Makes the pauses between pages take no time; all other timers stay. Returns how to undo it. */
export function skipPagePauses(): () => void {
  const realSetTimeout = globalThis.setTimeout;
  const impatient = (callback: Callback, delayMs?: number, ...args: unknown[]) =>
    realSetTimeout(callback, delayMs === PAGE_PAUSE_MS ? 0 : delayMs, ...args);
  globalThis.setTimeout = impatient as typeof setTimeout;
  return () => {
    globalThis.setTimeout = realSetTimeout;
  };
}

type Timer = { at: number; callback: () => void };

/**
 * Time that passes only while everything waits for it. Takes the place of the real one until stopped; nothing may
 * have used HTTP before, because Node's client goes on setting timers for a while, and not in this way.
 */
export class SimulatedClock {
  private readonly timers = new Map<number, Timer>();
  private readonly real = { setTimeout, clearTimeout, now: Date.now };
  private lastTimerId = 0;
  private now = Date.now();

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

  /** Goes from timer to timer until none is left. */
  async runUntilIdle(): Promise<void> {
    for (;;) {
      for (let turn = 0; turn < TURNS_BEFORE_A_JUMP; turn += 1) {
        await new Promise<void>((resolve) => setImmediate(resolve));
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
