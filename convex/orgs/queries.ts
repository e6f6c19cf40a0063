/** Organizations, for a sync and for administrators. */
import { v } from "convex/values";
import { internalQuery } from "../_generated/server";
import { toShownField } from "../events/luma/key";
import { getOrg, orgDocument, orgId, paginateConnectedOrgs } from "../events/organizations";
import { syncStatus, toSyncStatus } from "../events/settings";
import { pick } from "../events/validators";

const STATUS_PAGE_ORGS = 100;

/** An organization with all its fields, or `null`. A key that was written into it by hand is shown as `stored`. */
export const getById = internalQuery({
  args: { orgId },
  returns: v.union(orgDocument, v.null()),
  handler: async (ctx, { orgId }) => {
    const org = await getOrg(ctx, orgId);
    // If the app has turned schema validation off, there may be other fields, which `returns` would reject.
    return org && { ...pick(orgDocument, org), lumaApiKey: toShownField(org) };
  },
});

/** The sync status of the organizations that have a key, in pages of 100 or `numItems`. */
export const getSyncStatus = internalQuery({
  args: { cursor: v.optional(v.union(v.string(), v.null())), numItems: v.optional(v.number()) },
  returns: v.object({
    page: v.array(syncStatus),
    isDone: v.boolean(),
    continueCursor: v.string(),
  }),
  handler: async (ctx, { cursor = null, numItems = STATUS_PAGE_ORGS }) => {
    const found = await paginateConnectedOrgs(ctx, { cursor, numItems });
    const page = await Promise.all(found.page.map((org) => toSyncStatus(ctx, org)));
    return { page, isDone: found.isDone, continueCursor: found.continueCursor };
  },
});
