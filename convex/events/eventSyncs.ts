/**
 * The syncs of each organization: which one may write, and when the next one is due. Writes the table `eventSyncs`.
 * Only the sync that began last writes for its organization: it gets a number when it begins, and every transaction
 * that writes for it asks here whether it still may.
 */
import { milliseconds } from "date-fns";
import { ConvexError, v, type Infer } from "convex/values";
import type { Doc } from "../_generated/dataModel";
import { internalMutation, type MutationCtx, type QueryCtx } from "../_generated/server";
import { getOrg, getOrgName, orgId, patchOrg, requireOrg, type Org, type OrgId } from "../orgs/app";
import { hasLumaKey } from "../orgs/lumaKey";
import type { SyncFailure } from "./failure";

/** When an organization is due again if nobody hears of its sync. */
const COMES_BACK_AFTER_MS = milliseconds({ minutes: 30 });
/** From a failure in passing to the next try, for the first to the fifth in a row; then the morning's run is next. */
const RETRY_AFTER_MS = [0.5, 1, 2, 4, 8].map((hours) => milliseconds({ hours }));

/** A calendar of lu.ma's. */
export const calendar = v.object({ id: v.string(), name: v.string() });
export type Calendar = Infer<typeof calendar>;
type Sync = Omit<Doc<"eventSyncs">, "_creationTime">;

/** @throws ConvexError when there is no such organization, or it has no key. */
export async function requireConnected(ctx: QueryCtx, orgId: OrgId): Promise<Org> {
  const org = await requireOrg(ctx, orgId);
  if (hasLumaKey(org)) return org;
  throw new ConvexError(
    `Organization "${getOrgName(org)}" has no lu.ma API key: connect it with orgs/mutations:setLumaConfig first.`,
  );
}

export const startedSync = v.object({ syncNumber: v.number(), startedAt: v.number() });
export type StartedSync = Infer<typeof startedSync>;

export type DueSync = Doc<"eventSyncs"> & { dueAt: number };

const NOT_DUE = { dueAt: undefined, failures: undefined };

/** One sync of one organization. */
export const numberedSync = v.object({ orgId, syncNumber: v.number() });
export type NumberedSync = Infer<typeof numberedSync>;

/** Begins a sync. From now on no sync of the organization that began earlier writes anything more. */
export async function startSync(ctx: MutationCtx, orgId: OrgId): Promise<StartedSync> {
  const sync = await getOrCreateSync(ctx, orgId);
  const startedAt = Date.now();
  const syncNumber = sync.lastNumber + 1;
  const dueAt = startedAt + COMES_BACK_AFTER_MS;
  await ctx.db.patch("eventSyncs", sync._id, { lastNumber: syncNumber, startedAt, dueAt });
  return { syncNumber, startedAt };
}

/** Makes an organization due at `at`, or leaves it due earlier; its failures are counted anew. */
export async function makeDue(ctx: MutationCtx, orgId: OrgId, at: number): Promise<void> {
  const sync = await getOrCreateSync(ctx, orgId);
  const dueAt = Math.min(sync.dueAt ?? at, at);
  await ctx.db.patch("eventSyncs", sync._id, { dueAt, failures: undefined });
}

/** For an organization that was deleted or disconnected. */
export async function leaveQueue(ctx: MutationCtx, orgId: OrgId): Promise<void> {
  await patchSync(ctx, orgId, () => NOT_DUE);
}

/** For a key that was set or cleared: ends the sync that is running, and forgets what was known of the old key. */
export async function forgetKey(ctx: MutationCtx, orgId: OrgId, isSameKey: boolean): Promise<void> {
  await patchSync(ctx, orgId, ({ lastNumber, syncedNumber }) => ({
    endedThrough: lastNumber,
    calendar: undefined,
    // All events of another calendar are new: its first sync notifies nobody.
    syncedNumber: isSameKey ? syncedNumber : undefined,
  }));
}

/**
 * The organization, if the sync with this number may still write; without a number, anyone may.
 *
 * @throws ConvexError when there is no such organization or, with SyncFailure, `ended` or `overtaken`, when the sync
 * may no longer write.
 */
export async function requireSync(ctx: QueryCtx, orgId: OrgId, syncNumber?: number): Promise<Org> {
  if (syncNumber === undefined) return await requireOrg(ctx, orgId);
  const [org, sync] = await Promise.all([getOrg(ctx, orgId), getSync(ctx, orgId)]);
  if (org === null) throw orgWasDeleted(orgId);
  const name = `organization "${getOrgName(org)}"`;
  const refuse = (kind: "ended" | "overtaken", message: string) =>
    new ConvexError<SyncFailure>({ message, kind });
  if (!hasLumaKey(org)) {
    throw refuse("ended", `The ${name} was disconnected from lu.ma while it was being synced.`);
  }
  if (sync === null || syncNumber <= (sync.endedThrough ?? -Infinity)) {
    const why = "its lu.ma API key was set meanwhile, or nothing was heard of it for too long";
    throw refuse("ended", `This sync of the ${name} was ended: ${why}.`);
  }
  if (syncNumber === sync.lastNumber) return org;
  throw refuse("overtaken", `A later sync of the ${name} has begun: this one writes nothing more.`);
}

