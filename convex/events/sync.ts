/** One organization's sync from its first step to its last, and the two actions that can be run. */
import { milliseconds } from "date-fns";
import { ConvexError, v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import { internalAction, type ActionCtx } from "../_generated/server";
import { orgId, toShownOrg, type Org, type OrgId } from "../orgs/app";
import { resolveLumaKey, type LumaKey } from "../orgs/lumaKey";
import { compareStored, getNew, getToWrite, startComparison, type Comparison } from "./changes";
import { selectCandidates, syncDescriptions, type Candidate } from "./descriptions";
import { FETCH_MS, runSlice, sliceArgs, sliceResult, SYNC_MS, type SliceResult } from "./fullRun";
import { LumaError, withoutKey } from "./luma/error";
import type { InvalidEntry } from "./luma/wire";
import { fetchLumaEvents, type LumaListing } from "./lumaClient";
import { begin, lookUp, repeated, writeSlowly } from "./pacing";
import { outOfTime, recordFailure, toFailure } from "./reasons";
import { listSome, toLogItem, toLogLine } from "./text";
import { orgWasDeleted } from "./turns";
import {
  NO_COUNTS,
  pick,
  syncCounts,
  syncResult,
  type ComparedEvent,
  type SyncCounts,
  type SyncResult,
} from "./validators";

const WINDOW_BACK_MS = milliseconds({ days: 30 });
const WINDOW_AHEAD_MS = milliseconds({ days: 90 });

const fromRun = v.object({ syncNumber: v.number(), skipsDescriptions: v.boolean() });

/**
 * Mirrors one organization's lu.ma events that start from 30 days ago to 90 days ahead. The listing is fetched
 * completely before anything is written; then what differs is written, what lu.ma stopped listing is marked
 * as removed, the organization is stamped, and lu.ma is asked for the descriptions of at most 100 events to come. Run it
 * from the Convex dashboard, or with `npx convex run events/sync:syncOrgEvents '{"orgId":"…"}'`.
 *
 * A sync that begins while another of the same organization is running takes over: the earlier one writes nothing more
 * and returns what it had written, with `isOvertaken` unless the organization was stamped by then.
 *
 * @param run the number of a sync that the full run began, and whether lu.ma gives it no descriptions just now.
 * @throws ConvexError with `{ message, kind }`: a sentence for the administrator, which `eventsSyncError` of the
 * organization then holds too, and whether the failure is `passing` (lu.ma or Convex did not do it this time), `lasting`
 * (a person must mend it), or the sync was `ended` by a change of the key. When lu.ma gave no complete listing, no
 * event is changed; what Convex refused may leave events half-written, which the next sync completes.
 */
export const syncOrgEvents = internalAction({
  args: { orgId, run: v.optional(fromRun) },
  returns: syncResult,
  handler: async (ctx, { orgId, run }): Promise<SyncResult> => {
    const startedAt = Date.now();
    const counts: SyncResult = { ...NO_COUNTS };
    let syncNumber = run?.syncNumber;
    let org: Org | null = null;
    try {
      syncNumber ??= (await begin(ctx, orgId)).syncNumber;
      org = await lookUp(ctx, orgId);
      if (org === null) throw orgWasDeleted(orgId);
      const notes = await syncOrg(ctx, { org, syncNumber, startedAt, run }, counts);
      console.log(describeSync(orgId, org, counts, notes));
      return counts;
    } catch (error) {
      let failure = toFailure(error, org === null ? orgId : toShownOrg(org).name, org);
      if (syncNumber !== undefined) {
        failure = await recordFailure(ctx, { orgId, syncNumber }, failure);
      }
      if (failure.kind !== "overtaken") {
        const { message, kind } = failure;
        throw new ConvexError(run === undefined ? { message, kind } : failure);
      }
      console.log(describeSync(orgId, org, counts, [failure.message]));
      return { ...counts, isOvertaken: true };
    }
  },
});

type Sync = { org: Org; syncNumber: number; startedAt: number; run?: Infer<typeof fromRun> };

/**
 * Counts as it goes, and returns sentences for the log.
 *
 * @throws LumaError when lu.ma gave no complete listing, ConvexError with FailureData when the sync may not write.
 */
async function syncOrg(ctx: ActionCtx, sync: Sync, counts: SyncResult): Promise<string[]> {
  const { org, syncNumber, startedAt, run } = sync;
  const key = getLumaKey(org);
  const window = { after: startedAt - WINDOW_BACK_MS, before: startedAt + WINDOW_AHEAD_MS };
  const deadline = startedAt + FETCH_MS;
  const listing = await fetchLumaEvents({ key, ...window, deadline });
  counts.fetched = listing.events.size;
  counts.invalid = listing.invalid.length;

  const { comparison, candidates } = await compareWithStored(ctx, org._id, listing, window);
  counts.unchanged = comparison.unchanged.size;
  await writeChanges(ctx, sync, comparison, counts);
  const stamp = { orgId: org._id, timestamp: startedAt, syncNumber };
  await repeated(() => ctx.runMutation(internal.events.mutations.updateOrgSyncTimestamp, stamp));

  const step = { org, syncNumber, key, address: listing.address, deadline };
  const invalid = listSome("Invalid", describeInvalid(listing.invalid, key));
  if (run?.skipsDescriptions) return ["Descriptions: lu.ma gives none just now.", invalid];
  const end = await syncDescriptions(ctx, step, candidates);
  counts.described = end.described;
  if (run !== undefined) counts.undescribed = end.undescribed;
  return [end.note, invalid];
}

function getLumaKey(org: Org): LumaKey {
  const key = resolveLumaKey(org);
  if ("apiKey" in key) return key;
  throw new LumaError(key.problem, { kind: "lasting", advice: key.advice });
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
  { org, syncNumber, startedAt }: Sync,
  comparison: Comparison,
  counts: SyncCounts,
): Promise<void> {
  const sync = { orgId: org._id, syncNumber };
  const requireTime = () => {
    if (Date.now() >= startedAt + SYNC_MS) throw outOfTime(org);
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
}

function describeSync(orgId: OrgId, org: Org | null, counts: SyncCounts, notes: string[]): string {
  const name = org === null ? "" : ` of "${toLogItem(toShownOrg(org).name)}"`;
  const numbers = Object.entries(pick(syncCounts, counts)).map(
    ([field, count]) => `${field} ${count}`,
  );
  return toLogLine(`lu.ma sync${name} (${orgId}): ${numbers.join(", ")}.`, ...notes);
}

/** An id that holds the key may have come from anywhere. */
function describeInvalid(invalid: InvalidEntry[], { apiKey }: LumaKey): string[] {
  return invalid.map(
    ({ id, reason }) => `${id === null ? "(no id)" : withoutKey(id, apiKey)} (${reason})`,
  );
}

/**
 * Syncs every organization that has a lu.ma key, strictly one after another with a pause of 1 s between them. One
 * organization's failure is recorded and the run goes on; what failed in passing is synced again 30 minutes after the
 * others, and once more after 2 hours. Run daily by the cron, or from the Convex dashboard, with `{}`; the other
 * argument is for going on where another action of the same run stopped. An action takes organizations on for 2 minutes,
 * then hands the rest over to a scheduled one.
 *
 * Returns what this action did; `isDone` says whether the run ended with it. An organization that was deleted, disconnected
 * or given another key meanwhile, or synced by a later sync, is neither `synced` nor `failed`.
 */
export const runFullEventSync = internalAction({
  args: sliceArgs,
  returns: sliceResult,
  handler: async (ctx, { slice }): Promise<SliceResult> => await runSlice(ctx, slice),
});
