/** Calls Convex from a sync, with retries, and writes in batches. */
import { ConvexError } from "convex/values";
import { SyncError } from "../failure";
import { sleep } from "../runtime";

/** Conflicts, overload and an exhausted write limit clear up within seconds. */
const RETRY_WAITS_MS = [1_000, 3_000];

/**
 * Calls a query or mutation, and retries it after 1 and 3 s unless it throws one of the module's own errors. May run a
 * committed call twice, so callers must be idempotent.
 */
export async function repeated<Result>(call: () => Promise<Result>): Promise<Result> {
  for (const waitMs of RETRY_WAITS_MS) {
    try {
      return await call();
    } catch (error) {
      if (error instanceof ConvexError) throw error;
      await sleep(waitMs);
    }
  }
  return await call();
}

// A free deployment may write 4 MiB a second, for the whole app. Batches of these sizes, this far apart, use half of
// that if every document has the largest possible size, and usually a fraction.
export const EVENTS_PER_WRITE = 50;
export const DESCRIPTIONS_PER_WRITE = 10;
export const WRITE_PAUSE_MS = 250;

/** Writes in batches, with pauses in between, throughout a sync. */
export class BatchWriter {
  private lastWroteAt = -Infinity;
  private readonly until: number;

  /** @param until when to give up, ms since 1970. */
  constructor(until: number) {
    this.until = until;
  }

  async write<Item>(items: Item[], batchSize: number, write: (batch: Item[]) => Promise<void>) {
    for (let from = 0; from < items.length; from += batchSize) {
      await sleep(Math.max(0, this.lastWroteAt + WRITE_PAUSE_MS - Date.now()));
      if (Date.now() >= this.until) {
        throw new SyncError("time ran out after 7.5 minutes, before everything was written");
      }
      const batch = items.slice(from, from + batchSize);
      await repeated(() => write(batch));
      this.lastWroteAt = Date.now();
    }
  }
}
