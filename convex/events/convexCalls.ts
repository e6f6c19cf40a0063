/** How a sync calls Convex: what it refuses is tried again, and what is written is written slowly. */
import { ConvexError, getDocumentSize } from "convex/values";
import type { Written } from "./validators";

/** Conflicts, overloads and a spent write budget pass within seconds. */
const REPEAT_AFTER_MS = [1_000, 3_000];
/** A free deployment may write 4 MiB a second, for all of the app: the mirror takes a quarter of it. */
const WRITE_BYTES_PER_SECOND = 1024 * 1024;
/** So that no second sees much more than 2 MiB: a mutation just before it, and one in it. */
export const MAX_WRITE_BYTES = WRITE_BYTES_PER_SECOND;
/** Far inside Convex's limits, and as many as are asked for on a page of lu.ma's. */
const MAX_WRITE_ITEMS = 100;

/**
 * Calls a query or a mutation, and again after 1 and 3 s if it fails with an error that is not the module's own. What is
 * called so may be repeated after a success, too: then its counts are those of the second time, which found nothing left to
 * do.
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

/** What one mutation of a sync may write: 1 MiB of whole documents, one document at least. */
export class WriteBudget {
  private bytes = 0;
  constructor(private readonly syncNumber: number | undefined) {}

  /** Whether a document may still be written; if so, it counts, as it was read or as it will be, whichever is larger. */
  spend(...states: Parameters<typeof getDocumentSize>[0][]): boolean {
    const bytes = Math.max(...states.map((state) => getDocumentSize(state)));
    const isSpent = this.bytes > 0 && this.bytes + bytes > MAX_WRITE_BYTES;
    if (this.syncNumber !== undefined && isSpent) return false;
    this.bytes += bytes;
    return true;
  }

  /** @param done how many of the items that the mutation was given are done with. */
  toWritten(done: number): Written {
    return { done, bytes: this.bytes };
  }
}

/** Writes mutation by mutation, and pauses after each for as long as what it wrote takes at 1 MiB a second. */
export async function* writeSlowly<Item, Result extends { written?: Written }>(
  items: Item[],
  write: (batch: Item[]) => Promise<Result>,
): AsyncGenerator<Result> {
  for (let from = 0; from < items.length;) {
    const batch = items.slice(from, from + MAX_WRITE_ITEMS);
    const result = await repeated(() => write(batch));
    yield result;
    const { done, bytes } = result.written ?? { done: batch.length, bytes: 0 };
    from += done;
    await sleep(Math.ceil((bytes / WRITE_BYTES_PER_SECOND) * 1_000));
  }
}
