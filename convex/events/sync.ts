/** One organization's sync from its first step to its last, and the two functions that administrators and the cron run. */
import { milliseconds } from "date-fns";
import { ConvexError, v } from "convex/values";
import { internal } from "../_generated/api";
import { internalAction, internalMutation, type ActionCtx } from "../_generated/server";
import { getOrgName, orgId, type Org, type OrgId } from "../orgs/app";
import { resolveLumaKey, type LumaKey } from "../orgs/lumaKey";
import { getConnectedOrgs } from "../orgs/queries";
import { compareStored, getNew, getToWrite, startComparison, type Comparison } from "./changes";
import { repeated, writeSlowly } from "./convexCalls";
import { selectCandidates, syncDescriptions, type Candidate } from "./descriptions";
import { makeDue, orgWasDeleted, type StartedSync } from "./eventSyncs";
import { SyncError, toFailure, type SyncFailure } from "./failure";
import { fetchLumaEvents, type InvalidEntry, type LumaListing } from "./lumaClient";
import { PAGE_ORGS } from "./queries";
import { wakeQueue } from "./queue";
import { listSome, toLogLine, withoutKey } from "./text";
import { syncCounts, type ComparedEvent, type SyncCounts } from "./validators";

const WINDOW_BACK_MS = milliseconds({ days: 30 });
const WINDOW_AHEAD_MS = milliseconds({ days: 90 });

// A sync's time, from when it began: Convex allows an action 30 minutes, and the queue waits for 12.

/** lu.ma is asked until then, waits included. */
const FETCH_MS = milliseconds({ minutes: 7 });
/** Events are written until then. */
const SYNC_MS = FETCH_MS + milliseconds({ seconds: 30 });

/**
 * Mirrors one organization's lu.ma events that start from 30 days ago to 90 days ahead. The listing is fetched
 * completely before anything is written; then what differs is written, what lu.ma stopped listing is marked
 * as removed, the organization is stamped, and lu.ma is asked for the descriptions of at most 100 events to come. Run it
 * from the Convex dashboard, or with `npx convex run events/sync:syncOrgEvents '{"orgId":"…"}'`.
 *
 * A sync that begins while another of the same organization is running takes over: the earlier one writes nothing more.
 * One that fails in passing is tried again by the queue.
 *
 * @param started the sync that the queue began; without it, one is begun.
 * @throws ConvexError with `{ message, kind }`: a sentence for the administrator, which `eventsSyncError` of the
 * organization then holds too, and whether the failure is `passing` (lu.ma or Convex did not do it this time), `lasting`
 * (a person must mend it), or the sync was `ended` by a change of the key or `overtaken` by a later sync before it could
 * stamp the organization. When lu.ma gave no complete listing, no event is changed; what Convex refused may leave events
 * half-written, which the next sync completes.
 */
export const syncOrgEvents = internalAction({
  args: {
    orgId,
    started: v.optional(v.object({ syncNumber: v.number(), startedAt: v.number() })),
  },
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
      let failure = toFailure(error, orgId, org);
      if (sync !== undefined) failure = (await reportEnd(ctx, orgId, sync, failure)) ?? failure;
      const { message, kind } = failure;
      throw new ConvexError({ message, kind });
    }
    const numbers = Object.entries(result.counts).map(([field, count]) => `${field} ${count}`);
    console.log(
      toLogLine(
        `lu.ma sync of "${getOrgName(org)}" (${orgId}): ${numbers.join(", ")}.`,
        ...result.notes,
      ),
    );
    // A success is known by its stamp; the queue only waits for the action's end.
    if (started !== undefined) await reportEnd(ctx, orgId, started, null);
    return result.counts;
  },
});

/** Never throws: what could not be reported is noticed as lost. */
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
    console.error(toLogLine("Could not write down how a sync ended.", failure?.message ?? ""));
    return failure;
  }
}

