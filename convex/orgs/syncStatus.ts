/** How an organization's syncs stand, for administrators. */
import { v, type Infer } from "convex/values";
import type { QueryCtx } from "../_generated/server";
import { calendar, getSync } from "../events/eventSyncs";
import { getQueue } from "../events/queue";
import { getOrgName, orgId, requireOrg, type Org, type OrgId } from "./app";
import { describeLumaKey } from "./lumaKey";

/** Times in ISO 8601, UTC. */
export const syncStatus = v.object({
  orgId,
  name: v.string(),
  /** `env:` and the variable that has the key, or that there is a stored one, or none; never the key. */
  connectedBy: v.string(),
  /** The key's calendar; `null` when it is not known (yet). */
  calendar: v.union(calendar, v.null()),
  /** When the last successful sync began. */
  lastSyncedAt: v.union(v.string(), v.null()),
  /** Why the last sync failed; `null` when it succeeded. */
  error: v.union(v.string(), v.null()),
  /** When the queue syncs it next, rests included; `null`: not before something makes it due. */
  nextSyncAt: v.union(v.string(), v.null()),
});

type SyncStatus = Infer<typeof syncStatus>;

/**
 * How the syncs of one organization stand, for an app's own settings page. The caller must check who may see this.
 *
 * @throws ConvexError when there is no such organization.
 */
export async function readSyncStatus(ctx: QueryCtx, orgId: OrgId): Promise<SyncStatus> {
  return await toSyncStatus(ctx, await requireOrg(ctx, orgId));
}

export async function toSyncStatus(ctx: QueryCtx, org: Org): Promise<SyncStatus> {
  const { restsUntil } = await getQueue(ctx);
  const sync = await getSync(ctx, org._id);
  return {
    orgId: org._id,
    name: getOrgName(org),
    connectedBy: describeLumaKey(org),
    calendar: sync?.calendar ?? null,
    lastSyncedAt: toIso(org.eventsLastSynced),
    error: org.eventsSyncError ?? null,
    nextSyncAt: toIso(sync?.dueAt && Math.max(sync.dueAt, restsUntil)),
  };
}

function toIso(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
