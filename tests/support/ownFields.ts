/** The schema of an app that has a field of its own, of any type, on every table. */
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import schema from "../../convex/schema";

const own = v.optional(v.any());

export const ownFieldsSchema = defineSchema({
  ...schema.tables,
  events: defineTable(schema.tables.events.validator.extend({ own }))
    .index("by_org", ["orgId"])
    .index("by_org_start", ["orgId", "startAt"])
    .index("by_luma_id", ["lumaEventId", "orgId"])
    .index("by_org_over", ["orgId", "overAt"])
    .index("by_org_status_over", ["orgId", "status", "overAt"])
    .index("by_status_over", ["status", "overAt"]),
  organizations: defineTable(schema.tables.organizations.validator.extend({ own }))
    .index("by_slug", ["slug"])
    .index("by_luma_api_key", ["lumaApiKey"]),
  orgMemberships: defineTable(schema.tables.orgMemberships.validator.extend({ own }))
    .index("by_user", ["userId"])
    .index("by_org", ["orgId"]),
});
