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
    startAt: v.number(),
    endAt: v.optional(v.number()),
    /** The end, or the start where lu.ma gives no end. */
    overAt: v.number(),
    /** It takes longer than 24 hours. */
    isLong: v.boolean(),
    /** An IANA name, for display. */
    timezone: v.string(),
    coverUrl: v.optional(v.string()),
    url: v.string(),
    location: v.optional(v.string()),
    isVirtual: v.boolean(),
    /** Only `listed` events reach a public query. */
    status: v.union(v.literal("listed"), v.literal("unlisted"), v.literal("removed")),
    /** Whether lu.ma was asked for the description, whatever it answered. */
    isDescribed: v.boolean(),
    /** When this document was last written. */
    syncedAt: v.number(),
  })
    .index("by_luma_id", ["lumaEventId", "orgId"])
    .index("by_org", ["orgId"])
    // The module itself doesn't need this one; it is there for an app's own queries.
    .index("by_org_start", ["orgId", "startAt"])
    // For a sync, which compares what is stored with lu.ma's list.
    .index("by_org_over", ["orgId", "overAt"])
    // For the public queries, which never read what they may not show.
    .index("by_org_status_start", ["orgId", "status", "startAt"])
    .index("by_status_start", ["status", "startAt"])
    .index("by_org_status_long_over", ["orgId", "status", "isLong", "overAt"])
    .index("by_status_long_over", ["status", "isLong", "overAt"]),

  /** Apart from the events, so that no dashboard reads them. Only events/mutations.ts writes here. */
  eventDescriptions: defineTable({
    eventId: v.id("events"),
    orgId: v.id("organizations"),
    /** lu.ma's Markdown, from outside: for a renderer that takes no HTML. */
    text: v.string(),
  })
    .index("by_event", ["eventId"])
    .index("by_org", ["orgId"]),

  /** When each organization is synced, and which of its syncs may write. One document each; only events/queue/ writes. */
  eventSyncs: defineTable({
    orgId: v.id("organizations"),
    /** The id of the sync that may write; absent: none. */
    running: v.optional(v.string()),
    /** When the last sync began. */
    startedAt: v.optional(v.number()),
    /**
     * When the queue should sync it; absent: not before something makes it due. While a sync is running, this is its
     * lease: when the organization is due again if the sync never reports back.
     */
    dueAt: v.optional(v.number()),
    /** Somebody is waiting for it. */
    isUrgent: v.optional(v.literal(true)),
    /** When it is due again, because something made it due while a sync was running. */
    dueAgainAt: v.optional(v.number()),
    /** Since when it has been due without a success. Retries are counted from here. */
    failingSince: v.optional(v.number()),
    /** The calendar of the organization's key; absent: not known. */
    calendar: v.optional(v.object({ id: v.string(), name: v.string() })),
  })
    .index("by_org", ["orgId"])
    .index("by_urgency_due", ["isUrgent", "dueAt"]),

  /** The state of the queue's worker: one document. Only events/queue/worker.ts writes it. */
  eventSyncQueue: defineTable({
    /** The organization that the queue is syncing. */
    current: v.optional(v.object({ orgId: v.id("organizations"), takenAt: v.number() })),
    /** The one scheduled call of the worker. */
    next: v.optional(v.object({ at: v.number(), id: v.id("_scheduled_functions") })),
    /** The queue begins no sync before. */
    pausedUntil: v.optional(v.number()),
    /** Whether the last organization that it took was urgent: urgent ones and others take turns. */
    wasUrgent: v.optional(v.boolean()),
  }),
});