/** @throws SyncError, or ConvexError with SyncFailure when the sync may not write. */
async function syncOrg(
  ctx: ActionCtx,
  org: Org,
  { syncNumber, startedAt }: StartedSync,
): Promise<{ counts: SyncCounts; notes: string[] }> {
  const orgId = org._id;
  const key = getLumaKey(org);
  const window = { after: startedAt - WINDOW_BACK_MS, before: startedAt + WINDOW_AHEAD_MS };
  const deadline = startedAt + FETCH_MS;
  const listing = await fetchLumaEvents({ key, ...window, deadline });

  const { comparison, candidates } = await compareWithStored(ctx, orgId, listing, window);
  const sync = { orgId, syncNumber };
  const written = await writeChanges(ctx, sync, comparison, startedAt + SYNC_MS);
  const stamp = { ...sync, timestamp: startedAt };
  await repeated(() => ctx.runMutation(internal.events.mutations.updateOrgSyncTimestamp, stamp));

  const step = { org, syncNumber, key, address: listing.address, deadline };
  const { described, note } = await syncDescriptions(ctx, step, candidates);
  return {
    counts: {
      fetched: listing.events.size,
      ...written,
      unchanged: comparison.unchanged.size + written.unchanged,
      invalid: listing.invalid.length,
      described,
    },
    notes: [note, listSome("Invalid", describeInvalid(listing.invalid, key))],
  };
}

function getLumaKey(org: Org): LumaKey {
  const key = resolveLumaKey(org);
  if ("apiKey" in key) return key;
  throw new SyncError(key.problem, "noKey");
}

async function compareWithStored(
  ctx: ActionCtx,
  orgId: OrgId,
  listing: LumaListing,
  window: { after: number; before: number },
): Promise<{ comparison: Comparison; candidates: Candidate[] }> {
  const now = Date.now();
  const comparison = startComparison(listing);
  let candidates: Candidate[] = [];
  let cursor: string | null = null;
  for (;;) {
    const args = { orgId, ...window, cursor };
    const stored: { page: ComparedEvent[]; isDone: boolean; continueCursor: string } =
      await repeated(() => ctx.runQuery(internal.events.queries.getStoredWindow, args));
    const kept = stored.page.flatMap((event) => compareStored(event, comparison) ?? []);
    // Selected page by page, so that no more descriptions are kept than one sync asks for.
    candidates = selectCandidates([...candidates, ...kept], now);
    if (stored.isDone) break;
    cursor = stored.continueCursor;
  }
  candidates = selectCandidates([...candidates, ...getNew(comparison)], now);
  return { comparison, candidates };
}

async function writeChanges(
  ctx: ActionCtx,
  sync: { orgId: OrgId; syncNumber: number },
  comparison: Comparison,
  until: number,
): Promise<{ inserted: number; updated: number; unchanged: number; removed: number }> {
  const counts = { inserted: 0, updated: 0, unchanged: 0, removed: 0 };
  const requireTime = () => {
    if (Date.now() < until) return;
    throw new SyncError("7 minutes 30 after it began, it had events left to write", "convex");
  };
  const upserts = writeSlowly(getToWrite(comparison), async (events) => {
    requireTime();
    return await ctx.runMutation(internal.events.mutations.upsertEvents, { ...sync, events });
  });
  for await (const { inserted, updated, unchanged } of upserts) {
    counts.inserted += inserted;
    counts.updated += updated;
    counts.unchanged += unchanged;
  }
  const removals = writeSlowly([...comparison.gone], async (eventIds) => {
    requireTime();
    const args = { ...sync, eventIds };
    return await ctx.runMutation(internal.events.mutations.markEventsRemoved, args);
  });
  for await (const { removed } of removals) counts.removed += removed;
  return counts;
}

/** An id that holds the key may have come from anywhere. */
function describeInvalid(invalid: InvalidEntry[], { apiKey }: LumaKey): string[] {
  return invalid.map(
    ({ id, reason }) => `${id === null ? "(no id)" : withoutKey(id, apiKey)} (${reason})`,
  );
}

/**
 * Makes every organization that has a lu.ma key due now, for the queue to sync them one after another, 1 s apart. Run
 * daily by the cron, or from the Convex dashboard, with `{}`; it goes on by itself, page by page, with the other argument.
 *
 * @returns how many of the organizations that it looked at are due, and whether those were all.
 */
export const runFullEventSync = internalMutation({
  args: { cursor: v.optional(v.string()) },
  returns: v.object({ queued: v.number(), isDone: v.boolean() }),
  handler: async (ctx, { cursor = null }) => {
    const found = await getConnectedOrgs(ctx, { cursor, numItems: PAGE_ORGS });
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
