/** An example of an app's schema: its own tables, and the module's. */
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { lumaOrgFields, lumaTables } from "./events/tables";

export default defineSchema({
  organizations: defineTable({
    name: v.string(),
    slug: v.optional(v.string()),
    logoUrl: v.optional(v.string()),
    ...lumaOrgFields,
  })
    .index("by_slug", ["slug"])
    .index("by_luma_api_key", ["lumaApiKey"]),

  orgMemberships: defineTable({
    /** See `getOwnMemberships` in lumaApp.ts. */
    userId: v.string(),
    orgId: v.id("organizations"),
    role: v.union(v.literal("admin"), v.literal("member")),
  }).index("by_user", ["userId"]),

  ...lumaTables(v.id("organizations")),
});
