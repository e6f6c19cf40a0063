/**
 * The queue's worker: syncs the organizations that are due, strictly one after another. Its state is the one document
 * of `eventSyncQueue`, which only this file writes; syncs.ts has the rest of the machine.
 */
import { milliseconds } from "date-fns";
import { v } from "convex/values";
import type { WithOptionalSystemFields } from "convex/server";
import { internal } from "../../_generated/api";
import type { Doc } from "../../_generated/dataModel";
import { internalMutation, type MutationCtx, type QueryCtx } from "../../_generated/server";
import { describeFailure, overtaken, SyncError, syncFailure } from "../failure";
import { hasLumaKey } from "../luma/key";
import { moveKey } from "../luma/secrets";
import { getOrg, nameOf, noKey, noSuchOrg, patchOrg, type OrgId } from "../organizations";
import { calendar } from "../tables";
import {
  finishSync,
  getFirstDue,
  getSync,
  LEASE_MS,
  runningSync,
  startSync,
  stopSyncs,
} from "./syncs";

/** From the end of one sync to the start of the next. */
const PAUSE_MS = milliseconds({ seconds: 1 });
/** A scheduled call this late is presumed lost and replaced: Convex runs scheduled mutations within seconds. */
const OVERDUE_MS = milliseconds({ minutes: 5 });
/** A call may run slightly before the time that it was scheduled for. */
const EARLY_MS = milliseconds({ seconds: 1 });

type Queue = WithOptionalSystemFields<Doc<"eventSyncQueue">>;
type Current = NonNullable<Queue["current"]>;

/** The worker's scheduled call. Run it by hand if the queue looks stuck. */
export const takeNext = internalMutation({
  args: {},
  returns: v.null(),
  handler: async (ctx) => {
    await advanceQueue(ctx, ({ next }) =>
      // This call itself may still look pending.
      next !== undefined && next.at < Date.now() + EARLY_MS ? { next: undefined } : {},
    );
    return null;
  },
});

/**
 * Begins a sync. Calling it again with the same `syncId` begins the same sync.
 *
 * @param takenAt for the queue's own syncs: when it took the organization. Refused if the queue has moved on since.
 * @returns when the sync began (ms since 1970) and the last known calendar, or why it didn't begin. A failure isn't
 * thrown, because that would roll back the removal of an organization without a key from the queue.
 */
export const beginSync = internalMutation({
  args: { ...runningSync.fields, takenAt: v.optional(v.number()) },
  returns: v.union(
    v.object({ startedAt: v.number(), calendar: v.union(calendar, v.null()) }),
    v.object({ failure: syncFailure }),
  ),
  handler: async (ctx, { orgId, syncId, takenAt }) => {
    const org = await getOrg(ctx, orgId);
    if (takenAt !== undefined && !(await mayBegin(ctx, { orgId, takenAt }, syncId))) {
      return { failure: overtaken(nameOf(org ?? orgId)) };
    }
    if (org === null || !hasLumaKey(org)) {
      await stopSyncs(ctx, orgId);
      await release(ctx, orgId);
      const message = org === null ? noSuchOrg(orgId) : noKey(org);
      return { failure: { message, kind: "permanent" as const } };
    }
    const isNewKey = await moveKey(ctx, org);
    const more = isNewKey ? { calendar: undefined } : {};
    const begun = await startSync(ctx, { orgId, syncId }, more);
    await advanceQueue(ctx);
    return begun;
  },
});

/** Whether the queue is still waiting for this sync, and no other one has begun since it took the organization. */
async function mayBegin(ctx: MutationCtx, { orgId, takenAt }: Current, syncId: string) {
  const [{ current }, sync] = [await loadQueue(ctx), await getSync(ctx, orgId)];
  if (current?.orgId !== orgId || current.takenAt !== takenAt) return false;
  return sync?.running === syncId || (sync?.startedAt ?? -Infinity) < takenAt;
}

/**
 * Ends a sync, as its action reports it. A report that comes late or twice changes nothing.
 *
 * @param failure `null` for a success.
 * @returns `failure`, or an `overtaken` one if the sync failed and a later one is running.
 */
export const endSync = internalMutation({
  args: { ...runningSync.fields, failure: v.union(syncFailure, v.null()) },
  returns: v.union(syncFailure, v.null()),
  handler: async (ctx, { orgId, syncId, failure }) => {
    const sync = await getSync(ctx, orgId);
    if (sync?.running !== syncId) {
      const isOvertaken = failure !== null && sync?.running !== undefined;
      return isOvertaken ? overtaken(nameOf((await getOrg(ctx, orgId)) ?? orgId)) : failure;
    }
    if (failure !== null) await writeError(ctx, orgId, failure.message);
    await finishSync(ctx, sync, failure?.kind === "transient");
    await release(ctx, orgId);
    return failure;
  },
});

async function writeError(ctx: MutationCtx, orgId: OrgId, message: string): Promise<void> {
  const org = await getOrg(ctx, orgId);
  if (org === null || !hasLumaKey(org)) return;
  // Writing the same error every day would re-run every query that reads the organization.
  if (org.eventsSyncError !== message) await patchOrg(ctx, orgId, { eventsSyncError: message });
}

