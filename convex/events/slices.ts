/**
 * Keeps a full run going: it is worked off in slices, each an action that Convex may lose, so each is watched by a
 * scheduled check (a mutation, which Convex runs exactly once). All state is in the scheduled functions'
 * arguments.
 */
import { milliseconds } from "date-fns";
import { v } from "convex/values";
import { internal } from "../_generated/api";
import type { Id } from "../_generated/dataModel";
import { internalMutation, type ActionCtx, type MutationCtx } from "../_generated/server";
import { runProgress, type RunProgress } from "./validators";

/** Between the end of one organization's sync and the start of the next one's. */
export const ORG_PAUSE_MS = milliseconds({ seconds: 1 });
/**
 * When a slice that has not ended counts as lost: it takes organizations on for 2 minutes, the last one fetches
 * for 7, and writing takes part of a minute.
 */
const LOST_AFTER_MS = milliseconds({ minutes: 12 });
const MAX_TRIES = 3;
/** Convex's arrays hold 8,192 elements. */
const CHUNK_LENGTH = 1_000;

export function startOfRun(now: number): RunProgress {
  return { remaining: null, startedAt: now, slices: 0, synced: 0, failed: 0 };
}

export function toChunks<Item>(items: Item[]): Item[][] {
  const chunks: Item[][] = [];
  for (let from = 0; from < items.length; from += CHUNK_LENGTH) {
    chunks.push(items.slice(from, from + CHUNK_LENGTH));
  }
  return chunks;
}

/** Watches the first slice of a run, which nobody scheduled through here. */
export async function watchFirstSlice(
  ctx: ActionCtx,
  progress: RunProgress,
): Promise<Id<"_scheduled_functions">> {
  return await ctx.scheduler.runAfter(LOST_AFTER_MS, internal.events.slices.resumeLostSlice, {
    progress,
    tries: 1,
  });
}

/**
 * Ends a slice that has left organizations over: schedules the next slice and its check, and cancels its own
 * check, all or nothing.
 */
export const handOver = internalMutation({
  args: { checkId: v.id("_scheduled_functions"), progress: runProgress },
  returns: v.null(),
  handler: async (ctx, { checkId, progress }) => {
    const check = await ctx.db.system.get("_scheduled_functions", checkId);
    if (check?.state.kind !== "pending") {
      console.log("Full lu.ma sync: a slice took so long that it was resumed; it ends here.");
      return null;
    }
    await ctx.scheduler.cancel(checkId);
    await scheduleSlice(ctx, progress, 1, ORG_PAUSE_MS);
    return null;
  },
});

/**
 * The check on a slice. That it runs at all means that the slice was lost, since one that ends well cancels it:
 * schedules the slice again, from where it began, three tries in all.
 */
export const resumeLostSlice = internalMutation({
  args: { progress: runProgress, tries: v.number() },
  returns: v.null(),
  handler: async (ctx, { progress, tries }) => {
    if (tries < MAX_TRIES) {
      console.log(`Full lu.ma sync: slice ${progress.slices + 1} was lost and is resumed.`);
      await scheduleSlice(ctx, progress, tries + 1, 0);
      return null;
    }
    console.error(
      `Full lu.ma sync: given up after ${tries} tries of slice ${progress.slices + 1}, ` +
        `${await describePosition(ctx, progress)}. ${progress.synced} synced and ${progress.failed} failed ` +
        "before it. Run events/sync:runFullEventSync to sync all again.",
    );
    return null;
  },
});

async function scheduleSlice(
  ctx: MutationCtx,
  progress: RunProgress,
  tries: number,
  delayMs: number,
): Promise<void> {
  const checkId = await ctx.scheduler.runAfter(
    delayMs + LOST_AFTER_MS,
    internal.events.slices.resumeLostSlice,
    { progress, tries },
  );
  await ctx.scheduler.runAfter(delayMs, internal.events.sync.runFullEventSync, {
    progress,
    checkId,
  });
}

async function describePosition(ctx: MutationCtx, { remaining }: RunProgress): Promise<string> {
  if (remaining === null) return "at the start of the run";
  const left = remaining.flat();
  const next = left[0] === undefined ? null : await ctx.db.get("organizations", left[0]);
  return `at the organization "${next?.name ?? "(deleted)"}" (${left[0]}), with ${left.length} organizations left`;
}
