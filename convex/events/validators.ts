/**
 * Shapes that several functions share, all derived from the schema: which fields are mirrored, and which are shown. A
 * field that the app adds to a table is in none of them.
 */
import { v, type Infer } from "convex/values";
import schema from "../schema";

const storedEvent = schema.tables.events.validator;

export const eventDocument = storedEvent.extend({
  _id: v.id("events"),
  _creationTime: v.number(),
});

/** What is mirrored: all that lu.ma's listing says of an event, and nothing that only the database knows. */
export const mirroredEvent = storedEvent
  .pick(
    "lumaEventId",
    "title",
    "description",
    "startAt",
    "endAt",
    "timezone",
    "coverUrl",
    "url",
    "location",
    "isVirtual",
  )
  .extend({ status: v.union(v.literal("listed"), v.literal("unlisted")) });
export type MirroredEvent = Infer<typeof mirroredEvent>;

/** What visitors are shown of a listed event. */
export const shownEvent = storedEvent
  .pick(
    "orgId",
    "title",
    "description",
    "startAt",
    "endAt",
    "timezone",
    "coverUrl",
    "url",
    "location",
    "isVirtual",
  )
  .extend({ _id: v.id("events") });
export type ShownEvent = Infer<typeof shownEvent>;

/** What visitors are shown of an organization beside its events. */
export const shownOrg = schema.tables.organizations.validator
  .pick("name", "slug", "logoUrl")
  .extend({ _id: v.id("organizations") });
export type ShownOrg = Infer<typeof shownOrg>;

export const dashboardEvent = shownEvent.extend({ org: shownOrg });
export type DashboardEvent = Infer<typeof dashboardEvent>;

export const orgPage = v.object({
  calendarUrl: v.union(v.string(), v.null()),
  lastSyncedAt: v.union(v.number(), v.null()),
  upcoming: v.array(shownEvent),
  past: v.array(shownEvent),
});
export type OrgPage = Infer<typeof orgPage>;

export const dashboard = v.object({
  userOrgEvents: v.array(dashboardEvent),
  otherOrgEvents: v.array(dashboardEvent),
});
export type Dashboard = Infer<typeof dashboard>;

/** `inserted + updated + unchanged` is the number of events given. */
export const upsertCounts = v.object({
  inserted: v.number(),
  updated: v.number(),
  unchanged: v.number(),
});
export type UpsertCounts = Infer<typeof upsertCounts>;

export const syncCounts = v.object({
  /** Distinct valid events in lu.ma's listing. */
  fetched: v.number(),
  ...upsertCounts.fields,
  removed: v.number(),
  /** Entries of the listing that could not be read. */
  invalid: v.number(),
});
export type SyncCounts = Infer<typeof syncCounts>;
