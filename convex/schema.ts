/**
 * The tables and their indexes: arguments, results and types elsewhere derive from here. All times are ms since 1970,
 * UTC. An app may add fields and indexes of its own to each table.
 */
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  organizations: defineTable({
    name: v.string(),
    slug: v.optional(v.string()),
    logoUrl: v.optional(v.string()),
    /** The calendar's page to embed; works without a key. */
    lumaCalendarUrl: v.optional(v.string()),
    /** The key itself, or `env:NAME` for the deployment's environment variable that holds it. */
    lumaApiKey: v.optional(v.string()),
    /** When the last successful sync began. */
    eventsLastSynced: v.optional(v.number()),
    /** Why the last sync failed; absent when it succeeded. */
    eventsSyncError: v.optional(v.string()),
  })
    .index("by_slug", ["slug"])
    // A missing field sorts before every value, so a range over this index skips organizations without a key.
    .index("by_luma_api_key", ["lumaApiKey"]),

  orgMemberships: defineTable({
    /** See `getOwnMemberships` in orgs/app.ts. */
    userId: v.string(),
    orgId: v.id("organizations"),
    role: v.union(v.literal("admin"), v.literal("member")),
  }).index("by_user", ["userId"]),

  /** An event of two calendars has a document for each organization. Only events/mutations.ts writes here. */
  events: defineTable({
    orgId: v.id("organizations"),
    lumaEventId: v.string(),
    title: v.string(),
    /**
     * lu.ma's Markdown, from outside: for a renderer that takes no HTML. Absent: lu.ma was not asked for it yet. Empty:
     * lu.ma gave none.
     */
    description: v.optional(v.string()),
    startAt: v.number(),
    endAt: v.optional(v.number()),
    /** The end, or the start where lu.ma gives no end. */
    overAt: v.number(),
    /** An IANA name, for display. */
    timezone: v.string(),
    coverUrl: v.optional(v.string()),
    url: v.string(),
    location: v.optional(v.string()),
    isVirtual: v.boolean(),
    /** Only `listed` events reach a public query. */
    status: v.union(v.literal("listed"), v.literal("unlisted"), v.literal("removed")),
    /** When this document was last written. */
    syncedAt: v.number(),
  })
    // The next index would do as well; the plan names this one.
    .index("by_org", ["orgId"])
    .index("by_org_start", ["orgId", "startAt"])
    .index("by_luma_id", ["lumaEventId", "orgId"])
    .index("by_org_over", ["orgId", "overAt"])
    // For the public queries: they never read what they may not show.
    .index("by_org_status_over", ["orgId", "status", "overAt"])
    .index("by_status_over", ["status", "overAt"]),

  /**
   * The syncs of each organization, one document for each. No visitor's query reads it; only events/eventSyncs.ts
   * writes it.
   */
  eventSyncs: defineTable({
    orgId: v.id("organizations"),
    /** The number of the sync that began last. */
    lastNumber: v.number(),
    /** When that one began. */
    startedAt: v.optional(v.number()),
    /** The number of the last sync that succeeded with this key. */
    syncedNumber: v.optional(v.number()),
    /** Syncs up to this number write nothing more: they failed, were lost, or the key was set. */
    endedThrough: v.optional(v.number()),
    /** The key's calendar; absent: not known. */
    calendar: v.optional(v.object({ id: v.string(), name: v.string() })),
    /** When the organization is due; absent: not before something makes it due. */
    dueAt: v.optional(v.number()),
    /** How many syncs in a row failed in passing. */
    failures: v.optional(v.number()),
  })
    .index("by_org", ["orgId"])
    .index("by_due", ["dueAt"]),

  /** The state of the queue's worker, one document in all. Only events/queue.ts writes it. */
  eventSyncQueue: defineTable({
    /** The sync that is under way, and the check that ends it if it is lost. */
    current: v.optional(
      v.object({
        orgId: v.id("organizations"),
        syncNumber: v.number(),
        lostAt: v.number(),
        checkId: v.id("_scheduled_functions"),
      }),
    ),
    /** The next call of the worker, and when. */
    next: v.optional(v.object({ at: v.number(), id: v.id("_scheduled_functions") })),
    /** The queue begins no sync before. */
    restsUntil: v.number(),
    /** Organizations in a row that lu.ma did not serve, each with another key. */
    unserved: v.array(v.id("organizations")),
    /** Syncs since the queue was last empty, for the log. */
    synced: v.number(),
    failed: v.number(),
  }),
});
