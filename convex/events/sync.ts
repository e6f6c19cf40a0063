/** One organization's sync, from start to end, and the daily run, which makes all organizations due. */
import { milliseconds } from "date-fns";
import { ConvexError, v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import { internalAction, internalMutation, type ActionCtx } from "../_generated/server";
import { describeFailure, orgWasDeleted, SyncError, toFailure, type SyncFailure } from "./failure";
import { resolveLumaKey, type LumaKey } from "./luma/key";
import { ONCE } from "./luma/request";
import { fetchCalendar, fetchLumaEvents } from "./lumaClient";
import { nameOf, orgId, type Org } from "./organizations";
import { makeDue, type Calendar, type RunningSync } from "./queue/syncs";
import { advanceQueue } from "./queue/worker";
import { compareWithStored } from "./steps/changes";
import { BatchWriter, EVENTS_PER_WRITE, repeated } from "./steps/convexCalls";
import { syncDescriptions } from "./steps/descriptions";
import { checkMissing } from "./steps/missing";
import { SingleEvents } from "./steps/singleEvents";
import { toWindow } from "./steps/window";
import { listSome, toLogLine } from "./text";
import { upsertCounts, type MirroredEvent } from "./validators";

// Both count from the start of a sync. Convex allows an action 30 minutes, and the queue waits for 12.

/** How long a sync may make requests to lu.ma, waits included. */
const FETCH_MS = milliseconds({ minutes: 7 });
/** How long a sync may write events and descriptions. */
const SYNC_MS = FETCH_MS + milliseconds({ seconds: 30 });

const syncCounts = v.object({
  /** Distinct valid events in the list. */
  fetched: v.number(),
  ...upsertCounts.fields,
  removed: v.number(),
  /** Entries of the list that couldn't be read. */
  invalid: v.number(),
  /** Descriptions that were new, changed or cleared. */
  described: v.number(),
});
export type SyncCounts = Infer<typeof syncCounts>;

/**
 * Mirrors one organization's lu.ma events that start between 30 days before its last successful sync and 90 days from
 * now. Run it from the Convex dashboard, or with `npx convex run events/sync:syncOrgEvents '{"orgId":"…"}'`.
 *
 * It fetches the whole list before it writes anything. Then it writes what differs, checks stored events that are
 * missing from the list, marks those that are gone as removed, stamps the organization, and fetches descriptions of
 * upcoming events. It fetches at most 100 events one by one.
 *
 * Only an organization's most recent sync may write, so this takes over from a sync that is running.
 *
 * @param takenAt set by the queue for its own syncs: when it took the organization.
 * @throws ConvexError with `{ message, kind }`, where `message` is a sentence for an administrator. A `transient`
 * failure is retried, and a `permanent` one needs somebody to act; both are also in the organization's
 * `eventsSyncError` once the sync has begun. An `ended` sync was stopped because its key was set or cleared, its
 * organization was deleted, or it took too long, and an `overtaken` one because a later sync began. No event changes
 * unless the whole list was read. If a write fails, the next sync completes it.
 */
export const syncOrgEvents = internalAction({
  args: { orgId, takenAt: v.optional(v.number()) },
  returns: syncCounts,
  handler: async (ctx, { orgId, takenAt }): Promise<SyncCounts> => {
    const sync = { orgId, syncId: crypto.randomUUID() };
    let [name, key]: [string, LumaKey?] = [orgId];
    let failure: SyncFailure | null;
    let counts: SyncCounts | undefined;
    try {
      const begun = await begin(ctx, sync, takenAt);
      const org = await repeated(() => ctx.runQuery(internal.orgs.queries.getById, { orgId }));
      if (org === null) throw new ConvexError(orgWasDeleted(orgId));
      name = nameOf(org);
      const { getApiKey } = internal.events.queries;
      key = resolveLumaKey(org, await repeated(() => ctx.runQuery(getApiKey, sync)));
      ({ counts, failure } = await syncOrg(ctx, { ...sync, ...begun, org, key }));
    } catch (error) {
      failure = toFailure(error, name, key);
    }
    failure = await end(ctx, sync, failure);
    if (counts === undefined || failure !== null) throw new ConvexError(failure);
    return counts;
  },
});

type Begun = { startedAt: number; calendar: Calendar | null };

/** @throws ConvexError with SyncFailure if the sync may not begin. */
async function begin(ctx: ActionCtx, sync: RunningSync, takenAt?: number): Promise<Begun> {
  const { beginSync } = internal.events.queue.worker;
  const begun = await repeated((): Promise<Begun | { failure: SyncFailure }> =>
    ctx.runMutation(beginSync, { ...sync, takenAt }),
  );
  if ("failure" in begun) throw new ConvexError(begun.failure);
  return begun;
}

/**
 * Reports how a sync ended. Never throws: the queue notices if a sync doesn't report back.
 *
 * @returns the failure to throw, or `null`. A failed sync that finds a later one running was `overtaken`.
 */
async function end(ctx: ActionCtx, sync: RunningSync, failure: SyncFailure | null) {
  try {
    const { endSync } = internal.events.queue.worker;
    return await repeated((): Promise<SyncFailure | null> =>
      ctx.runMutation(endSync, { ...sync, failure }),
    );
  } catch {
    const what = `Could not record how the sync of organization ${sync.orgId} ended.`;
    console.error(toLogLine(what, failure?.message ?? ""));
    return failure;
  }
}

type OrgSync = RunningSync & Begun & { org: Org; key: LumaKey };

/**
 * Syncs an organization that exists, with a key that can be sent.
 *
 * @returns what it did, and a failure if some missing events couldn't be checked: the sync is stamped, but still
 * retried.
 * @throws SyncError, or ConvexError with SyncFailure if the sync can no longer write.
 */
async function syncOrg(
  ctx: ActionCtx,
  { org, key, orgId, syncId, startedAt, calendar: stored }: OrgSync,
): Promise<{ counts: SyncCounts; failure: SyncFailure | null }> {
  const sync = { orgId, syncId };
  const window = toWindow(org.eventsLastSynced, startedAt);
  const deadline = startedAt + FETCH_MS;
  const writer = new BatchWriter(startedAt + SYNC_MS);
  const list = await fetchLumaEvents({ key, ...window, deadline });
  const { listed, invalid, address } = list;
  const said = await fetchCalendar({ key, address, deadline, patience: ONCE });
  const calendar = said === "nothing" ? stored : said;
  const changes = await compareWithStored(ctx, orgId, list, window);

  const { upsertEvents, markEventsRemoved, updateOrgSyncTimestamp } = internal.events.mutations;
  const counts = {
    fetched: listed.size,
    inserted: 0,
    updated: 0,
    unchanged: changes.unchanged,
    removed: 0,
    invalid: invalid.length,
    described: 0,
  };
  // Don't notify anybody about a whole calendar on its first sync.
  const announces = calendar !== null && calendar.id === stored?.id;
  const upsert = (toWrite: MirroredEvent[]) =>
    writer.write(toWrite, EVENTS_PER_WRITE, async (events) => {
      const done = await ctx.runMutation(upsertEvents, { ...sync, events, announces });
      counts.inserted += done.inserted;
      counts.updated += done.updated;
      counts.unchanged += done.unchanged;
    });
  await upsert(changes.toWrite);
  if (listed.size === 0 && invalid.length > 0) {
    const what = `none of the ${invalid.length} entries in lu.ma's list could be read`;
    throw new SyncError(`${what}: ${invalid[0]?.what}`, "unreadable");
  }

  const singleEvents = new SingleEvents({ key, address, deadline });
  const checked = await checkMissing(singleEvents, changes.missing, calendar?.id);
  await upsert(checked.found);
  await writer.write(checked.gone, EVENTS_PER_WRITE, async (eventIds) => {
    counts.removed += (await ctx.runMutation(markEventsRemoved, { ...sync, eventIds })).removed;
  });
  const failure = checked.failure
    ? describeFailure(checked.failure, nameOf(org), key, "was synced, but")
    : null;
  const stamp = { timestamp: startedAt, calendar: calendar ?? undefined, error: failure?.message };
  await repeated(() => ctx.runMutation(updateOrgSyncTimestamp, { ...sync, ...stamp }));

  const step = { ...sync, key, singleEvents, writer };
  const descriptions = await syncDescriptions(ctx, step, changes.candidates, checked.descriptions);
  counts.described = descriptions.described;
  const numbers = Object.entries(counts).map(([field, count]) => `${field} ${count}`);
  const unreadable = invalid.map(({ what }) => what);
  const notes = [
    calendar ? `Calendar ${calendar.name} (${calendar.id}).` : "",
    address.isOlder ? "Used lu.ma's older API, so places are only cities." : "",
    changes.missing.length > 0 ? `Missing from the list: ${changes.missing.length}.` : "",
    descriptions.note,
    listSome("Invalid", unreadable),
  ];
  const what = `lu.ma sync of "${nameOf(org)}" (${orgId}): ${numbers.join(", ")}.`;
  console.log(toLogLine(what, ...notes));
  return { counts, failure };
}

/**
 * The daily run: makes every organization that has a lu.ma key due now, so that the queue syncs them one after another.
 * To run it from the Convex dashboard, pass `{}`. It works page by page, and schedules the next page itself.
 *
 * @returns how many organizations of this page it made due, and whether this was the last page.
 */
export const runFullEventSync = internalMutation({
  args: { cursor: v.optional(v.string()) },
  returns: v.object({ queued: v.number(), isDone: v.boolean() }),
  handler: async (ctx, { cursor = null }): Promise<{ queued: number; isDone: boolean }> => {
    const { getOrgsWithLumaConfig } = internal.events.queries;
    const { page, isDone, continueCursor } = await ctx.runQuery(getOrgsWithLumaConfig, { cursor });
    const now = Date.now();
    await Promise.all(page.map(({ _id }) => makeDue(ctx, _id, now)));
    await advanceQueue(ctx);
    if (!isDone) {
      const rest = { cursor: continueCursor };
      await ctx.scheduler.runAfter(0, internal.events.sync.runFullEventSync, rest);
    }
    return { queued: page.length, isDone };
  },
});
