/**
 * When each organization is synced, and which of its syncs may write: the table `eventSyncs`. worker.ts takes the
 * organizations that are due, one after another; together they are the queue.
 *
 * Only an organization's most recent sync may write. It gets an id when it begins, and every transaction that writes for
 * it checks here that this id is the one that is `running`.
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
 * How long a sync has to report back. It stops writing after 7 minutes 30; the rest is for its last calls of Convex, and
 * their retries.
 */
export const LEASE_MS = milliseconds({ minutes: 12 });
/** When a transient failure is retried, counted from `failingSince`. After that, the next morning's run is the retry. */
const RETRIES_MS = (settings.retryAfterHours ?? [0.5, 1.5, 3.5, 7.5, 15.5]).map((hours) =>
  milliseconds({ hours }),
);

type Sync = Doc<"eventSyncs">;

export type Calendar = Infer<typeof calendar>;

/** A sync that has begun. */
export const runningSync = v.object({ orgId, syncId: v.string() });
export type RunningSync = Infer<typeof runningSync>;

const NOT_DUE = { dueAt: undefined, isUrgent: undefined, failingSince: undefined };
const NOT_RUNNING = { running: undefined, dueAgainAt: undefined };

/** A second document of an organization, which an import can leave, doesn't count. */
export async function getSync(ctx: QueryCtx, orgId: OrgId): Promise<Sync | null> {
  return await ctx.db
    .query("eventSyncs")
    .withIndex("by_org", (q) => q.eq("orgId", orgId))
    .first();
}

/**
 * Makes an organization due at `at` (ms), or leaves it due earlier, and restarts its retries.
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
  // The lease counts even when it is over: the queue may only be about to notice that the sync was lost.
  const isRunning = sync?.running !== undefined && sync.dueAt !== undefined;
  const field = isRunning ? "dueAgainAt" : "dueAt";
  await writeSync(ctx, orgId, sync, {
    [field]: Math.min(sync?.[field] ?? at, at),
    failingSince: at,
    ...(isUrgent ? { isUrgent } : {}),
  });
}

/** Begins a sync: from now on, no earlier sync of the organization writes anything. */
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

/** Ends the sync that is running. The organization stays due if something asked for that meanwhile, or for a retry. */
export async function finishSync(ctx: MutationCtx, sync: Sync, isTransient: boolean) {
  const now = Date.now();
  const { dueAgainAt = Infinity, failingSince = now } = sync;
  const retryAt = RETRIES_MS.map((ms) => failingSince + ms).find((at) => isTransient && at > now);
  const dueAt = Math.min(dueAgainAt, retryAt ?? Infinity);
  const due = dueAt < Infinity ? { dueAt } : NOT_DUE;
  await ctx.db.patch("eventSyncs", sync._id, { ...NOT_RUNNING, ...due });
}

/** Ends what is running and takes the organization out of the queue: its key was set or cleared, or it is gone. */
export async function stopSyncs(ctx: MutationCtx, orgId: OrgId, more: Partial<Sync> = {}) {
  const sync = await getSync(ctx, orgId);
  if (sync === null) return;
  await ctx.db.patch("eventSyncs", sync._id, { ...NOT_RUNNING, ...NOT_DUE, ...more });
}

/** Deletes everything about an organization whose events are deleted for good. */
export async function forgetSyncs(ctx: MutationCtx, orgId: OrgId): Promise<void> {
  const syncs = ctx.db.query("eventSyncs").withIndex("by_org", (q) => q.eq("orgId", orgId));
  for await (const { _id } of syncs) await ctx.db.delete("eventSyncs", _id);
}

/** The organization that is due first, or will be: of the urgent ones, or of the others. */
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
 * A sync that may write, and its organization.
 *
 * @throws ConvexError with SyncFailure, `ended` or `overtaken`, when the sync may not write any more.
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
