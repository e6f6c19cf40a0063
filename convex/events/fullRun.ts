/**
 * The full run: all organizations that have a key, one after another. It is worked off in slices, each an action that
 * Convex may lose, so each is watched by a scheduled check (a mutation, which Convex runs exactly once). All state is
 * in the scheduled functions' arguments.
 */
import { milliseconds } from "date-fns";
import { v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import type { Doc, Id } from "../_generated/dataModel";
import { internalMutation, type ActionCtx, type MutationCtx } from "../_generated/server";
import { hasLumaKey } from "../orgs/lumaKey";
import { listSome, toLogLine } from "./logLines";
import { toReason } from "./reasons";

/** Between the end of one organization's sync and the start of the next one's. */
const ORG_PAUSE_MS = milliseconds({ seconds: 1 });
/** With 7 minutes for the last organization's fetch, no slice comes near 10 minutes. */
const SLICE_TAKES_ON_MS = milliseconds({ minutes: 2 });
/**
 * When a slice that has not ended counts as lost: it takes organizations on for 2 minutes, the last one fetches
 * for 7, and writing takes part of a minute.
 */
const LOST_AFTER_MS = milliseconds({ minutes: 12 });
const MAX_TRIES = 3;
/** Convex's arrays hold 8,192 elements. */
const CHUNK_LENGTH = 1_000;

/** How far a run has come: all of its state. */
const runProgress = v.object({
  /** The organizations still to be synced, in order and in chunks; `null` before they were looked up. */
  remaining: v.union(v.null(), v.array(v.array(v.id("organizations")))),
  startedAt: v.number(),
  slices: v.number(),
  synced: v.number(),
  failed: v.number(),
});
type RunProgress = Infer<typeof runProgress>;

const syncFailure = v.object({
  orgId: v.id("organizations"),
  name: v.string(),
  reason: v.string(),
});
type SyncFailure = Infer<typeof syncFailure>;

/** Nothing for a new run; otherwise where the slice before stopped, and the check on this one. */
export const sliceArgs = {
  progress: v.optional(runProgress),
  checkId: v.optional(v.id("_scheduled_functions")),
};

export const sliceResult = v.object({
  synced: v.number(),
  failed: v.array(syncFailure),
  isDone: v.boolean(),
});
export type SliceResult = Infer<typeof sliceResult>;

/** Syncs organizations for 2 minutes, then hands what is left over to another action. */
export async function runSlice(
  ctx: ActionCtx,
  args: { progress?: RunProgress; checkId?: Id<"_scheduled_functions"> },
): Promise<SliceResult> {
  const startedAt = Date.now();
  const before: RunProgress = args.progress ?? {
    remaining: null,
    startedAt,
    slices: 0,
    synced: 0,
    failed: 0,
  };
  const checkId = args.checkId ?? (await watchFirstSlice(ctx, before));

  const orgIds = before.remaining?.flat() ?? (await findOrgs(ctx));
  const { synced, failed, left } = await syncInTurn(ctx, orgIds, startedAt);
  const progress: RunProgress = {
    ...before,
    remaining: toChunks(left),
    slices: before.slices + 1,
    synced: before.synced + synced,
    failed: before.failed + failed.length,
  };
  const isDone = left.length === 0;
  console.log(describeSlice(progress, { synced, failed, left: left.length }));
  if (isDone) {
    await ctx.scheduler.cancel(checkId);
    console.log(describeRun(progress, Date.now()));
  } else {
    await ctx.runMutation(internal.events.fullRun.handOver, { checkId, progress });
  }
  return { synced, failed, isDone };
}

/** All organizations that have a lu.ma key, in a stable order. */
async function findOrgs(ctx: ActionCtx): Promise<Id<"organizations">[]> {
  const orgIds: Id<"organizations">[] = [];
  let cursor: Id<"organizations"> | null = null;
  for (;;) {
    const orgs: {
      page: { _id: Id<"organizations"> }[];
      isDone: boolean;
      continueCursor: Id<"organizations"> | null;
    } = await ctx.runQuery(internal.events.queries.getOrgsWithLumaConfig, { cursor });
    orgIds.push(...orgs.page.map((org) => org._id));
    if (orgs.isDone) return orgIds;
    cursor = orgs.continueCursor;
  }
}

/** Syncs one organization after another for as long as a slice takes them on, but at least one. */
async function syncInTurn(
  ctx: ActionCtx,
  orgIds: Id<"organizations">[],
  sliceStartedAt: number,
): Promise<{ synced: number; failed: SyncFailure[]; left: Id<"organizations">[] }> {
  let synced = 0;
  const failed: SyncFailure[] = [];
  for (const [index, orgId] of orgIds.entries()) {
    if (index > 0) {
      if (Date.now() + ORG_PAUSE_MS >= sliceStartedAt + SLICE_TAKES_ON_MS) {
        return { synced, failed, left: orgIds.slice(index) };
      }
      await new Promise((resolve) => setTimeout(resolve, ORG_PAUSE_MS));
    }
    const outcome = await syncOneOfRun(ctx, orgId);
    if (outcome === "synced") synced += 1;
    else if (outcome !== "skipped") failed.push(outcome);
  }
  return { synced, failed, left: [] };
}

/** In an action of its own, so that its memory, its time and its crash are its own. */
async function syncOneOfRun(
  ctx: ActionCtx,
  orgId: Id<"organizations">,
): Promise<"synced" | "skipped" | SyncFailure> {
  const syncStartedAt = Date.now();
  try {
    await ctx.runAction(internal.events.sync.syncOrgEvents, { orgId });
    return "synced";
  } catch (error) {
    const org: Doc<"organizations"> | null = await ctx.runQuery(internal.orgs.queries.getById, {
      orgId,
    });
    if (org === null || !hasLumaKey(org)) return "skipped";
    const reason = toReason(error, org);
    // Its action may have been killed before it could write this itself.
    const failure = { orgId, reason, syncStartedAt };
    await ctx.runMutation(internal.events.mutations.recordSyncError, failure);
    return { orgId, name: org.name, reason };
  }
}

/** Watches the first slice of a run, which nobody scheduled through here. */
async function watchFirstSlice(
  ctx: ActionCtx,
  progress: RunProgress,
): Promise<Id<"_scheduled_functions">> {
  return await ctx.scheduler.runAfter(LOST_AFTER_MS, internal.events.fullRun.resumeLostSlice, {
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
    internal.events.fullRun.resumeLostSlice,
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

function describeSlice(
  progress: RunProgress,
  slice: { synced: number; failed: SyncFailure[]; left: number },
): string {
  return toLogLine(
    `Full lu.ma sync, slice ${progress.slices}: ${slice.synced} synced, ${slice.failed.length} failed, ` +
      `${slice.left} left.`,
    listSome(
      "Failed",
      slice.failed.map((failure) => `${failure.orgId}: ${failure.reason}`),
    ),
  );
}

function describeRun(progress: RunProgress, now: number): string {
  const seconds = Math.round((now - progress.startedAt) / 1_000);
  return (
    `Full lu.ma sync done: ${progress.synced} synced, ${progress.failed} failed, ` +
    `in ${progress.slices} slice(s) and ${seconds} s.`
  );
}

function toChunks<Item>(items: Item[]): Item[][] {
  const chunks: Item[][] = [];
  for (let from = 0; from < items.length; from += CHUNK_LENGTH) {
    chunks.push(items.slice(from, from + CHUNK_LENGTH));
  }
  return chunks;
}
