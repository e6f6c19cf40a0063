/**
 * The full run: all organizations that have a key, one after another, in up to three rounds. A round is worked off in
 * slices, each an action that Convex may lose, so each is watched by a scheduled check (a mutation, which Convex runs
 * exactly once). All state is in the scheduled functions' arguments.
 */
import { milliseconds } from "date-fns";
import { ConvexError, v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import type { Id } from "../_generated/dataModel";
import { internalMutation, type ActionCtx, type MutationCtx } from "../_generated/server";
import { getOrg, orgId, toShownOrg, type Org, type OrgId } from "../orgs/app";
import { repeated, sleep } from "./pacing";
import { recordFailure, toFailure, type FailureData } from "./reasons";
import { listSome, toLogLine } from "./text";
import type { SyncResult } from "./validators";

// The time budget. No action works longer than 10 minutes: a slice takes organizations on for 2, and the last one's
// sync, for which the slice waits, has events left to write for 7.5 at most. What remains is for Convex's own time.

/** lu.ma is asked until then, from the start of an organization's sync, waits included. */
export const FETCH_MS = milliseconds({ minutes: 7 });
/** Events are written until then. */
export const SYNC_MS = FETCH_MS + milliseconds({ seconds: 30 });
const SLICE_TAKES_ON_MS = milliseconds({ minutes: 2 });
const CONVEX_MARGIN_MS = milliseconds({ seconds: 150 });
/** When a slice that has not ended counts as lost. */
const LOST_AFTER_MS = SLICE_TAKES_ON_MS + SYNC_MS + CONVEX_MARGIN_MS;
const MAX_TRIES = 3;
/** Between the end of one organization's sync and the start of the next one's. */
const ORG_PAUSE_MS = milliseconds({ seconds: 1 });
/** What failed in passing waits so long for the second round, and for the third, which is the last. */
const ROUND_DELAYS_MS = [milliseconds({ minutes: 30 }), milliseconds({ hours: 2 })];
/** So many organizations in a row that lu.ma did not serve are an outage, and end a round. */
const MAX_UNSERVED_IN_A_ROW = 5;

/** Convex's arrays hold 8,192 elements. */
const CHUNK_LENGTH = 1_000;

/** How far a run has come: all of its state. Below 1 MiB also for 20,000 organizations. */
const runProgress = v.object({
  /** From 1. */
  round: v.number(),
  /** The round's organizations that were not tried yet, in order and in chunks; `null` before they were looked up. */
  remaining: v.union(v.null(), v.array(v.array(orgId))),
  /** The round's organizations that failed in passing. */
  failedInPassing: v.array(v.array(orgId)),
  /** How many organizations in a row lu.ma did not serve, up to now. */
  unservedInARow: v.number(),
  startedAt: v.number(),
  slices: v.number(),
  synced: v.number(),
  /** Those that will not be tried again. */
  failed: v.number(),
});
type RunProgress = Infer<typeof runProgress>;

const syncFailure = v.object({ orgId, name: v.string(), reason: v.string() });
type SyncFailure = Infer<typeof syncFailure>;

const sliceToRun = v.object({
  progress: runProgress,
  tries: v.number(),
  /** Scheduled together with the slice, in case that it is lost before it starts. */
  checkId: v.id("_scheduled_functions"),
});

/** Nothing begins a run. */
export const sliceArgs = { slice: v.optional(sliceToRun) };

export const sliceResult = v.object({
  synced: v.number(),
  failed: v.array(syncFailure),
  isDone: v.boolean(),
});
export type SliceResult = Infer<typeof sliceResult>;

/** Syncs organizations for 2 minutes, then hands what is left over to another action. */
export async function runSlice(
  ctx: ActionCtx,
  { slice }: { slice?: Infer<typeof sliceToRun> },
): Promise<SliceResult> {
  const startedAt = Date.now();
  const before: RunProgress = slice?.progress ?? {
    round: 1,
    remaining: null,
    failedInPassing: [],
    unservedInARow: 0,
    startedAt,
    slices: 0,
    synced: 0,
    failed: 0,
  };
  const armed = { progress: before, tries: slice?.tries ?? 1, checkId: slice?.checkId };
  const checkId = await repeated((): Promise<Id<"_scheduled_functions"> | null> =>
    ctx.runMutation(internal.events.fullRun.armCheck, armed),
  );
  if (checkId === null) return { synced: 0, failed: [], isDone: false };

  const orgIds = before.remaining?.flat() ?? (await findOrgs(ctx));
  const work = await syncInTurn(ctx, orgIds, before.unservedInARow, startedAt);
  const progress: RunProgress = {
    ...before,
    remaining: toChunks(work.left),
    failedInPassing: toChunks([...before.failedInPassing.flat(), ...work.failedInPassing]),
    unservedInARow: work.unservedInARow,
    slices: before.slices + 1,
    synced: before.synced + work.synced,
    failed: before.failed + work.failed.length - work.failedInPassing.length,
  };
  console.log(describeSlice(progress, work));
  const next = toNextSlice(progress);
  const isWatched = await repeated((): Promise<boolean> =>
    ctx.runMutation(internal.events.fullRun.endSlice, { checkId, next }),
  );
  const isDone = isWatched && next === null;
  if (isDone) console.log(describeRun(progress));
  else if (isWatched && isLastOfRound(progress)) console.log(describeRound(progress));
  return { synced: work.synced, failed: work.failed, isDone };
}

/**
 * All organizations that have a lu.ma key, in a stable order. One whose key changes while they are listed may be found
 * twice.
 */
async function findOrgs(ctx: ActionCtx): Promise<OrgId[]> {
  const orgIds = new Set<OrgId>();
  let cursor: string | null = null;
  for (;;) {
    const args: { cursor: string | null } = { cursor };
    const orgs = await repeated(
      (): Promise<{ page: { _id: OrgId }[]; isDone: boolean; continueCursor: string }> =>
        ctx.runQuery(internal.events.queries.getOrgsWithLumaConfig, args),
    );
    for (const org of orgs.page) orgIds.add(org._id);
    if (orgs.isDone) return [...orgIds];
    cursor = orgs.continueCursor;
  }
}

type Work = {
  synced: number;
  failed: SyncFailure[];
  failedInPassing: OrgId[];
  left: OrgId[];
  unservedInARow: number;
};

/** Syncs one organization after another for as long as a slice takes them on, but at least one. */
async function syncInTurn(
  ctx: ActionCtx,
  orgIds: OrgId[],
  unservedBefore: number,
  sliceStartedAt: number,
): Promise<Work> {
  const work: Work = {
    synced: 0,
    failed: [],
    failedInPassing: [],
    left: [],
    unservedInARow: unservedBefore,
  };
  for (const [index, orgId] of orgIds.entries()) {
    if (index > 0) {
      if (Date.now() + ORG_PAUSE_MS >= sliceStartedAt + SLICE_TAKES_ON_MS) {
        return { ...work, left: orgIds.slice(index) };
      }
      await sleep(ORG_PAUSE_MS);
    }
    const outcome = await syncOneOfRun(ctx, orgId);
    if (outcome === "neither") continue;
    if (outcome === "synced") {
      work.synced += 1;
      work.unservedInARow = 0;
      continue;
    }
    const { name, message: reason, kind, isUnserved } = outcome;
    work.failed.push({ orgId, name, reason });
    if (kind === "passing") work.failedInPassing.push(orgId);
    work.unservedInARow = isUnserved ? work.unservedInARow + 1 : 0;
    if (work.unservedInARow === MAX_UNSERVED_IN_A_ROW) {
      return { ...work, left: orgIds.slice(index + 1) };
    }
  }
  return work;
}

/** In an action of its own, so that its memory, its time and its crash are its own. Never throws. */
async function syncOneOfRun(
  ctx: ActionCtx,
  orgId: OrgId,
): Promise<"synced" | "neither" | (FailureData & { name: string })> {
  const beganAt = Date.now();
  let begun: { syncNumber: number; name: string };
  try {
    begun = await repeated((): Promise<{ syncNumber: number; name: string }> =>
      ctx.runMutation(internal.events.turns.beginSync, { orgId }),
    );
  } catch (error) {
    // Deleted or disconnected since the run began.
    if (error instanceof ConvexError) return "neither";
    return { ...toFailure(error, orgId, null), name: orgId };
  }
  const { syncNumber, name } = begun;
  try {
    const result: SyncResult = await ctx.runAction(internal.events.sync.syncOrgEvents, {
      orgId,
      syncNumber,
    });
    return result.isOvertaken ? "neither" : "synced";
  } catch (error) {
    let failure = toFailure(error, orgId, null);
    if (!(error instanceof ConvexError)) {
      // Its action was killed, and could not write down why.
      const org = await lookUp(ctx, orgId);
      if (org?.eventsLastSynced !== undefined && org.eventsLastSynced >= beganAt) return "synced";
      failure = await recordFailure(ctx, { orgId, syncNumber }, toFailure(error, orgId, org));
    }
    const isOver = failure.kind === "ended" || failure.kind === "overtaken";
    return isOver ? "neither" : { ...failure, name };
  }
}

/** For what is said of a failure: without the organization, that is said without its name and without details. */
async function lookUp(ctx: ActionCtx, orgId: OrgId): Promise<Org | null> {
  try {
    return await repeated((): Promise<Org | null> =>
      ctx.runQuery(internal.orgs.queries.getById, { orgId }),
    );
  } catch {
    console.error(`Full lu.ma sync: the organization ${orgId} could not be looked up.`);
    return null;
  }
}

const nextSlice = v.object({ progress: runProgress, delayMs: v.number() });

/** What comes after a slice: the rest of its round, the next round, or nothing. */
function toNextSlice(progress: RunProgress): Infer<typeof nextSlice> | null {
  if (!isLastOfRound(progress)) return { progress, delayMs: ORG_PAUSE_MS };
  const again = [...getNotTried(progress), ...progress.failedInPassing.flat()];
  const delayMs = ROUND_DELAYS_MS[progress.round - 1];
  if (again.length === 0 || delayMs === undefined) return null;
  const nextRound: RunProgress = {
    ...progress,
    round: progress.round + 1,
    remaining: toChunks(again),
    failedInPassing: [],
    unservedInARow: 0,
  };
  return { progress: nextRound, delayMs };
}

/** A round ends when all were tried, or in an outage. */
function isLastOfRound(progress: RunProgress): boolean {
  return getNotTried(progress).length === 0 || progress.unservedInARow >= MAX_UNSERVED_IN_A_ROW;
}

function getNotTried({ remaining }: RunProgress): OrgId[] {
  return remaining?.flat() ?? [];
}

/**
 * Begins to watch a slice that starts: a check that was scheduled together with it is replaced, so that time in a queue
 * does not count. `null` when that check has run: then the slice counted as lost, and another one does its work.
 */
export const armCheck = internalMutation({
  args: {
    progress: runProgress,
    tries: v.number(),
    checkId: v.optional(v.id("_scheduled_functions")),
  },
  returns: v.union(v.id("_scheduled_functions"), v.null()),
  handler: async (
    ctx,
    { progress, tries, checkId },
  ): Promise<Id<"_scheduled_functions"> | null> => {
    if (checkId !== undefined && !(await disarmCheck(ctx, checkId))) return null;
    return await ctx.scheduler.runAfter(LOST_AFTER_MS, internal.events.fullRun.resumeLostSlice, {
      progress,
      tries,
    });
  },
});

/**
 * Ends a slice: cancels its check and schedules the next slice with its own, all or nothing. `false` when the check has
 * run: then another slice does its work, and goes on after it.
 */
export const endSlice = internalMutation({
  args: { checkId: v.id("_scheduled_functions"), next: v.union(nextSlice, v.null()) },
  returns: v.boolean(),
  handler: async (ctx, { checkId, next }) => {
    if (!(await disarmCheck(ctx, checkId))) return false;
    if (next !== null) await scheduleSlice(ctx, next.progress, 1, next.delayMs);
    return true;
  },
});

async function disarmCheck(
  ctx: MutationCtx,
  checkId: Id<"_scheduled_functions">,
): Promise<boolean> {
  const check = await ctx.db.system.get("_scheduled_functions", checkId);
  if (check?.state.kind === "pending") {
    await ctx.scheduler.cancel(checkId);
    return true;
  }
  console.log("Full lu.ma sync: a slice came so late that it had been resumed; it ends here.");
  return false;
}

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
  const check = { progress, tries };
  const checkId = await ctx.scheduler.runAfter(
    delayMs + LOST_AFTER_MS,
    internal.events.fullRun.resumeLostSlice,
    check,
  );
  const slice = { ...check, checkId };
  await ctx.scheduler.runAfter(delayMs, internal.events.sync.runFullEventSync, { slice });
}

