/** Calls Convex from a sync: what it refuses is tried again. */
import { ConvexError } from "convex/values";

/** Conflicts, overloads and a spent write budget pass within seconds. */
const REPEAT_AFTER_MS = [1_000, 3_000];

/**
 * Calls a query or a mutation, and again after 1 and 3 s if it fails with an error that is not the module's own. A call
 * may be repeated after a success, too, whose answer was lost: then its counts are those of the second time, which found
 * nothing left to do.
 */
export async function repeated<Result>(call: () => Promise<Result>): Promise<Result> {
  for (const waitMs of REPEAT_AFTER_MS) {
    try {
      return await call();
    } catch (error) {
      if (error instanceof ConvexError) throw error;
      await sleep(waitMs);
    }
  }
  return await call();
}

export async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
