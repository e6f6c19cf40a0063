/**
 * The table `eventSyncs`: when each organization is due, and which of its syncs may write. Together with worker.ts,
 * which syncs the organizations that are due, this is the queue.
 *
 * Only an organization's most recent sync may write. Each sync has an id, and every transaction that writes for it
 * checks that `running` is still that id.
 */
import { milliseconds } from "date-fns";
import { ConvexError, v, type Infer } from "convex/values";
import type { Doc } from "../../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../../_generated/server";
import { settings } from "../../lumaApp";
import { disconnected, orgWasDeleted, overtaken, stopped } from "../failure";
import { hasLumaKey } from "../luma/key";
import { getOrg, nameOf, orgId, type Org, type OrgId } from "../organizations";
import type { calendar } from "../tables";

/**
 * How long a sync has to report back. It stops writing after 7.5 minutes; the rest leaves room for its last calls to
 * Convex and their retries.
 */
export const LEASE_MS = milliseconds({ minutes: 12 });
/** When a transient failure is retried, counted from `failingSince`. After that, the next daily run is the retry. */
const RETRIES_MS = (settings.retryAfterHours ?? [0.5, 1.5, 3.5, 7.5, 15.5]).map((hours) =>
  milliseconds({ hours }),
);

type Sync = Doc<"eventSyncs">;

export type Calendar = Infer<typeof calendar>;

/** Identifies one sync of an organization. */
export const runningSync = v.object({ orgId, syncId: v.string() });
export type RunningSync = Infer<typeof runningSync>;

const NOT_DUE = { dueAt: undefined, isUrgent: undefined, failingSince: undefined };
const NOT_RUNNING = { running: undefined, dueAgainAt: undefined };

/** Ignores duplicates, which an import can leave behind. */
export async function getSync(ctx: QueryCtx, orgId: OrgId): Promise<Sync | null> {
  return await querySyncs(ctx, orgId).first();
}

/**
 * Makes an organization due at `at` (ms), unless it's due earlier, and restarts its retries.
 *
 * @param isUrgent somebody is waiting for it.
 */
export async function makeDue(
  ctx: MutationCtx,
  orgId: OrgId,
  at: number,
  { isUrgent = false } = {},
): Promise<void> {
  const sync = await getSync(ctx, orgId);
  // A sync counts as running even if its lease has expired: the queue may not have noticed yet that it was lost.
  const isRunning = sync?.running !== undefined && sync.dueAt !== undefined;
  const field = isRunning ? "dueAgainAt" : "dueAt";
  await writeSync(ctx, orgId, sync, {
    [field]: Math.min(sync?.[field] ?? at, at),
    failingSince: at,
    ...(isUrgent ? { isUrgent } : {}),
  });
}

/** Begins a sync. From now on, no earlier sync of the organization can write. */
export async function startSync(
  ctx: MutationCtx,
  { orgId, syncId }: RunningSync,
  more: Partial<Sync> = {},
) {
  const sync = await getSync(ctx, orgId);
  const startedAt = Date.now();
  await writeSync(ctx, orgId, sync, {
    running: syncId,
    startedAt,
    dueAt: startedAt + LEASE_MS,
    isUrgent: undefined,
    dueAgainAt: undefined,
    failingSince: sync?.failingSince ?? startedAt,
    ...more,
  });
  return { startedAt, calendar: { ...sync, ...more }.calendar ?? null };
}

/** Ends the running sync. The organization is due again if something made it due in the meantime, or for a retry. */
export async function finishSync(ctx: MutationCtx, sync: Sync, isTransient: boolean) {
  const now = Date.now();
  const { dueAgainAt = Infinity, failingSince = now } = sync;
  const retryAt = RETRIES_MS.map((ms) => failingSince + ms).find((at) => isTransient && at > now);
  const dueAt = Math.min(dueAgainAt, retryAt ?? Infinity);
  const due = dueAt < Infinity ? { dueAt } : NOT_DUE;
  await ctx.db.patch("eventSyncs", sync._id, { ...NOT_RUNNING, ...due });
}

/** Ends the running sync and takes the organization out of the queue: its key was set or cleared, or it was deleted. */
export async function stopSyncs(ctx: MutationCtx, orgId: OrgId, more: Partial<Sync> = {}) {
  const sync = await getSync(ctx, orgId);
  if (sync === null) return;
  await ctx.db.patch("eventSyncs", sync._id, { ...NOT_RUNNING, ...NOT_DUE, ...more });
}

/** Deletes an organization's sync state. */
export async function forgetSyncs(ctx: MutationCtx, orgId: OrgId): Promise<void> {
  for await (const { _id } of querySyncs(ctx, orgId)) await ctx.db.delete("eventSyncs", _id);
}

function querySyncs(ctx: QueryCtx, orgId: OrgId) {
  return ctx.db.query("eventSyncs").withIndex("by_org", (q) => q.eq("orgId", orgId));
}

/**
 * The organization that is due first among the urgent ones or, if `isUrgent` is false, among the others. It may not be
 * due yet.
 */
export async function getFirstDue(ctx: QueryCtx, isUrgent: boolean) {
  const first = await ctx.db
    .query("eventSyncs")
    .withIndex("by_urgency_due", (q) =>
      q.eq("isUrgent", isUrgent || undefined).gt("dueAt", undefined),
    )
    .first();
  return first as (Sync & { dueAt: number }) | null;
}

/**
 * The state of a sync that may write, and its organization.
 *
 * @throws ConvexError with SyncFailure, `ended` or `overtaken`, if the sync can no longer write.
 */
export async function requireRunning(
  ctx: QueryCtx,
  { orgId, syncId }: RunningSync,
): Promise<{ org: Org; sync: Sync }> {
  const [org, sync] = await Promise.all([getOrg(ctx, orgId), getSync(ctx, orgId)]);
  if (org === null) throw new ConvexError(orgWasDeleted(orgId));
  if (!hasLumaKey(org)) throw new ConvexError(disconnected(nameOf(org)));
  if (sync?.running === syncId) return { org, sync };
  const why = sync?.running === undefined ? stopped : overtaken;
  throw new ConvexError(why(nameOf(org)));
}

/** @param sync what is stored; `null` creates it. */
export async function writeSync(
  ctx: MutationCtx,
  orgId: OrgId,
  sync: Sync | null,
  fields: Partial<Sync>,
): Promise<void> {
  if (sync === null) await ctx.db.insert("eventSyncs", { orgId, ...fields });
  else await ctx.db.patch("eventSyncs", sync._id, fields);
}
