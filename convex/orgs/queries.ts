/** Organizations, for the sync and for administrators. */
import { v } from "convex/values";
import { internalQuery, type QueryCtx } from "../_generated/server";
import { pick } from "../events/validators";
import { getOrg, orgDocument, orgId, paginateOrgsWithKey } from "./app";
import { hasLumaKey } from "./lumaKey";
import { syncStatus, toSyncStatus } from "./syncStatus";

const PAGE_ORGS = 1_000;
const STATUS_PAGE_ORGS = 100;
/** An app may keep much on an organization. */
const PAGE_BYTES = 4 * 1024 * 1024;

/** A page of the organizations that have a key: fewer than `numItems` when they are large. */
export async function getConnectedOrgs(
  ctx: QueryCtx,
  { cursor, numItems = PAGE_ORGS }: { cursor: string | null; numItems?: number },
) {
  const options = { cursor, numItems, maximumBytesRead: PAGE_BYTES };
  const found = await paginateOrgsWithKey(ctx, options);
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
 * A page of the organizations that have a key (100 unless `numItems` says otherwise), and how their syncs stand: see
 * syncStatus.ts.
 */
export const getSyncStatus = internalQuery({
  args: { cursor: v.optional(v.union(v.string(), v.null())), numItems: v.optional(v.number()) },
  returns: v.object({
    page: v.array(syncStatus),
    isDone: v.boolean(),
    continueCursor: v.string(),
  }),
  handler: async (ctx, { cursor = null, numItems = STATUS_PAGE_ORGS }) => {
    const { page, isDone, continueCursor } = await getConnectedOrgs(ctx, { cursor, numItems });
    const statuses = await Promise.all(page.map((org) => toSyncStatus(ctx, org)));
    return { page: statuses, isDone, continueCursor };
  },
});
