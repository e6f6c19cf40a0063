/** One organization's sync, from its first step to its last, and the morning's run, which makes all of them due. */
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

// Counted from the start of a sync. Convex allows an action 30 minutes, and the queue waits for 12.

/** A sync asks lu.ma until then, waits included. */
const FETCH_MS = milliseconds({ minutes: 7 });
/** A sync writes events until then. */
const SYNC_MS = FETCH_MS + milliseconds({ seconds: 30 });

const syncCounts = v.object({
  /** Distinct valid events in the list. */
  fetched: v.number(),
  ...upsertCounts.fields,
  removed: v.number(),
  /** Entries of the list that could not be read. */
  invalid: v.number(),
  /** Descriptions that were new, changed or cleared. */
  described: v.number(),
});
export type SyncCounts = Infer<typeof syncCounts>;

/**
 * Mirrors one organization's lu.ma events that start from 30 days before its last successful sync to 90 days ahead. It
 * fetches the whole list before it writes anything. Then it writes what differs, asks lu.ma for stored events that are
 * missing from the list, marks as removed those that are gone, stamps the organization, and asks lu.ma for descriptions
 * of events to come. It asks for at most 100 single events. Run it from the Convex dashboard, or with
 * `npx convex run events/sync:syncOrgEvents '{"orgId":"…"}'`.
 *
 * Only an organization's most recent sync may write, so a sync that begins while another one is running takes over.
 *
 * @param takenAt for the queue's own syncs: when it took the organization.
 * @throws ConvexError with `{ message, kind }`; `message` is a sentence for the administrator. If `kind` is `transient`
 * (it will be retried) or `permanent` (somebody has to act), the organization's `eventsSyncError` has the message, too.
 * Otherwise the sync was `ended` by a change of the key or the organization, or `overtaken` by a later sync. Without a
 * complete list, no event changes. If Convex refuses a write, only some events may be written, and the next sync
 * completes them.
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

/** @throws ConvexError with SyncFailure when the sync may not begin. */
async function begin(ctx: ActionCtx, sync: RunningSync, takenAt?: number): Promise<Begun> {
  const { beginSync } = internal.events.queue.worker;
  const begun = await repeated((): Promise<Begun | { failure: SyncFailure }> =>
    ctx.runMutation(beginSync, { ...sync, takenAt }),
  );
  if ("failure" in begun) throw new ConvexError(begun.failure);
  return begun;
}

/**
 * Reports how a sync ended. Never throws: the queue notices when a sync doesn't report back.
 *
 * @returns the failure to throw, which may be that the sync was overtaken.
 */
async function end(ctx: ActionCtx, sync: RunningSync, failure: SyncFailure | null) {
  try {
    const { endSync } = internal.events.queue.worker;
    return await repeated((): Promise<SyncFailure | null> =>
      ctx.runMutation(endSync, { ...sync, failure }),
    );
  } catch {
    const what = `Convex refused to end the sync of organization ${sync.orgId}.`;
    console.error(toLogLine(what, failure?.message ?? ""));
    return failure;
  }
}

type OrgSync = RunningSync & Begun & { org: Org; key: LumaKey };

/**
 * Syncs an organization that exists, with a key that can be sent.
 *
 * @returns what it did, and why it must be retried although it has stamped the organization.
 * @throws SyncError, or ConvexError with SyncFailure when the sync may not write any more.
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
    const what = `of ${invalid.length} entries of lu.ma's list, not one could be read`;
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
  const notes = [
    calendar ? `Calendar ${calendar.name} (${calendar.id}).` : "",
    address.isOlder ? "On lu.ma's older address: cities stand in for addresses." : "",
    changes.missing.length > 0 ? `Missing from the list: ${changes.missing.length}.` : "",
    descriptions.note,
    listSome(
      "Invalid",
      invalid.map(({ what }) => what),
    ),
  ];
  const what = `lu.ma sync of "${nameOf(org)}" (${orgId}): ${numbers.join(", ")}.`;
  console.log(toLogLine(what, ...notes));
  return { counts, failure };
}

/**
 * Makes every organization that has a lu.ma key due now, for the queue to sync them one after another. The cron runs
 * this daily; run it from the Convex dashboard with `{}`. It goes on by itself, page by page, with a cursor.
 *
 * @returns how many of the organizations that it looked at are due, and whether those were all.
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
