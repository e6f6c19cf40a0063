/** What a sync reads, and what visitors and members see. Only `listed` events reach a public query. */
import { v } from "convex/values";
import { internalQuery, query } from "../_generated/server";
import { getSecrets } from "./luma/secrets";
import { nameOf, orgId, paginateConnectedOrgs } from "./organizations";
import { requireRunning, runningSync } from "./queue/syncs";
import { readDashboard } from "./views/dashboard";
import { readOrgPage } from "./views/orgPage";
import { dashboard, orgPage } from "./views/shapes";
import { comparedEvent, pick } from "./validators";

// Far below Convex's limits for a list (8,192 items) and for what a function reads (16 MiB), because an app's own fields
// may be large.
const PAGE_EVENTS = 1_000;
const PAGE_BYTES = 4 * 1024 * 1024;
const PAGE_ORGS = 1_000;

/**
 * An organization's page, for anyone: the calendar's URL to embed, when its events were last synced (ms since 1970,
 * UTC), up to 50 upcoming events in order of start (see views/upcoming.ts for which ones), and the 20 that ended last,
 * latest first. `null` if there is no such organization, or if `toShownOrg` hides it from this visitor.
 *
 * An event is over at its end, or at its start if it has no end. A description is Markdown from outside: show it with a
 * renderer that takes no HTML.
 *
 * @param now ms since 1970, from the client and rounded, say to 15 minutes: every new value runs the query again.
 */
export const getOrgEvents = query({
  args: { orgId, now: v.number() },
  returns: v.union(v.null(), orgPage),
  handler: async (ctx, { orgId, now }) => await readOrgPage(ctx, orgId, now),
});

/**
 * A signed-in member's dashboard: events that are on, or start within 30 days. `userOrgEvents` are from the member's
 * own organizations (up to 50), and `otherOrgEvents`, for discovery, from all others. Each list has up to 50 events in
 * order of start; see views/upcoming.ts for which ones. Both are empty if nobody is signed in. Organizations that
 * `toShownOrg` hides from the member are left out, and so are those beyond the first 4 MiB of organizations.
 *
 * @param now ms since 1970, from the client and rounded, say to 15 minutes: every new value runs the query again.
 */
export const getDashboardEvents = query({
  args: { now: v.number() },
  returns: dashboard,
  handler: async (ctx, { now }) => await readDashboard(ctx, now),
});

/**
 * A page of the organizations that have a lu.ma key: id and name, never the key. Convex encrypts the cursor, which
 * would otherwise show the indexed `lumaApiKey`.
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
 * An organization's stored key, for its sync, or `null`. This is the only function that returns a key.
 *
 * @throws ConvexError with SyncFailure if this sync isn't running.
 */
export const getApiKey = internalQuery({
  args: runningSync.fields,
  returns: v.union(v.string(), v.null()),
  handler: async (ctx, sync) => {
    await requireRunning(ctx, sync);
    return (await getSecrets(ctx, sync.orgId)).apiKey ?? null;
  },
});

/** A page of an organization's stored events, including removed ones, whose `overAt` is `overAfter` (ms) or later. */
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
