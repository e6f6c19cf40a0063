/**
 * The module's tables, for an app to spread into its schema, and the fields that the module adds to the app's
 * organizations. All times are ms since 1970, UTC. Validators and types elsewhere are derived from the app's schema.
 */
import { defineTable, type TableDefinition } from "convex/server";
import {
  v,
  type GenericId,
  type ObjectType,
  type PropertyValidators,
  type VId,
  type VObject,
} from "convex/values";

/** For the app's table of organizations, which also needs the index `by_luma_api_key` on `lumaApiKey`. */
export const lumaOrgFields = {
  /** The calendar's page to embed. Works without a key. */
  lumaCalendarUrl: v.optional(v.string()),
  /**
   * Where the key is: `stored` (in `lumaSecrets`), or `env:NAME` for an environment variable of the deployment. If
   * somebody writes a key here by hand, the next sync moves it to `lumaSecrets`.
   */
  lumaApiKey: v.optional(v.string()),
  /** When the last successful sync began. */
  eventsLastSynced: v.optional(v.number()),
  /** Why the last sync failed, or what it could not check; absent if there is nothing to report. */
  eventsSyncError: v.optional(v.string()),
};

/** A calendar on lu.ma. */
export const calendar = v.object({ id: v.string(), name: v.string() });

/**
 * All of the module's tables.
 *
 * @param orgId the validator of the app's organizations: `v.id("organizations")`.
 */
export function lumaTables<OrgId extends GenericId<string>>(orgId: VId<OrgId>) {
  return {
    events: eventsTable(orgId),

    /** Separate from the events, so that no dashboard reads them. Only mutations.ts writes here. */
    eventDescriptions: defineTable({
      eventId: v.id("events"),
      orgId,
      /** Untrusted Markdown: use a renderer that ignores HTML. */
      text: v.string(),
    })
      .index("by_event", ["eventId"])
      .index("by_org", ["orgId"]),

    /**
     * When each organization is due, and which of its syncs may write: one document each. Written through
     * queue/syncs.ts.
     */
    eventSyncs: defineTable({
      orgId,
      /** The id of the sync that may write; absent if none may. */
      running: v.optional(v.string()),
      /** When the last sync began. */
      startedAt: v.optional(v.number()),
      /**
       * When the queue should sync it; absent until something makes it due. While a sync is running, this is its lease:
       * when the organization is due again if the sync never reports back.
       */
      dueAt: v.optional(v.number()),
      /** Somebody is waiting for it. */
      isUrgent: v.optional(v.literal(true)),
      /** When it is due next, because something made it due while a sync was running. */
      dueAgainAt: v.optional(v.number()),
      /** When something last made it due, if it hasn't been synced successfully since. Retries are timed from here. */
      failingSince: v.optional(v.number()),
      /** The calendar that the key belongs to, as of the last successful sync; absent if it isn't known. */
      calendar: v.optional(calendar),
      /** When lu.ma's last valid webhook call came, to within a minute. */
      webhookCalledAt: v.optional(v.number()),
    })
      .index("by_org", ["orgId"])
      .index("by_urgency_due", ["isUrgent", "dueAt"]),

    /** The state of the queue's worker: one document. Only queue/worker.ts writes here. */
    eventSyncQueue: defineTable({
      /** The organization that the queue is syncing. */
      current: v.optional(v.object({ orgId, takenAt: v.number() })),
      /** The one scheduled call of the worker. */
      next: v.optional(v.object({ at: v.number(), id: v.id("_scheduled_functions") })),
      /** The queue begins no sync before this time. */
      pausedUntil: v.optional(v.number()),
      /** Whether the last organization that it took was urgent: urgent ones and others take turns. */
      wasUrgent: v.optional(v.boolean()),
    }),

    /** Only luma/secrets.ts reads and writes here. Never return a document of this table. */
    lumaSecrets: defineTable({
      orgId,
      apiKey: v.optional(v.string()),
      /** The secret itself, or `env:NAME`. */
      webhookSecret: v.optional(v.string()),
    }).index("by_org", ["orgId"]),
  };
}

/**
 * The table `events` with additional fields of the app's own. Put it after the spread of `lumaTables`. The fields must
 * be optional, because a sync inserts events without them. It never changes them.
 */
export function lumaEvents<OrgId extends GenericId<string>, Own extends PropertyValidators>(
  orgId: VId<OrgId>,
  ownFields: Own,
) {
  const table = eventsTable(orgId, ownFields);
  return table as unknown as WithFields<typeof table, Own>;
}

type WithFields<Table, Own extends PropertyValidators> =
  Table extends TableDefinition<
    VObject<infer Type, infer Fields, "required", infer Paths>,
    infer Indexes
  >
    ? TableDefinition<
        VObject<Type & ObjectType<Own>, Fields & Own, "required", Paths | (keyof Own & string)>,
        Indexes
      >
    : never;

/** An event on two calendars has one document per organization. Only mutations.ts writes here. */
function eventsTable<OrgId extends GenericId<string>>(orgId: VId<OrgId>, ownFields: object = {}) {
  return (
    defineTable({
      ...ownFields,
      orgId,
      lumaEventId: v.string(),
      title: v.string(),
      startAt: v.number(),
      endAt: v.optional(v.number()),
      /** The end, or the start if there is no end. */
      overAt: v.number(),
      /** Whether it lasts more than 24 hours. */
      isLong: v.boolean(),
      /** An IANA name, for display. */
      timezone: v.string(),
      coverUrl: v.optional(v.string()),
      url: v.string(),
      location: v.optional(v.string()),
      isVirtual: v.boolean(),
      /** Only `listed` events reach a public query. */
      status: v.union(v.literal("listed"), v.literal("unlisted"), v.literal("removed")),
      /** Whether the description was requested from lu.ma, whatever it answered. */
      isDescribed: v.boolean(),
      /** When this document was last written. */
      syncedAt: v.number(),
    })
      .index("by_luma_id", ["lumaEventId", "orgId"])
      .index("by_org", ["orgId"])
      // Not used by the module: it's there for an app's own queries.
      .index("by_org_start", ["orgId", "startAt"])
      // For a sync, which compares the stored events with lu.ma's list.
      .index("by_org_over", ["orgId", "overAt"])
      // For the public queries, which never read events that they must not show.
      .index("by_org_status_start", ["orgId", "status", "startAt"])
      .index("by_status_start", ["status", "startAt"])
      .index("by_org_status_long_over", ["orgId", "status", "isLong", "overAt"])
      .index("by_status_long_over", ["status", "isLong", "overAt"])
  );
}
