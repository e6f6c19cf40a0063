/**
 * The queue's worker: syncs the organizations that are due, the earliest first, strictly one after another. Its state
 * is the one document of `eventSyncQueue`, which only this file writes; who is due stands in `eventSyncs`.
 */
import { milliseconds } from "date-fns";
import { v } from "convex/values";
import type { WithOptionalSystemFields } from "convex/server";
import { internal } from "../_generated/api";
import type { Doc } from "../_generated/dataModel";
import { internalMutation, type MutationCtx, type QueryCtx } from "../_generated/server";
import { getOrg, orgId, type OrgId } from "../orgs/app";
import { hasLumaKey } from "../orgs/lumaKey";
import {
  getDue,
  leaveQueue,
  noteFailure,
  numberedSync,
  requireConnected,
  startedSync,
  startSync,
  type NumberedSync,
} from "./eventSyncs";
import { SyncError, syncFailure, toFailure, type SyncFailure } from "./failure";
import { cancelIfPending, isPending, type ScheduledId } from "./scheduled";
import { toLogLine } from "./text";

/** From the end of one sync to the start of the next. */
const ORG_PAUSE_MS = milliseconds({ seconds: 1 });
/** When a sync that nobody reported is lost. It stops writing after 7 minutes 30, and its action then ends. */
const LOST_AFTER_MS = milliseconds({ minutes: 12 });
/** So many organizations in a row that lu.ma did not serve, each with another key, are an outage: the queue rests. */
const OUTAGE_ORGS = 5;
const REST_MS = milliseconds({ minutes: 30 });
/** The log counts no further. */
const MAX_COUNTED = 1_000;

type Queue = WithOptionalSystemFields<Doc<"eventSyncQueue">>;

/** For whatever makes an organization due: schedules what comes next, also in place of what was cancelled or failed. */
export async function wakeQueue(ctx: MutationCtx): Promise<void> {
  await scheduleAndSave(ctx, await getQueue(ctx));
}

/** Begins the sync of the organization that is due first, unless one is under way or nobody is due yet. */
export const takeNext = internalMutation({
  args: {},
  returns: v.null(),
  handler: async (ctx) => {
    // `next` is this call, which may still look pending.
    const queue: Queue = { ...(await getQueue(ctx)), next: undefined };
    const [first] = await getDue(ctx, Infinity, 1);
    const isTime = first !== undefined && Math.max(first.dueAt, queue.restsUntil) <= Date.now();
    if (isTime && queue.current === undefined) {
      const org = await getOrg(ctx, first.orgId);
      if (org !== null && hasLumaKey(org)) queue.current = await take(ctx, first.orgId);
      else await leaveQueue(ctx, first.orgId);
    }
    await scheduleAndSave(ctx, queue);
    return null;
  },
});

async function take(ctx: MutationCtx, orgId: OrgId): Promise<Queue["current"]> {
  const started = await startSync(ctx, orgId);
  await ctx.scheduler.runAfter(0, internal.events.sync.syncOrgEvents, { orgId, started });
  const { syncNumber, startedAt } = started;
  return await withCheck(ctx, { orgId, syncNumber, lostAt: startedAt + LOST_AFTER_MS });
}

/**
 * Begins a sync by hand, which does not wait for the queue: from now on no sync of the organization that began earlier
 * writes anything more.
 *
 * @throws ConvexError when there is no such organization, or it has no key.
 */
export const beginSync = internalMutation({
  args: { orgId },
  returns: startedSync,
  handler: async (ctx, { orgId }) => {
    await requireConnected(ctx, orgId);
    const started = await startSync(ctx, orgId);
    await wakeQueue(ctx);
    return started;
  },
});

/**
 * Ends a sync, as its action reports it: one of the queue's, or one by hand that failed. A report that comes late, or a
 * second time, changes nothing.
 *
 * @param failure `null` for a success.
 * @returns why the sync failed, which may be another reason than `failure`; `null` if it succeeded after all.
 */
export const endSync = internalMutation({
  args: { ...numberedSync.fields, failure: v.union(syncFailure, v.null()) },
  returns: v.union(syncFailure, v.null()),
  handler: async (ctx, { failure, ...sync }) => {
    const outcome = failure && (await noteFailure(ctx, sync, failure));
    await goOn(ctx, sync, outcome);
    return outcome;
  },
});

/** The check on a sync of the queue. That it runs at all means that nobody reported the sync. */
export const endLostSync = internalMutation({
  args: numberedSync.fields,
  returns: v.null(),
  handler: async (ctx, sync) => {
    const error = new SyncError("nothing was heard of its sync for 12 minutes", "lost");
    const failure = toFailure(error, sync.orgId, await getOrg(ctx, sync.orgId));
    const outcome = await noteFailure(ctx, sync, failure);
    if (outcome === failure) console.error(failure.message);
    await goOn(ctx, sync, outcome, true);
    return null;
  },
});