/** Lets the queue move on, after a pause, if this is the organization that it is syncing. */
export async function release(ctx: MutationCtx, orgId: OrgId): Promise<void> {
  await advanceQueue(ctx, ({ current }) =>
    current?.orgId === orgId ? { current: undefined, pausedUntil: Date.now() + PAUSE_MS } : {},
  );
}

/**
 * Does what is due now, and schedules the worker's next call for the rest. Everything that changes the queue ends up
 * here, so a stuck queue recovers by itself.
 */
export async function advanceQueue(
  ctx: MutationCtx,
  change: (queue: Queue) => Partial<Queue> = () => ({}),
): Promise<void> {
  const stored = await loadQueue(ctx);
  const queue = { ...stored, ...change(stored) };
  const now = Date.now();
  if (queue.current !== undefined && (await getLostAt(ctx, queue.current)) <= now) {
    await endLostSync(ctx, queue.current);
    queue.current = undefined;
  }
  if (queue.current === undefined && (queue.pausedUntil ?? 0) <= now) await takeFirst(ctx, queue);
  queue.next = await schedule(ctx, queue.next, await getNextTime(ctx, queue));

  const fields = ["current", "next", "pausedUntil", "wasUrgent"] as const;
  if (fields.every((field) => queue[field] === stored[field])) return;
  if (stored._id === undefined) await ctx.db.insert("eventSyncQueue", queue);
  else await ctx.db.replace("eventSyncQueue", stored._id, queue);
}

/**
 * Starts the sync of the first organization that is due. Urgent ones and others take turns. An organization without a
 * key, or a duplicate document, leaves the queue instead.
 */
async function takeFirst(ctx: MutationCtx, queue: Queue): Promise<void> {
  const now = Date.now();
  const [urgent, other] = await getFirsts(ctx, now);
  const sync = urgent && other && queue.wasUrgent ? other : (urgent ?? other);
  if (sync === undefined) return;
  const { orgId } = sync;
  const org = await getOrg(ctx, orgId);
  if ((await getSync(ctx, orgId))?._id !== sync._id) await ctx.db.delete("eventSyncs", sync._id);
  else if (org === null || !hasLumaKey(org)) await stopSyncs(ctx, orgId);
  else {
    queue.current = { orgId, takenAt: now };
    queue.wasUrgent = sync === urgent;
    await ctx.scheduler.runAfter(0, internal.events.sync.syncOrgEvents, queue.current);
  }
}

/** The first urgent organization, and the first of the others, that are due by `until`. */
async function getFirsts(ctx: QueryCtx, until: number) {
  const firsts = [await getFirstDue(ctx, true), await getFirstDue(ctx, false)];
  return firsts.map((sync) => (sync !== null && sync.dueAt <= until ? sync : undefined));
}

/** When the queue stops waiting for the organization's sync. */
async function getLostAt(ctx: QueryCtx, { orgId, takenAt }: Current): Promise<number> {
  const sync = await getSync(ctx, orgId);
  return Math.max(takenAt, sync?.startedAt ?? 0) + LEASE_MS;
}

/** Gives up on a sync that hasn't reported back, and retries it. If it had stamped its organization, that's no error. */
async function endLostSync(ctx: MutationCtx, { orgId, takenAt }: Current): Promise<void> {
  const [org, sync] = [await getOrg(ctx, orgId), await getSync(ctx, orgId)];
  if (sync === null) return;
  const { startedAt = -Infinity } = sync;
  const hasStamped = startedAt >= takenAt && org?.eventsLastSynced === startedAt;
  if (org !== null && !hasStamped) {
    const error = new SyncError("its sync has not reported back for 12 minutes");
    const { message } = describeFailure(error, nameOf(org));
    console.error(message);
    await writeError(ctx, orgId, message);
  }
  await finishSync(ctx, sync, true);
}

/** When there is something to do next; `undefined` if no organization is due. */
async function getNextTime(ctx: QueryCtx, { current, pausedUntil = 0 }: Queue) {
  if (current !== undefined) return await getLostAt(ctx, current);
  const dueAt = (await getFirsts(ctx, Infinity)).flatMap((sync) => sync?.dueAt ?? []);
  return dueAt.length > 0 ? Math.max(Math.min(...dueAt), pausedUntil, Date.now()) : undefined;
}

/** Keeps the scheduled call, or replaces it if it is cancelled, overdue, or later than needed. */
async function schedule(ctx: MutationCtx, next: Queue["next"], at: number | undefined) {
  const state = next && (await ctx.db.system.get("_scheduled_functions", next.id))?.state;
  if (next !== undefined && state?.kind === "pending") {
    if (at !== undefined && next.at <= at && next.at >= Date.now() - OVERDUE_MS) return next;
    await ctx.scheduler.cancel(next.id);
  }
  if (at === undefined) return undefined;
  return { at, id: await ctx.scheduler.runAt(at, internal.events.queue.worker.takeNext, {}) };
}

/** The queue's document. Deletes duplicates, which an import can leave behind. */
async function loadQueue(ctx: MutationCtx): Promise<Queue> {
  const [queue = {}, ...others] = await ctx.db.query("eventSyncQueue").take(10);
  for (const { _id } of others) await ctx.db.delete("eventSyncQueue", _id);
  return queue;
}
