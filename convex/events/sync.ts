/** One organization's sync from its first step to its last, and the two actions that can be run. */
import { milliseconds } from "date-fns";
import { ConvexError, v } from "convex/values";
import { internal } from "../_generated/api";
import type { Doc, Id } from "../_generated/dataModel";
import { internalAction, type ActionCtx } from "../_generated/server";
import { hasLumaKey, resolveLumaKey } from "../orgs/lumaKey";
import {
  compareStored,
  noChanges,
  toRemovalBatches,
  toUpsertBatches,
  type Changes,
} from "./changes";
import { runSlice, sliceArgs, sliceResult, type SliceResult } from "./fullRun";
import { listSome, toLogItem, toLogLine } from "./logLines";
import { LumaError, quote } from "./luma/error";
import { fetchLumaEvents, type LumaListing } from "./lumaClient";
import { toReason } from "./reasons";
import { noSuchOrg } from "./syncGuard";
import { syncCounts, type SyncCounts } from "./validators";

const WINDOW_BACK_MS = milliseconds({ days: 30 });
const WINDOW_AHEAD_MS = milliseconds({ days: 90 });

/**
 * Mirrors one organization's lu.ma events that start from 30 days ago to 90 days ahead. The listing is fetched
 * completely before anything is written; then what differs is written, what lu.ma stopped listing is marked
 * as removed, and the organization is stamped. Run it from the Convex dashboard, or with
 * `npx convex run events/sync:syncOrgEvents '{"orgId":"…"}'`.
 *
 * @throws ConvexError with a sentence for the administrator, which `eventsSyncError` of the organization
 * then holds too: no such organization or no key; lu.ma did not give a complete listing (then no event is
 * changed); Convex failed while writing (then the next sync writes the rest).
 */
export const syncOrgEvents = internalAction({
  args: { orgId: v.id("organizations") },
  returns: syncCounts,
  handler: async (ctx, { orgId }): Promise<SyncCounts> => {
    const syncStartedAt = Date.now();
    const org: Doc<"organizations"> | null = await ctx.runQuery(internal.orgs.queries.getById, {
      orgId,
    });
    if (org === null) throw new ConvexError(noSuchOrg(orgId));
    if (!hasLumaKey(org)) {
      throw new ConvexError(
        `Organization "${org.name}" has no lu.ma API key: connect it with orgs/mutations:setLumaConfig first.`,
      );
    }
    try {
      return await syncOrg(ctx, org, syncStartedAt);
    } catch (error) {
      const reason = toReason(error, org);
      await recordReason(ctx, { orgId, reason, syncStartedAt });
      throw new ConvexError(reason);
    }
  },
});

/** @throws LumaError when lu.ma gave no complete listing, ConvexError when the organization went away. */
export async function syncOrg(
  ctx: ActionCtx,
  org: Doc<"organizations">,
  syncStartedAt: number,
): Promise<SyncCounts> {
  const orgId = org._id;
  const window = { after: syncStartedAt - WINDOW_BACK_MS, before: syncStartedAt + WINDOW_AHEAD_MS };
  const apiKey = getLumaKey(org);
  const listing = await fetchLumaEvents({ apiKey, ...window });
  const changes = await compareWithStored(ctx, orgId, listing, { ...window, syncStartedAt });

  const counts: SyncCounts = {
    fetched: listing.events.size,
    inserted: 0,
    updated: 0,
    unchanged: 0,
    removed: 0,
    invalid: listing.invalid.length,
  };
  if (changes !== null) {
    counts.unchanged = changes.unchanged.size;
    for (const events of toUpsertBatches(listing, changes)) {
      const batch = { orgId, events, syncStartedAt };
      const written = await ctx.runMutation(internal.events.mutations.upsertEvents, batch);
      counts.inserted += written.inserted;
      counts.updated += written.updated;
      counts.unchanged += written.unchanged;
    }
    for (const eventIds of toRemovalBatches(changes)) {
      const batch = { orgId, eventIds, syncStartedAt };
      counts.removed += await ctx.runMutation(internal.events.mutations.markEventsRemoved, batch);
    }
    const stamp = { orgId, timestamp: syncStartedAt };
    await ctx.runMutation(internal.events.mutations.updateOrgSyncTimestamp, stamp);
  }
  const invalid = listing.invalid.map(
    ({ id, reason }) => `${id === null ? "(no id)" : quote(id, apiKey)} (${reason})`,
  );
  console.log(describeSync(org, counts, invalid, changes === null));
  return counts;
}

function getLumaKey(org: Doc<"organizations">): string {
  const resolved = resolveLumaKey(org.lumaApiKey ?? "");
  if ("problem" in resolved) throw new LumaError(`${resolved.problem}.`);
  return resolved.apiKey;
}

/** `null` when a sync that began later has finished: this one then has nothing to write. */
async function compareWithStored(
  ctx: ActionCtx,
  orgId: Id<"organizations">,
  listing: LumaListing,
  window: { after: number; before: number; syncStartedAt: number },
): Promise<Changes | null> {
  const changes = noChanges();
  let cursor: string | null = null;
  for (;;) {
    const stored: {
      isOvertaken: boolean;
      page: Doc<"events">[];
      isDone: boolean;
      continueCursor: string;
    } = await ctx.runQuery(internal.events.queries.getStoredWindow, { orgId, ...window, cursor });
    if (stored.isOvertaken) return null;
    for (const event of stored.page) compareStored(event, orgId, listing, changes);
    if (stored.isDone) return changes;
    cursor = stored.continueCursor;
  }
}

function describeSync(
  org: Doc<"organizations">,
  counts: SyncCounts,
  invalid: string[],
  isOvertaken: boolean,
): string {
  const numbers = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  return toLogLine(
    `lu.ma sync of "${toLogItem(org.name)}" (${org._id}): ${numbers.join(", ")}.`,
    isOvertaken ? "Overtaken: a sync that began later has finished, so nothing was written." : "",
    listSome("Invalid", invalid),
  );
}

/** Should that fail too, the reason is still what the caller gets. */
async function recordReason(
  ctx: ActionCtx,
  failure: { orgId: Id<"organizations">; reason: string; syncStartedAt: number },
): Promise<void> {
  try {
    await ctx.runMutation(internal.events.mutations.recordSyncError, failure);
  } catch {
    console.error(`Could not write down why the sync failed: ${failure.reason}`);
  }
}

/**
 * Syncs every organization that has a lu.ma key, strictly one after another with a pause of 1 s between them. One
 * organization's failure is recorded and the run goes on. Run daily by the cron, or from the Convex
 * dashboard, with `{}`; the other arguments are for going on where another action of the same run stopped. An
 * action takes organizations on for 2 minutes, then hands the rest over to a scheduled one.
 *
 * Returns what this action did; `isDone` says whether the run ended with it. An organization that was
 * deleted or disconnected in the middle of the run is neither `synced` nor `failed`.
 */
export const runFullEventSync = internalAction({
  args: sliceArgs,
  returns: sliceResult,
  handler: async (ctx, args): Promise<SliceResult> => await runSlice(ctx, args),
});