/** Goes on after a sync, which succeeded if `outcome` is `null`. A check that ends one must not cancel itself. */
async function goOn(
  ctx: MutationCtx,
  { orgId, syncNumber }: NumberedSync,
  outcome: SyncFailure | null,
  isCheck = false,
): Promise<void> {
  const queue = await getQueue(ctx);
  const { current } = queue;
  // Only the end of the sync under way moves the queue on. A sync by hand woke the queue when it began.
  if (current?.orgId !== orgId || current.syncNumber !== syncNumber) return;
  if (!isCheck) await cancelIfPending(ctx, current.checkId);
  const hasFailed = outcome?.kind === "passing" || outcome?.kind === "lasting";
  const unserved = await getUnserved(ctx, queue, orgId, outcome);
  const isOutage = outcome?.isOutage === true && unserved.length >= OUTAGE_ORGS;
  const restsUntil = Date.now() + (isOutage ? REST_MS : ORG_PAUSE_MS);
  if (isOutage) {
    const due = await getDue(ctx, Date.now(), MAX_COUNTED);
    const rest = `${due.length} are due, and the queue rests until ${new Date(restsUntil).toISOString()}.`;
    const why = `lu.ma served none of the last ${OUTAGE_ORGS} organizations: ${outcome.message}`;
    console.error(toLogLine("lu.ma sync queue:", rest, why));
  }
  await scheduleAndSave(ctx, {
    ...queue,
    current: undefined,
    restsUntil,
    unserved,
    synced: queue.synced + Number(outcome === null),
    failed: queue.failed + Number(hasFailed),
  });
}

/** The organizations in a row that lu.ma did not serve, one for each key: a broken key that many share is no outage. */
async function getUnserved(
  ctx: QueryCtx,
  { unserved }: Queue,
  orgId: OrgId,
  outcome: SyncFailure | null,
): Promise<OrgId[]> {
  if (outcome === null || outcome.isOutage === false) return [];
  // A sync that failed on our side, or was lost, ended or overtaken, says nothing of lu.ma.
  if (outcome.isOutage === undefined) return unserved;
  const byKey = new Map<string | undefined, OrgId>();
  for (const id of [...unserved, orgId]) {
    byKey.set((await getOrg(ctx, id))?.lumaApiKey?.trim(), id);
  }
  return [...byKey.values()].slice(-OUTAGE_ORGS);
}

/** Schedules what comes next: the check on the sync under way, or the next call of `takeNext`. */
async function scheduleAndSave(ctx: MutationCtx, queue: Queue): Promise<void> {
  const scheduled = queue.current
    ? { current: await withCheck(ctx, queue.current) }
    : await scheduleNext(ctx, queue);
  const changed = { ...queue, ...scheduled };
  if (queue._id === undefined) await ctx.db.insert("eventSyncQueue", changed);
  else await ctx.db.replace("eventSyncQueue", queue._id, changed);
}

/** Adds the check that ends the sync if it is lost; schedules it anew, for its old time, if it was cancelled. */
async function withCheck(
  ctx: MutationCtx,
  current: NumberedSync & { lostAt: number; checkId?: ScheduledId },
): Promise<NonNullable<Queue["current"]>> {
  const { orgId, syncNumber, lostAt, checkId } = current;
  if (checkId !== undefined && (await isPending(ctx, checkId))) return { ...current, checkId };
  const sync = { orgId, syncNumber };
  const newId = await ctx.scheduler.runAt(lostAt, internal.events.queue.endLostSync, sync);
  return { ...sync, lostAt, checkId: newId };
}

async function scheduleNext(ctx: MutationCtx, queue: Queue): Promise<Partial<Queue>> {
  const now = Date.now();
  const [first] = await getDue(ctx, Infinity, 1);
  const isEmpty = first === undefined || first.dueAt > now;
  if (isEmpty && queue.synced + queue.failed > 0) await logEmpty(ctx, queue);
  const sums = isEmpty ? { synced: 0, failed: 0 } : {};
  if (first === undefined) return sums;
  const at = Math.max(first.dueAt, queue.restsUntil, now);
  const { next } = queue;
  if (next !== undefined && next.at <= at && (await isPending(ctx, next.id))) return sums;
  await cancelIfPending(ctx, next?.id);
  const id = await ctx.scheduler.runAt(at, internal.events.queue.takeNext, {});
  return { ...sums, next: { at, id } };
}

async function logEmpty(ctx: QueryCtx, { synced, failed }: Queue): Promise<void> {
  const due = await getDue(ctx, Infinity, MAX_COUNTED);
  const [first, ...others] = due.filter(({ failures }) => failures !== undefined);
  const again = first
    ? `${others.length + 1} will be tried again, the first at ${new Date(first.dueAt).toISOString()}`
    : "none will be tried again";
  console.log(`lu.ma sync queue: empty again. ${synced} synced, ${failed} failed; ${again}.`);
}

export async function getQueue(ctx: QueryCtx): Promise<Queue> {
  const stored = await ctx.db.query("eventSyncQueue").unique();
  return stored ?? { unserved: [], restsUntil: 0, synced: 0, failed: 0 };
}
