/** Calls Convex from a sync, and again if it refuses. */
import { ConvexError } from "convex/values";

/** Conflicts, overloads and a spent write budget pass within seconds. */
const REPEAT_AFTER_MS = [1_000, 3_000];

/**
 * Calls a query or a mutation, and again after 1 and 3 s if it fails with an error that is not the module's own. It
 * also repeats a success whose answer was lost: the counts are then of the second call, which found nothing left to do.
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
