/** Organizations, for the sync and for administrators. */
import { v } from "convex/values";
import { internalQuery } from "../_generated/server";
import { pick } from "../events/validators";
import { getOrg, orgDocument, orgId, paginateOrgsWithKey, toShownOrg } from "./app";
import { describeLumaKey, hasLumaKey } from "./lumaKey";

const STATUS_PAGE_ORGS = 100;
/** An app may keep much on an organization. */
const PAGE_BYTES = 4 * 1024 * 1024;

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
 * How the syncs went: a page of the organizations that have a key (100 unless `numItems` says otherwise), each with the
 * variable that it is read from, when the last successful sync began (ISO 8601, UTC) and why the last one failed. Never
 * the key.
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
      }),
    ),
    isDone: v.boolean(),
    continueCursor: v.string(),
  }),
  handler: async (ctx, { cursor = null, numItems = STATUS_PAGE_ORGS }) => {
    const options = { cursor, numItems, maximumBytesRead: PAGE_BYTES };
    const { page, isDone, continueCursor } = await paginateOrgsWithKey(ctx, options);
    return {
      page: page.filter(hasLumaKey).map((org) => ({
        orgId: org._id,
        name: toShownOrg(org).name,
        connectedBy: describeLumaKey(org),
        lastSyncedAt:
          org.eventsLastSynced === undefined ? null : new Date(org.eventsLastSynced).toISOString(),
        error: org.eventsSyncError ?? null,
      })),
      isDone,
      continueCursor,
    };
  },
});
