/** One organization's sync, from first step to last, and the morning's run, which makes all organizations due. */
import { milliseconds } from "date-fns";
import { ConvexError, v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import { internalAction, internalMutation, type ActionCtx } from "../_generated/server";
import { getOrgName, orgId, type Org, type OrgId } from "../orgs/app";
import { resolveLumaKey, type LumaKey } from "../orgs/lumaKey";
import { getConnectedOrgs } from "../orgs/queries";
import { compareWithStored } from "./changes";
import { repeated } from "./convexCalls";
import { syncDescriptions } from "./descriptions";
import {
  makeDue,
  orgWasDeleted,
  startedSync,
  type Calendar,
  type NumberedSync,
  type StartedSync,
} from "./eventSyncs";
import { SyncError, toFailure, type SyncFailure } from "./failure";
import { checkLacking } from "./lacking";
import { EventReader, fetchLumaEvents } from "./lumaClient";
import { wakeQueue } from "./queue";
import { writeSlowly } from "./slowWrites";
import { listSome, toLogLine } from "./text";
import { upsertCounts, type UpsertedEvent } from "./validators";
import { toWindow } from "./window";

// From the start of a sync: Convex allows an action 30 minutes, and the queue waits for 12.

/** A sync asks lu.ma until then, waits included. */
const FETCH_MS = milliseconds({ minutes: 7 });
/** A sync writes events until then. */
const SYNC_MS = FETCH_MS + milliseconds({ seconds: 30 });

const syncCounts = v.object({
  /** Distinct valid events in the listing. */
  fetched: v.number(),
  ...upsertCounts.fields,
  removed: v.number(),
  /** Entries of the listing that could not be read. */
  invalid: v.number(),
  /** Descriptions that were new, changed or cleared. */
  described: v.number(),
});
export type SyncCounts = Infer<typeof syncCounts>;

/**
 * Mirrors one organization's lu.ma events that start from 30 days before its last successful sync to 90 days ahead. The
 * sync fetches the whole listing before it writes anything. Then it writes what differs, asks lu.ma for stored events
 * that the listing lacks, marks as removed those that are gone, stamps the organization, and asks lu.ma for the
 * descriptions of at most 100 events to come. Run it from the Convex dashboard, or with
 * `npx convex run events/sync:syncOrgEvents '{"orgId":"…"}'`.
 *
 * A sync that begins while another of the same organization is running takes over: the earlier one writes nothing more.
 * The queue tries again what fails in passing.
 *
 * @param started the sync that the queue began; without it, the action begins one.
 * @throws ConvexError with `{ message, kind }`. `message` is a sentence for the administrator. If `kind` is `passing`
 * (lu.ma or Convex did not do it this time) or `lasting` (a person must mend it), the organization's `eventsSyncError`
 * holds it too; otherwise the sync was `ended` by a change of the key or `overtaken` by a later sync before it could
 * stamp the organization. Without a complete listing, no event changes; if Convex refuses a write, only some events may
 * be written, and the next sync completes them.
 */
export const syncOrgEvents = internalAction({
  args: { orgId, started: v.optional(startedSync) },
  returns: syncCounts,
  handler: async (ctx, { orgId, started }): Promise<SyncCounts> => {
    let sync: StartedSync | undefined = started;
    let org: Org | null = null;
    let result: { counts: SyncCounts; notes: string[] };
    try {
      sync ??= await repeated(() => ctx.runMutation(internal.events.queue.beginSync, { orgId }));
      org = await repeated(() => ctx.runQuery(internal.orgs.queries.getById, { orgId }));
      if (org === null) throw orgWasDeleted(orgId);
      result = await syncOrg(ctx, org, sync);
    } catch (error) {
      const failure = toFailure(error, orgId, org);
      const outcome = sync === undefined ? failure : await reportEnd(ctx, orgId, sync, failure);
      const { message, kind } = outcome ?? {
        message: `Organization "${org && getOrgName(org)}" was synced, but Convex lost the answer.`,
        kind: "passing",
      };
      throw new ConvexError({ message, kind });
    }
    const numbers = Object.entries(result.counts).map(([field, count]) => `${field} ${count}`);
    const did = `lu.ma sync of "${getOrgName(org)}" (${orgId}): ${numbers.join(", ")}.`;
    console.log(toLogLine(did, ...result.notes));
    // A success is known by its stamp; the queue only waits for the action's end.
    if (started !== undefined) await reportEnd(ctx, orgId, started, null);
    return result.counts;
  },
});

/** Never throws: the queue notices as lost what could not be reported. */
async function reportEnd(
  ctx: ActionCtx,
  orgId: OrgId,
  { syncNumber }: StartedSync,
  failure: SyncFailure | null,
): Promise<SyncFailure | null> {
  try {
    const report = { orgId, syncNumber, failure };
    return await repeated((): Promise<SyncFailure | null> =>
      ctx.runMutation(internal.events.queue.endSync, report),
    );
  } catch {
    const what = `Could not write down how the sync of organization ${orgId} ended.`;
    console.error(toLogLine(what, failure?.message ?? ""));
    return failure;
  }
}

/** @throws SyncError, or ConvexError with SyncFailure when the sync may not write. */
async function syncOrg(
  ctx: ActionCtx,
  org: Org,
  { syncNumber, startedAt }: StartedSync,
): Promise<{ counts: SyncCounts; notes: string[] }> {
  const key = getLumaKey(org);
  const window = toWindow(org.eventsLastSynced, startedAt);
  const deadline = startedAt + FETCH_MS;
  const listing = await fetchLumaEvents({ key, ...window, deadline });
  const { listed, invalid, address } = listing;
  const changes = await compareWithStored(ctx, org._id, listing, window);

  const { upsertEvents, markEventsRemoved, updateOrgSyncTimestamp } = internal.events.mutations;
  const sync = { orgId: org._id, syncNumber };
  const until = startedAt + SYNC_MS;
  const upsert = (toWrite: UpsertedEvent[]) =>
    writeSlowly(toWrite, until, (events) => ctx.runMutation(upsertEvents, { ...sync, events }));
  const written = await upsert(changes.toWrite);
  if (listed.size === 0 && invalid.length > 0) {
    const what = `of ${invalid.length} entries of lu.ma's list, not one could be read`;
    throw new SyncError(`${what}: ${invalid[0]?.what}`, "unreadable");
  }
  const reader = new EventReader({ key, address, deadline });
  const { found, gone, failure } = await checkLacking(reader, changes.lacking);
  written.push(...(await upsert(found)));
  const removals = await writeSlowly(gone, until, (eventIds) =>
    ctx.runMutation(markEventsRemoved, { ...sync, eventIds }),
  );
  if (failure !== undefined) throw failure;
  const stamp = { ...sync, timestamp: startedAt };
  const known = await repeated(() => ctx.runMutation(updateOrgSyncTimestamp, stamp));

  const calendar = known ?? (await findCalendar(ctx, sync, reader));
  const step = { org, syncNumber, reader, until };
  const { described, note } = await syncDescriptions(ctx, step, changes.candidates);
  const sum = (field: keyof typeof upsertCounts.type) =>
    written.reduce((all, one) => all + one[field], 0);
  const counts = {
    fetched: listed.size,
    inserted: sum("inserted"),
    updated: sum("updated"),
    unchanged: changes.unchanged + sum("unchanged"),
    removed: removals.reduce((all, one) => all + one.removed, 0),
    invalid: invalid.length,
    described,
  };
  const notes = [
    calendar ? `Calendar ${calendar.name} (${calendar.id}).` : "",
    address.isOlder ? "On lu.ma's older address: cities stand for addresses." : "",
    changes.lacking.length > 0 ? `Not in the list: ${changes.lacking.length}.` : "",
    note,
    listSome(
      "Invalid",
      invalid.map((entry) => entry.what),
    ),
  ];
  return { counts, notes };
}

/** The key's calendar, for which each sync asks until it is known. It fails no sync. */
async function findCalendar(
  ctx: ActionCtx,
  sync: NumberedSync,
  reader: EventReader,
): Promise<Calendar | null> {
  const calendar = await reader.fetchCalendar();
  if (calendar !== null) {
    const { recordCalendar } = internal.events.eventSyncs;
    // Convex may refuse it, or a later sync has begun: the next one asks again.
    await ctx.runMutation(recordCalendar, { ...sync, calendar }).catch(() => null);
  }
  return calendar;
}

function getLumaKey(org: Org): LumaKey {
  const key = resolveLumaKey(org);
  if ("apiKey" in key) return key;
  throw new SyncError(key.problem, "noKey");
}

/**
 * Makes every organization that has a lu.ma key due now, for the queue to sync them one after another, 1 s apart. The
 * cron runs it daily; run it from the Convex dashboard with `{}`. It goes on by itself, page by page, with a cursor.
 *
 * @returns how many of the organizations that it looked at are due, and whether those were all.
 */
export const runFullEventSync = internalMutation({
  args: { cursor: v.optional(v.string()) },
  returns: v.object({ queued: v.number(), isDone: v.boolean() }),
  handler: async (ctx, { cursor = null }) => {
    const found = await getConnectedOrgs(ctx, { cursor });
    const now = Date.now();
    await Promise.all(found.page.map((org) => makeDue(ctx, org._id, now)));
    await wakeQueue(ctx);
    if (!found.isDone) {
      const rest = { cursor: found.continueCursor };
      await ctx.scheduler.runAfter(0, internal.events.sync.runFullEventSync, rest);
    }
    return { queued: found.page.length, isDone: found.isDone };
  },
});
