/** Organizations, for the sync and for administrators. */
import { v } from "convex/values";
import { internalQuery, type QueryCtx } from "../_generated/server";
import { getSync } from "../events/eventSyncs";
import { getQueue } from "../events/queue";
import { pick } from "../events/validators";
import { getOrg, getOrgName, orgDocument, orgId, paginateOrgsWithKey } from "./app";
import { describeLumaKey, hasLumaKey } from "./lumaKey";

const STATUS_PAGE_ORGS = 100;
/** An app may keep much on an organization. */
const PAGE_BYTES = 4 * 1024 * 1024;

/** A page of the organizations that have a key: fewer than `numItems` when they are large. */
export async function getConnectedOrgs(
  ctx: QueryCtx,
  options: { cursor: string | null; numItems: number },
) {
  const found = await paginateOrgsWithKey(ctx, { ...options, maximumBytesRead: PAGE_BYTES });
  return { ...found, page: found.page.filter(hasLumaKey) };
}

/**
 * The organization with all its fields, or `null`. The only function that returns the lu.ma key: internal, for
 * the sync's own use.
 */
export const getById = internalQuery({
  args: { orgId },
  returns: v.union(orgDocument, v.null()),
  handler: async (ctx, { orgId }) => {
    const org = await getOrg(ctx, orgId);
    // An app that turns schema validation off may have other fields, which `returns` would refuse.
    return org && pick(orgDocument, org);
  },
});

/**
 * How the syncs stand: a page of the organizations that have a key (100 unless `numItems` says otherwise), each with the
 * variable that it is read from, when the last successful sync began, why the last one failed, and when the queue syncs
 * it next, rests included (`null`: not before something makes it due). Times in ISO 8601, UTC. Never the key.
 */
export const getSyncStatus = internalQuery({
  args: { cursor: v.optional(v.union(v.string(), v.null())), numItems: v.optional(v.number()) },
  returns: v.object({
    page: v.array(
      v.object({
        orgId,
        name: v.string(),
        connectedBy: v.string(),
        lastSyncedAt: v.union(v.string(), v.null()),
        error: v.union(v.string(), v.null()),
        nextSyncAt: v.union(v.string(), v.null()),
      }),
    ),
    isDone: v.boolean(),
    continueCursor: v.string(),
  }),
  handler: async (ctx, { cursor = null, numItems = STATUS_PAGE_ORGS }) => {
    const { page, isDone, continueCursor } = await getConnectedOrgs(ctx, { cursor, numItems });
    const { restsUntil } = await getQueue(ctx);
    const statuses = page.map(async (org) => {
      const sync = await getSync(ctx, org._id);
      return {
        orgId: org._id,
        name: getOrgName(org),
        connectedBy: describeLumaKey(org),
        lastSyncedAt: toIso(org.eventsLastSynced),
        error: org.eventsSyncError ?? null,
        nextSyncAt: toIso(sync?.dueAt && Math.max(sync.dueAt, restsUntil)),
      };
    });
    return { page: await Promise.all(statuses), isDone, continueCursor };
  },
});

function toIso(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
