/** Writes a sync's events slowly: a mutation writes 1 MiB, and the next one waits as long as that takes at 1 MiB a second. */
import { getDocumentSize, v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import type { Id } from "../_generated/dataModel";
import type { ActionCtx } from "../_generated/server";
import { repeated, sleep } from "./convexCalls";
import type { NumberedSync } from "./eventSyncs";
import { SyncError } from "./failure";
import type { UpsertedEvent } from "./validators";

/** A free deployment may write 4 MiB a second, for all of the app: the mirror takes a quarter of it. */
const WRITE_BYTES_PER_SECOND = 1024 * 1024;
/** So that no second sees much more than 2 MiB: a mutation just before it, and one in it. */
export const MAX_WRITE_BYTES = WRITE_BYTES_PER_SECOND;
/** Far inside Convex's limits, and as many as are asked for on a page of lu.ma's. */
const MAX_WRITE_ITEMS = 100;

/** How far a mutation came with the items that it was given, and the size of the documents that it wrote. */
export const written = v.object({ done: v.number(), bytes: v.number() });
type Written = Infer<typeof written>;

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
export async function* writeSlowly<Item, Result extends { written: Written }>(
  items: Item[],
  write: (batch: Item[]) => Promise<Result>,
): AsyncGenerator<Result> {
  for (let from = 0; from < items.length;) {
    const batch = items.slice(from, from + MAX_WRITE_ITEMS);
    const result = await repeated(() => write(batch));
    yield result;
    const { done, bytes } = result.written;
    from += done;
    await sleep(Math.ceil((bytes / WRITE_BYTES_PER_SECOND) * 1_000));
  }
}

/** @param until when to give up, ms since 1970. */
export async function writeEvents(
  ctx: ActionCtx,
  sync: NumberedSync,
  toWrite: UpsertedEvent[],
  until: number,
): Promise<{ inserted: number; updated: number; unchanged: number }> {
  const counts = { inserted: 0, updated: 0, unchanged: 0 };
  const upserts = writeSlowly(toWrite, async (events) => {
    requireTime(until);
    return await ctx.runMutation(internal.events.mutations.upsertEvents, { ...sync, events });
  });
  for await (const { inserted, updated, unchanged } of upserts) {
    counts.inserted += inserted;
    counts.updated += updated;
    counts.unchanged += unchanged;
  }
  return counts;
}

export async function removeEvents(
  ctx: ActionCtx,
  sync: NumberedSync,
  gone: Id<"events">[],
  until: number,
): Promise<number> {
  let count = 0;
  const removals = writeSlowly(gone, async (eventIds) => {
    requireTime(until);
    const args = { ...sync, eventIds };
    return await ctx.runMutation(internal.events.mutations.markEventsRemoved, args);
  });
  for await (const { removed } of removals) count += removed;
  return count;
}

function requireTime(until: number): void {
  if (Date.now() < until) return;
  throw new SyncError("7 minutes 30 after it began, it had events left to write", "convex");
}
