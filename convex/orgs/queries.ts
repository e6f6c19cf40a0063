/** One organization, for the sync. */
import { v } from "convex/values";
import { internalQuery } from "../_generated/server";
import schema from "../schema";

const organizationDocument = schema.tables.organizations.validator.extend({
  _id: v.id("organizations"),
  _creationTime: v.number(),
});

/**
 * The organization with all its fields, or `null`. The only function that returns the lu.ma key: internal, for
 * the sync's own use.
 */
export const getById = internalQuery({
  args: { orgId: v.id("organizations") },
  returns: v.union(organizationDocument, v.null()),
  handler: async (ctx, { orgId }) => await ctx.db.get("organizations", orgId),
});
