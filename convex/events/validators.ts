/** Shapes that several functions share, all derived from the schema. */
import { v, type Infer } from "convex/values";
import schema from "../schema";

const storedEvent = schema.tables.events.validator;
const organization = schema.tables.organizations.validator;

export const eventDocument = storedEvent.extend({
  _id: v.id("events"),
  _creationTime: v.number(),
});

/** An event as lu.ma lists it: what a mirror of one calendar can say about it. */
export const listedEvent = storedEvent
  .omit("orgId", "status", "syncedAt", "syncStartedAt")
  .extend({ status: v.union(v.literal("listed"), v.literal("unlisted")) });
export type ListedEvent = Infer<typeof listedEvent>;

/** What visitors may see of a listed event. */
export const publicEvent = storedEvent
  .omit("lumaEventId", "status", "syncedAt", "syncStartedAt")
  .extend({ _id: v.id("events") });
export type PublicEvent = Infer<typeof publicEvent>;

/** What visitors may see of an organization beside its events. */
export const publicOrg = organization
  .pick("name", "slug", "logoUrl")
  .extend({ _id: v.id("organizations") });
export type PublicOrg = Infer<typeof publicOrg>;

export const dashboardEvent = publicEvent.extend({ org: publicOrg });
export type DashboardEvent = Infer<typeof dashboardEvent>;

export const orgPage = v.object({
  calendarUrl: v.union(v.string(), v.null()),
  lastSyncedAt: v.union(v.number(), v.null()),
  upcoming: v.array(publicEvent),
  past: v.array(publicEvent),
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

/**
 * How far a full run has come: all of its state, carried in the arguments of scheduled functions.
 */
export const runProgress = v.object({
  /**
   * The organizations still to be synced, in order; `null` before they were looked up. In chunks, because
   * a Convex array holds 8,192 elements.
   */
  remaining: v.union(v.null(), v.array(v.array(v.id("organizations")))),
  startedAt: v.number(),
  slices: v.number(),
  synced: v.number(),
  failed: v.number(),
});
export type RunProgress = Infer<typeof runProgress>;

export const syncFailure = v.object({
  orgId: v.id("organizations"),
  name: v.string(),
  reason: v.string(),
});
export type SyncFailure = Infer<typeof syncFailure>;