async function describePosition(ctx: MutationCtx, { remaining }: RunProgress): Promise<string> {
  if (remaining === null) return "at the start of the run";
  const [next, ...others] = remaining.flat();
  const org = next === undefined ? null : await getOrg(ctx, next);
  const name = org === null ? "(deleted)" : toShownOrg(org).name;
  return `at the organization "${name}" (${next}), with ${others.length + 1} organizations left`;
}

function describeSlice(progress: RunProgress, { synced, failed, left }: Work): string {
  return toLogLine(
    `Full lu.ma sync, round ${progress.round}, slice ${progress.slices}: ${synced} synced, ${failed.length} failed, ` +
      `${left.length} left.`,
    listSome("Failed", failed.map(describeFailure)),
  );
}

/** The reason begins with the organization's name, however long; the id says the same. */
function describeFailure({ orgId, reason }: SyncFailure): string {
  return `${orgId}: ${reason.replace(/^Organization ".*?" was not synced: /s, "")}`;
}

function describeRound(progress: RunProgress): string {
  const failed = progress.failedInPassing.flat().length;
  const delayMs = ROUND_DELAYS_MS[progress.round - 1] ?? 0;
  return (
    `Full lu.ma sync, round ${progress.round} done: ${failed} failed in passing${describeNotTried(progress)}. ` +
    `They are synced again in ${delayMs / milliseconds({ minutes: 1 })} minutes.`
  );
}

function describeRun(progress: RunProgress): string {
  const failed = progress.failed + progress.failedInPassing.flat().length;
  const seconds = Math.round((Date.now() - progress.startedAt) / 1_000);
  return (
    `Full lu.ma sync done: ${progress.synced} synced, ${failed} failed${describeNotTried(progress)}, ` +
    `in ${progress.slices} slice(s) and ${seconds} s.`
  );
}

function describeNotTried(progress: RunProgress): string {
  const notTried = getNotTried(progress).length;
  if (notTried === 0) return "";
  return `, ${notTried} not tried, because lu.ma did not serve ${MAX_UNSERVED_IN_A_ROW} organizations in a row`;
}

function toChunks<Item>(items: Item[]): Item[][] {
  const chunks: Item[][] = [];
  for (let from = 0; from < items.length; from += CHUNK_LENGTH) {
    chunks.push(items.slice(from, from + CHUNK_LENGTH));
  }
  return chunks;
}
