/**
 * The full run: all organizations that have a key, one after another, in up to three rounds. A round is worked off in
 * slices, each an action that Convex may lose, so each is watched by a scheduled check (a mutation, which Convex runs
 * exactly once). All state is in the scheduled functions' arguments.
 */
import { milliseconds } from "date-fns";
import { ConvexError, v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import { internalMutation, type ActionCtx, type MutationCtx } from "../_generated/server";
import { getOrg, orgId, toShownOrg, type OrgId } from "../orgs/app";
import { begin, lookUp, repeated, sleep, type Begun } from "./pacing";
import { recordFailure, toFailure, type FailureData } from "./reasons";
import { listSome, toLogItem, toLogLine } from "./text";
import type { SyncResult } from "./validators";

// The time budget. No action works longer than 10 minutes: a slice takes organizations on for 2, and the last one's
// sync, for which the slice waits, has events left to write for 7.5 at most. What remains is for Convex's own time.

/** lu.ma is asked until then, from the start of an organization's sync, waits included. */
export const FETCH_MS = milliseconds({ minutes: 7 });
/** Events are written until then. */
export const SYNC_MS = FETCH_MS + milliseconds({ seconds: 30 });
const SLICE_TAKES_ON_MS = milliseconds({ minutes: 2 });
const CONVEX_MARGIN_MS = milliseconds({ seconds: 150 });
/** When a slice that has started and not ended counts as lost. */
const LOST_AFTER_MS = SLICE_TAKES_ON_MS + SYNC_MS + CONVEX_MARGIN_MS;
/** When a slice that has not started counts as lost; until then it may stand in a queue. */
const LOST_IN_QUEUE_AFTER_MS = milliseconds({ hours: 1 });
const MAX_TRIES = 3;
/** Between the end of one organization's sync and the start of the next one's. */
const ORG_PAUSE_MS = milliseconds({ seconds: 1 });
/** What failed in passing waits so long for the second round, and for the third, which is the last. */
const ROUND_DELAYS_MS = [milliseconds({ minutes: 30 }), milliseconds({ hours: 2 })];
/** So many organizations in a row that lu.ma did not serve are an outage: of lists, they end a round. */
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
  /** The same of descriptions, of which each costs 2 minutes then: of which events. One may be of several organizations. */
  undescribed: v.array(v.string()),
  startedAt: v.number(),
  slices: v.number(),
  synced: v.number(),
  /** Those that will not be tried again. */
  failed: v.number(),
});
type RunProgress = Infer<typeof runProgress>;

const START_OF_ROUND = { failedInPassing: [], unservedInARow: 0, undescribed: [] };
const START_OF_RUN = { round: 1, remaining: null, slices: 0, synced: 0, failed: 0 };

const checkOnSlice = v.id("_scheduled_functions");
type CheckId = Infer<typeof checkOnSlice>;

/** Nothing begins a run. The check was scheduled together with the slice, in case that it is lost before it starts. */
export const sliceArgs = {
  slice: v.optional(v.object({ progress: runProgress, tries: v.number(), checkId: checkOnSlice })),
};

const syncFailure = v.object({ orgId, name: v.string(), reason: v.string() });
type SyncFailure = Infer<typeof syncFailure>;
export const sliceResult = v.object({
  synced: v.number(),
  failed: v.array(syncFailure),
  isDone: v.boolean(),
});
export type SliceResult = Infer<typeof sliceResult>;

/** Syncs one organization after another for 2 minutes, at least one, then hands what is left over to another action. */
export async function runSlice(
  ctx: ActionCtx,
  slice: { progress: RunProgress; tries: number; checkId?: CheckId } | undefined,
): Promise<SliceResult> {
  const startedAt = Date.now();
  const { tries, ...armed } = slice ?? {
    progress: { ...START_OF_RUN, ...START_OF_ROUND, startedAt },
    tries: 1,
  };
  const checkId = await repeated((): Promise<CheckId | null> =>
    ctx.runMutation(internal.events.fullRun.armCheck, { ...armed, tries }),
  );
  if (checkId === null) return { synced: 0, failed: [], isDone: false };

  const progress: RunProgress = { ...armed.progress, slices: armed.progress.slices + 1 };
  const left = progress.remaining?.flat() ?? (await findOrgs(ctx));
  const failedInPassing = progress.failedInPassing.flat();
  const failed: SyncFailure[] = [];
  let synced = 0;
  for (let orgId = left.shift(); orgId !== undefined; orgId = left.shift()) {
    const outcome = await syncOneOfRun(ctx, orgId, progress);
    if (outcome === "synced") {
      synced += 1;
      progress.unservedInARow = 0;
    } else if (outcome !== "neither") {
      failed.push({ orgId, name: outcome.name, reason: outcome.message });
      if (outcome.kind === "passing") failedInPassing.push(orgId);
      else progress.failed += 1;
      progress.unservedInARow = outcome.isUnserved ? progress.unservedInARow + 1 : 0;
    }
    if (left.length === 0 || isOutage(progress)) break;
    if (Date.now() + ORG_PAUSE_MS >= startedAt + SLICE_TAKES_ON_MS) break;
    await sleep(ORG_PAUSE_MS);
  }
  progress.synced += synced;
  progress.remaining = toChunks(left);
  progress.failedInPassing = toChunks(failedInPassing);
  console.log(
    toLogLine(
      `Full lu.ma sync, round ${progress.round}, slice ${progress.slices}: ${synced} synced, ` +
        `${failed.length} failed, ${left.length} left.`,
      listSome("Failed", failed.map(describeFailure)),
    ),
  );

  const next = toNextSlice(progress);
  const isWatched = await repeated((): Promise<boolean> =>
    ctx.runMutation(internal.events.fullRun.endSlice, { checkId, next }),
  );
  if (isWatched && isLastOfRound(progress)) console.log(describeEnd(progress, next?.delayMs));
  return { synced, failed, isDone: isWatched && next === null };
}

