/** What the sync reads, and what visitors and members see. Only `listed` events reach a public query. */
import { v } from "convex/values";
import type { Doc, Id } from "../_generated/dataModel";
import { internalQuery, query, type QueryCtx } from "../_generated/server";
import { readDashboard } from "./views/dashboard";
import { readOrgPage } from "./views/orgPage";
import { maySyncWrite } from "./syncGuard";
import { dashboard, eventDocument, orgPage } from "./validators";

const WINDOW_PAGE_EVENTS = 1_000;
const WINDOW_PAGE_BYTES = 4 * 1024 * 1024;
/** An app may keep much more on an organization than this module does: 60 kB each stay within the limits. */
const ORGS_PAGE = 250;

/**
 * An organization's page, for anyone: the calendar's URL to embed, when its events were last synced (ms), the
 * events that have not ended (at most 50, soonest first; among those that have begun, the 100 that began last are
 * looked at) and past ones (at most 20, latest first). `null` when there is no such organization. Lists get
 * shorter rather than fail when the events are so large that they come near Convex's limits.
 *
 * @param now ms since 1970, from the client, rounded (to the minute, say) so that results can be cached.
 */
export const getOrgEvents = query({
  args: { orgId: v.id("organizations"), now: v.number() },
  returns: v.union(v.null(), orgPage),
  handler: async (ctx, { orgId, now }) => await readOrgPage(ctx, orgId, now),
});

/**
 * A signed-in member's dashboard: events that start in the next 30 days, soonest first, at most 50 a list; those of
 * the member's organizations (at most 50 memberships are considered) and, for discovery, those of all others
 * (looked for among the 400 that start first). Nobody signed in: both lists are empty. Lists get shorter rather
 * than fail when the events are so large that they come near Convex's limits.
 *
 * @param now ms since 1970, from the client, rounded (to the minute, say) so that results can be cached.
 */
export const getDashboardEvents = query({
  args: { now: v.number() },
  returns: dashboard,
  handler: async (ctx, { now }) => await readDashboard(ctx, now),
});

/**
 * A page of the organizations that have a lu.ma key, for the full run: reads only those, and never returns the
 * key. The cursor is the last organization's id, because a database cursor over this index would hold keys.
 *
 * @throws Error when the organization at the cursor was deleted or disconnected meanwhile: start again.
 */
export const getOrgsWithLumaConfig = internalQuery({
  args: {
    cursor: v.optional(v.union(v.id("organizations"), v.null())),
    numItems: v.optional(v.number()),
  },
  returns: v.object({
    page: v.array(v.object({ _id: v.id("organizations"), name: v.string() })),
    isDone: v.boolean(),
    continueCursor: v.union(v.id("organizations"), v.null()),
  }),
  handler: async (ctx, { cursor, numItems = ORGS_PAGE }) => {
    const orgs = await readOrgsAfter(ctx, cursor ?? null, numItems);
    return {
      page: orgs.map(({ _id, name }) => ({ _id, name })),
      isDone: orgs.length < numItems,
      continueCursor: orgs.at(-1)?._id ?? cursor ?? null,
    };
  },
});

async function readOrgsAfter(
  ctx: QueryCtx,
  cursor: Id<"organizations"> | null,
  numItems: number,
): Promise<Doc<"organizations">[]> {
  const last = cursor === null ? null : await ctx.db.get("organizations", cursor);
  if (cursor !== null && last?.lumaApiKey === undefined) {
    throw new Error(
      `The organization ${cursor} is no longer connected: list the organizations anew.`,
    );
  }
  // setLumaConfig lets no two organizations have one key, but a key can be written without it.
  const withSameKey =
    last === null
      ? []
      : await ctx.db
          .query("organizations")
          .withIndex("by_luma_api_key", (q) =>
            q.eq("lumaApiKey", last.lumaApiKey).gt("_creationTime", last._creationTime),
          )
          .take(numItems);
  if (withSameKey.length === numItems) return withSameKey;
  const withLaterKey = await ctx.db
    .query("organizations")
    .withIndex("by_luma_api_key", (q) => q.gt("lumaApiKey", last?.lumaApiKey))
    .take(numItems - withSameKey.length);
  return [...withSameKey, ...withLaterKey];
}

/**
 * A page of an organization's stored events that start between `after` and `before` (ms, both excluded), removed
 * ones included, for a sync that began at `syncStartedAt` (ms). `isOvertaken`: a sync that began later has
 * finished, and this one has nothing more to do.
 *
 * @throws ConvexError when the organization was deleted or disconnected.
 */
export const getStoredWindow = internalQuery({
  args: {
    orgId: v.id("organizations"),
    after: v.number(),
    before: v.number(),
    syncStartedAt: v.number(),
    cursor: v.union(v.string(), v.null()),
  },
  returns: v.object({
    isOvertaken: v.boolean(),
    page: v.array(eventDocument),
    isDone: v.boolean(),
    continueCursor: v.string(),
  }),
  handler: async (ctx, { orgId, after, before, syncStartedAt, cursor }) => {
    if (!(await maySyncWrite(ctx, orgId, syncStartedAt))) {
      return { isOvertaken: true, page: [], isDone: true, continueCursor: "" };
    }
    const { page, isDone, continueCursor } = await ctx.db
      .query("events")
      .withIndex("by_org_start", (q) =>
        q.eq("orgId", orgId).gt("startAt", after).lt("startAt", before),
      )
      .paginate({
        cursor,
        numItems: WINDOW_PAGE_EVENTS,
        maximumBytesRead: WINDOW_PAGE_BYTES,
      });
    return { isOvertaken: false, page, isDone, continueCursor };
  },
});
