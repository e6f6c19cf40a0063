/** The full run's work: which organizations there are to sync, and syncing them in turn. */
import { milliseconds } from "date-fns";
import { internal } from "../_generated/api";
import type { Doc, Id } from "../_generated/dataModel";
import type { ActionCtx } from "../_generated/server";
import { hasLumaKey } from "../orgs/lumaKey";
import { ORG_PAUSE_MS } from "./slices";
import { toReason } from "./syncFailures";
import type { SyncFailure } from "./validators";

/** With 7 minutes for the last organization's fetch, no slice comes near 10 minutes. */
const SLICE_TAKES_ON_MS = milliseconds({ minutes: 2 });

/** All organizations that have a lu.ma key, in a stable order. */
export async function findOrgs(ctx: ActionCtx): Promise<Id<"organizations">[]> {
  const orgIds: Id<"organizations">[] = [];
  let cursor: Id<"organizations"> | null = null;
  for (;;) {
    const orgs: {
      page: { _id: Id<"organizations"> }[];
      isDone: boolean;
      continueCursor: Id<"organizations"> | null;
    } = await ctx.runQuery(internal.events.queries.getOrgsWithLumaConfig, { cursor });
    orgIds.push(...orgs.page.map((org) => org._id));
    if (orgs.isDone) return orgIds;
    cursor = orgs.continueCursor;
  }
}

/** Syncs one organization after another for as long as a slice takes them on, but at least one. */
export async function syncInTurn(
  ctx: ActionCtx,
  orgIds: Id<"organizations">[],
  sliceStartedAt: number,
): Promise<{ synced: number; failed: SyncFailure[]; left: Id<"organizations">[] }> {
  let synced = 0;
  const failed: SyncFailure[] = [];
  for (const [index, orgId] of orgIds.entries()) {
    if (index > 0) {
      if (Date.now() + ORG_PAUSE_MS >= sliceStartedAt + SLICE_TAKES_ON_MS) {
        return { synced, failed, left: orgIds.slice(index) };
      }
      await new Promise((resolve) => setTimeout(resolve, ORG_PAUSE_MS));
    }
    const outcome = await syncOneOfRun(ctx, orgId);
    if (outcome === "synced") synced += 1;
    else if (outcome !== "skipped") failed.push(outcome);
  }
  return { synced, failed, left: [] };
}

/** In an action of its own, so that its memory, its time and its crash are its own. */
async function syncOneOfRun(
  ctx: ActionCtx,
  orgId: Id<"organizations">,
): Promise<"synced" | "skipped" | SyncFailure> {
  const syncStartedAt = Date.now();
  try {
    await ctx.runAction(internal.events.sync.syncOrgEvents, { orgId });
    return "synced";
  } catch (error) {
    const org: Doc<"organizations"> | null = await ctx.runQuery(internal.orgs.queries.getById, {
      orgId,
    });
    if (org === null || !hasLumaKey(org)) return "skipped";
    const reason = toReason(error, org);
    // Its action may have been killed before it could write this itself.
    await ctx.runMutation(internal.events.mutations.recordSyncError, {
      orgId,
      reason,
      syncStartedAt,
    });
    return { orgId, name: org.name, reason };
  }
}