/**
 * All organizations that have a lu.ma key, in a stable order, each once. One whose key changes just now may be missed
 * until the next run.
 */
async function findOrgs(ctx: ActionCtx): Promise<OrgId[]> {
  type Found = { page: { _id: OrgId }[]; isDone: boolean; continueCursor: string };
  const orgIds = new Set<OrgId>();
  let cursor: string | null = null;
  for (;;) {
    const args: { cursor: string | null } = { cursor };
    const found = await repeated((): Promise<Found> =>
      ctx.runQuery(internal.events.queries.getOrgsWithLumaConfig, args),
    );
    for (const org of found.page) orgIds.add(org._id);
    if (found.isDone) return [...orgIds];
    cursor = found.continueCursor;
  }
}

type Outcome = "synced" | "neither" | (FailureData & { name: string });

/** In an action of its own, so that its memory, its time and its crash are its own. Never throws. */
async function syncOneOfRun(ctx: ActionCtx, orgId: OrgId, progress: RunProgress): Promise<Outcome> {
  let begun: Begun;
  try {
    begun = await begin(ctx, orgId);
  } catch (error) {
    // Deleted or disconnected since the run began.
    if (error instanceof ConvexError) return "neither";
    return { ...toFailure(error, orgId), name: orgId };
  }
  const { syncNumber, name } = begun;
  try {
    const skipsDescriptions = progress.undescribed.length >= MAX_UNSERVED_IN_A_ROW;
    const args = { orgId, run: { syncNumber, skipsDescriptions } };
    const result: SyncResult = await ctx.runAction(internal.events.sync.syncOrgEvents, args);
    if (result.undescribed === null) progress.undescribed = [];
    else if (result.undescribed !== undefined) {
      progress.undescribed = [...new Set([...progress.undescribed, result.undescribed])];
    }
    return result.isOvertaken ? "neither" : "synced";
  } catch (error) {
    let failure = toFailure(error, name);
    if (!(error instanceof ConvexError)) {
      // Its action was killed, and could not write down why.
      const org = await lookUp(ctx, orgId).catch(() => {
        console.error(`Full lu.ma sync: the organization ${orgId} could not be looked up.`);
        return null;
      });
      failure = await recordFailure(ctx, { orgId, syncNumber }, toFailure(error, name, org));
    }
    const isOver = failure.kind === "ended" || failure.kind === "overtaken";
    return isOver ? "neither" : { ...failure, name };
  }
}

const nextSlice = v.object({ progress: runProgress, delayMs: v.number() });

/** What comes after a slice: the rest of its round, the next round, or nothing. */
function toNextSlice(progress: RunProgress): Infer<typeof nextSlice> | null {
  if (!isLastOfRound(progress)) return { progress, delayMs: ORG_PAUSE_MS };
  const again = toChunks([...getNotTried(progress), ...progress.failedInPassing.flat()]);
  const delayMs = ROUND_DELAYS_MS[progress.round - 1];
  if (again.length === 0 || delayMs === undefined) return null;
  const round = progress.round + 1;
  return { progress: { ...progress, ...START_OF_ROUND, round, remaining: again }, delayMs };
}

/** A round ends when all were tried, or in an outage. */
function isLastOfRound(progress: RunProgress): boolean {
  return getNotTried(progress).length === 0 || isOutage(progress);
}

function isOutage({ unservedInARow }: RunProgress): boolean {
  return unservedInARow >= MAX_UNSERVED_IN_A_ROW;
}

