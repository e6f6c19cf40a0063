/**
 * The two syncs that can be run: one organization's, and the full run of all of them. Orchestration only: the
 * network is in lumaClient.ts, the database in queries.ts and mutations.ts.
 */
import { ConvexError, v } from "convex/values";
import { internal } from "../_generated/api";
import type { Doc, Id } from "../_generated/dataModel";
import { internalAction, type ActionCtx } from "../_generated/server";
import { hasLumaKey } from "../orgs/lumaKey";
import { findOrgs, syncInTurn } from "./fullRun";
import { describeRun, describeSlice } from "./logLines";
import { syncOrg } from "./orgSync";
import { startOfRun, toChunks, watchFirstSlice } from "./slices";
import { toReason } from "./syncFailures";
import { noSuchOrg } from "./syncGuard";
import {
  runProgress,
  syncCounts,
  syncFailure,
  type RunProgress,
  type SyncCounts,
  type SyncFailure,
} from "./validators";

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
  args: {
    progress: v.optional(runProgress),
    checkId: v.optional(v.id("_scheduled_functions")),
  },
  returns: v.object({ synced: v.number(), failed: v.array(syncFailure), isDone: v.boolean() }),
  handler: async (
    ctx,
    args,
  ): Promise<{ synced: number; failed: SyncFailure[]; isDone: boolean }> => {
    const sliceStartedAt = Date.now();
    const before: RunProgress = args.progress ?? startOfRun(sliceStartedAt);
    const checkId = args.checkId ?? (await watchFirstSlice(ctx, before));

    const orgIds = before.remaining?.flat() ?? (await findOrgs(ctx));
    const { synced, failed, left } = await syncInTurn(ctx, orgIds, sliceStartedAt);
    const progress: RunProgress = {
      ...before,
      remaining: toChunks(left),
      slices: before.slices + 1,
      synced: before.synced + synced,
      failed: before.failed + failed.length,
    };
    console.log(describeSlice(progress, { synced, failed, left: left.length }));

    const isDone = left.length === 0;
    if (isDone) {
      await ctx.scheduler.cancel(checkId);
      console.log(describeRun(progress, Date.now()));
    } else {
      await ctx.runMutation(internal.events.slices.handOver, { checkId, progress });
    }
    return { synced, failed, isDone };
  },
});