export function orgWasDeleted(orgId: OrgId): ConvexError<SyncFailure> {
  const message = `The organization with the id ${orgId} was deleted while it was being synced.`;
  return new ConvexError<SyncFailure>({ message, kind: "ended" });
}

/**
 * Notes that a sync succeeded: its organization leaves the queue, unless something else made it due meanwhile.
 *
 * @returns the key's calendar, where it is known.
 */
export async function noteSuccess(ctx: MutationCtx, orgId: OrgId, syncNumber: number) {
  const sync = await patchSync(ctx, orgId, (sync) => ({
    syncedNumber: syncNumber,
    dueAt: wasMadeDue(sync) ? sync.dueAt : undefined,
    failures: undefined,
  }));
  return sync?.calendar;
}

/** Keeps which calendar of lu.ma's the key belongs to. */
export const recordCalendar = internalMutation({
  args: { orgId, calendar, syncNumber: v.number() },
  returns: v.null(),
  handler: async (ctx, { orgId, calendar, syncNumber }) => {
    await requireSync(ctx, orgId, syncNumber);
    await patchSync(ctx, orgId, () => ({ calendar }));
    return null;
  },
});

/**
 * Ends a sync that failed: it writes nothing more, `eventsSyncError` says why, and its organization is due again if the
 * failure may pass. One that had succeeded only stops writing; one that had ended or was overtaken stays as it is.
 *
 * @returns why the sync ended: `failure`, or what had ended it before; `null` if it had succeeded.
 */
export async function noteFailure(
  ctx: MutationCtx,
  { orgId, syncNumber }: NumberedSync,
  failure: SyncFailure,
): Promise<SyncFailure | null> {
  const sync = await getSync(ctx, orgId);
  if (sync?.syncedNumber === syncNumber) {
    const endedThrough = Math.max(syncNumber, sync.endedThrough ?? -Infinity);
    await ctx.db.patch("eventSyncs", sync._id, { endedThrough });
    return null;
  }
  let org: Org;
  try {
    org = await requireSync(ctx, orgId, syncNumber);
  } catch (error) {
    if (!(error instanceof ConvexError)) throw error;
    const data = error.data as SyncFailure;
    // This very report ended it, and its answer was lost.
    const said = (await getOrg(ctx, orgId))?.eventsSyncError;
    return data.kind === "ended" && said === failure.message ? failure : data;
  }
  if (sync === null) return failure;
  await ctx.db.patch("eventSyncs", sync._id, {
    endedThrough: syncNumber,
    ...(wasMadeDue(sync) ? {} : toRetry(sync, failure)),
  });
  const reason = failure.message;
  // To write the same reason every day would re-run every query that reads the organization.
  if (org.eventsSyncError !== reason) await patchOrg(ctx, orgId, { eventsSyncError: reason });
  return failure;
}

function toRetry({ failures = 0 }: Sync, { kind }: SyncFailure) {
  const afterMs = kind === "passing" ? RETRY_AFTER_MS[failures] : undefined;
  return afterMs === undefined ? NOT_DUE : { dueAt: Date.now() + afterMs, failures: failures + 1 };
}

/** Whether something other than its last sync made an organization due. */
function wasMadeDue({ startedAt, dueAt }: Sync): boolean {
  return dueAt !== undefined && dueAt !== (startedAt ?? 0) + COMES_BACK_AFTER_MS;
}

/** Organizations that are due, or will be by `until` (ms since 1970), the earliest first. */
export async function getDue(ctx: QueryCtx, until: number, limit: number): Promise<DueSync[]> {
  const due = await ctx.db
    .query("eventSyncs")
    .withIndex("by_due", (q) => q.gt("dueAt", undefined).lte("dueAt", until))
    .take(limit);
  return due as DueSync[];
}

/** For an organization whose events are deleted for good. */
export async function forgetSyncs(ctx: MutationCtx, orgId: OrgId): Promise<void> {
  const sync = await getSync(ctx, orgId);
  if (sync !== null) await ctx.db.delete("eventSyncs", sync._id);
}

export async function getSync(ctx: QueryCtx, orgId: OrgId): Promise<Sync | null> {
  return await ctx.db
    .query("eventSyncs")
    .withIndex("by_org", (q) => q.eq("orgId", orgId))
    .unique();
}

async function patchSync(
  ctx: MutationCtx,
  orgId: OrgId,
  toFields: (sync: Sync) => Partial<Sync>,
): Promise<Sync | null> {
  const sync = await getSync(ctx, orgId);
  if (sync !== null) await ctx.db.patch("eventSyncs", sync._id, toFields(sync));
  return sync;
}

async function getOrCreateSync(ctx: MutationCtx, orgId: OrgId): Promise<Sync> {
  const stored = await getSync(ctx, orgId);
  if (stored !== null) return stored;
  // Above every number that deleteOrgEvents may have forgotten; startSync counts on from here.
  const sync = { orgId, lastNumber: Date.now() + Math.random() };
  return { ...sync, _id: await ctx.db.insert("eventSyncs", sync) };
}