function getNotTried({ remaining }: RunProgress): OrgId[] {
  return remaining?.flat() ?? [];
}

/**
 * Begins to watch a slice that starts: a check that was scheduled together with it is replaced, so that time in a queue
 * does not count. `null` when that check has run: then the slice counted as lost, and another one does its work.
 */
export const armCheck = internalMutation({
  args: { progress: runProgress, tries: v.number(), checkId: v.optional(checkOnSlice) },
  returns: v.union(checkOnSlice, v.null()),
  handler: async (ctx, { checkId, ...slice }): Promise<CheckId | null> => {
    if (checkId !== undefined && (await disarmCheck(ctx, checkId)) !== "pending") return null;
    return await scheduleCheck(ctx, LOST_AFTER_MS, slice);
  },
});

/**
 * Ends a slice: cancels its check and schedules the next slice with its own, all or nothing. `false` when the check has
 * run: then another slice does its work, and goes on after it.
 */
export const endSlice = internalMutation({
  args: { checkId: checkOnSlice, next: v.union(nextSlice, v.null()) },
  returns: v.boolean(),
  handler: async (ctx, { checkId, next }) => {
    const state = await disarmCheck(ctx, checkId);
    // By this same call, whose answer was lost the first time.
    if (state === "canceled") return true;
    if (state !== "pending") return false;
    if (next === null) return true;
    await scheduleSlice(ctx, next.delayMs, { progress: next.progress, tries: 1 });
    return true;
  },
});

/** Cancels the check if it is pending, and returns the state that it was in. */
async function disarmCheck(ctx: MutationCtx, checkId: CheckId) {
  const check = await ctx.db.system.get("_scheduled_functions", checkId);
  if (check?.state.kind === "pending") await ctx.scheduler.cancel(checkId);
  else console.log("Full lu.ma sync: a slice came so late that its check had run; it ends here.");
  return check?.state.kind;
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
      await scheduleSlice(ctx, 0, { progress, tries: tries + 1 });
      return null;
    }
    console.error(
      `Full lu.ma sync: given up after ${tries} tries of slice ${progress.slices + 1}, ` +
        `${await describePosition(ctx, progress)}. ${progress.synced} synced and ` +
        `${progress.failed + progress.failedInPassing.flat().length} failed ` +
        "before it. Run events/sync:runFullEventSync to sync all again.",
    );
    return null;
  },
});

type SliceToRun = { progress: RunProgress; tries: number };

async function scheduleSlice(ctx: MutationCtx, delayMs: number, slice: SliceToRun): Promise<void> {
  const checkId = await scheduleCheck(ctx, delayMs + LOST_IN_QUEUE_AFTER_MS, slice);
  const args = { slice: { ...slice, checkId } };
  await ctx.scheduler.runAfter(delayMs, internal.events.sync.runFullEventSync, args);
}

async function scheduleCheck(ctx: MutationCtx, ms: number, slice: SliceToRun): Promise<CheckId> {
  return await ctx.scheduler.runAfter(ms, internal.events.fullRun.resumeLostSlice, slice);
}

async function describePosition(ctx: MutationCtx, { remaining }: RunProgress): Promise<string> {
  if (remaining === null) return "at the start of the run";
  const [next, ...others] = remaining.flat();
  const org = next === undefined ? null : await getOrg(ctx, next);
  const name = org === null ? "(deleted)" : toLogItem(toShownOrg(org).name);
  return `at the organization "${name}" (${next}), with ${others.length + 1} organizations left`;
}

/** The reason begins with the organization's name, however long; the id says the same. */
function describeFailure({ orgId, reason }: SyncFailure): string {
  return `${orgId}: ${reason.replace(/^Organization ".*?" was not synced: /s, "")}`;
}

/** The end of a round, after which another one is due in so many ms, or of the run. */
function describeEnd(progress: RunProgress, nextInMs: number | undefined): string {
  const failed = progress.failedInPassing.flat().length;
  const notTried = getNotTried(progress).length;
  const left =
    notTried === 0
      ? ""
      : `, ${notTried} not tried in round ${progress.round}, because lu.ma did not serve ${MAX_UNSERVED_IN_A_ROW} organizations in a row`;
  if (nextInMs !== undefined) {
    const minutes = nextInMs / milliseconds({ minutes: 1 });
    return (
      `Full lu.ma sync, round ${progress.round} done: ${failed} failed in passing${left}. ` +
      `They are synced again in ${minutes} minutes.`
    );
  }
  const seconds = Math.round((Date.now() - progress.startedAt) / 1_000);
  return (
    `Full lu.ma sync done: ${progress.synced} synced, ${progress.failed + failed} failed${left}, ` +
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
