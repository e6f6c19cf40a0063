/** What the sync reads, and what visitors and members see. Only `listed` events reach a public query. */
import { v } from "convex/values";
import { internalQuery, query } from "../_generated/server";
import { getSecrets } from "./luma/secrets";
import { nameOf, orgId, paginateConnectedOrgs } from "./organizations";
import { requireRunning, runningSync } from "./queue/syncs";
import { readDashboard } from "./views/dashboard";
import { readOrgPage } from "./views/orgPage";
import { dashboard, orgPage } from "./views/shapes";
import { comparedEvent, pick } from "./validators";

// Far below Convex's limits for a list (8,192 items) and for what a function reads (16 MiB): an app may keep much more
// on a document than this module does.
const PAGE_EVENTS = 1_000;
const PAGE_BYTES = 4 * 1024 * 1024;
const PAGE_ORGS = 1_000;

/**
 * An organization's page, for anyone: the calendar's URL to embed, when its events were last synced (ms), the
 * events that are not over (the first 50 to end, in order of start) and past ones (the last 20, latest end first).
 * `null` when there is no such organization. An event is over at its end, or at its start without one. A description is
 * Markdown from outside: show it with a renderer that takes no HTML. Lists get shorter where the events take more than
 * 4 MiB.
 *
 * @param now ms since 1970, from the client, rounded (to 15 minutes, say): each new value reads everything anew.
 */
export const getOrgEvents = query({
  args: { orgId, now: v.number() },
  returns: v.union(v.null(), orgPage),
  handler: async (ctx, { orgId, now }) => await readOrgPage(ctx, orgId, now),
});

/**
 * A signed-in member's dashboard: events that are on, or start in the next 30 days. One list has those of the member's
 * organizations (of at most 50 memberships), the other, for discovery, those of all others (among the 400 that end
 * first); each has the first 50 to end, in order of start. Nobody signed in: both are empty. Lists get shorter rather
 * than fail when the documents are so large that they come near Convex's limits.
 *
 * @param now ms since 1970, from the client, rounded (to 15 minutes, say): each new value reads everything anew.
 */
export const getDashboardEvents = query({
  args: { now: v.number() },
  returns: dashboard,
  handler: async (ctx, { now }) => await readDashboard(ctx, now),
});

/**
 * A page of the organizations that have a lu.ma key, for administrators: id and name, never the key. Convex's cursor is
 * encrypted, so it gives no key away either.
 */
export const getOrgsWithLumaConfig = internalQuery({
  args: { cursor: v.optional(v.union(v.string(), v.null())), numItems: v.optional(v.number()) },
  returns: v.object({
    page: v.array(v.object({ _id: orgId, name: v.string() })),
    isDone: v.boolean(),
    continueCursor: v.string(),
  }),
  handler: async (ctx, { cursor = null, numItems = PAGE_ORGS }) => {
    const found = await paginateConnectedOrgs(ctx, { cursor, numItems });
    const page = found.page.map((org) => ({ _id: org._id, name: nameOf(org) }));
    return { page, isDone: found.isDone, continueCursor: found.continueCursor };
  },
});

/**
 * The key that is stored for an organization, for its sync: the only function that returns one. `null` if none is.
 *
 * @throws ConvexError with SyncFailure when this sync is not running.
 */
export const getApiKey = internalQuery({
  args: runningSync.fields,
  returns: v.union(v.string(), v.null()),
  handler: async (ctx, sync) => {
    await requireRunning(ctx, sync);
    return (await getSecrets(ctx, sync.orgId)).apiKey ?? null;
  },
});

/** A page of an organization's stored events with an `overAt` of `overAfter` (ms) or later, removed ones included. */
export const getStoredEvents = internalQuery({
  args: { orgId, overAfter: v.number(), cursor: v.union(v.string(), v.null()) },
  returns: v.object({
    page: v.array(comparedEvent),
    isDone: v.boolean(),
    continueCursor: v.string(),
  }),
  handler: async (ctx, { orgId, overAfter, cursor }) => {
    const { page, isDone, continueCursor } = await ctx.db
      .query("events")
      .withIndex("by_org_over", (q) => q.eq("orgId", orgId).gte("overAt", overAfter))
      .paginate({ cursor, numItems: PAGE_EVENTS, maximumBytesRead: PAGE_BYTES });
    return { page: page.map((event) => pick(comparedEvent, event)), isDone, continueCursor };
  },
});
