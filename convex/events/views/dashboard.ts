/** What a signed-in member's dashboard shows. */
import { milliseconds } from "date-fns";
import type { Doc, Id } from "../../_generated/dataModel";
import type { QueryCtx } from "../../_generated/server";
import type { Dashboard, DashboardEvent, ShownOrg } from "../validators";
import { mergeByStart, within } from "./boundedReads";
import { getShownOrg, toShownEvent } from "./shown";

const DASHBOARD_AHEAD_MS = milliseconds({ days: 30 });
const MAX_DASHBOARD_EVENTS = 50;
const MAX_MEMBERSHIPS = 50;
/** The member's own organizations, and ones that no longer exist, are passed over among so many. */
const MAX_DISCOVERY_LOOKED_AT = 400;
/** For each list; with one event of each of 50 organizations read ahead, the two stay below 16 MiB. */
const DASHBOARD_LIST_BYTES = 3.5 * 1024 * 1024;

type OrgId = Id<"organizations">;
type Period = { from: number; until: number };

export async function readDashboard(ctx: QueryCtx, now: number): Promise<Dashboard> {
  const identity = await ctx.auth.getUserIdentity();
  if (identity === null) return { userOrgEvents: [], otherOrgEvents: [] };
  const memberships = await ctx.db
    .query("orgMemberships")
    .withIndex("by_user", (q) => q.eq("userId", identity.subject))
    .take(MAX_MEMBERSHIPS);
  const ownOrgIds = [...new Set(memberships.map((membership) => membership.orgId))];
  const period = { from: now, until: now + DASHBOARD_AHEAD_MS };
  const [userOrgEvents, otherOrgEvents] = await Promise.all([
    getOwnEvents(ctx, ownOrgIds, period),
    getOtherEvents(ctx, ownOrgIds, period),
  ]);
  return { userOrgEvents, otherOrgEvents };
}

async function getOwnEvents(
  ctx: QueryCtx,
  orgIds: OrgId[],
  { from, until }: Period,
): Promise<DashboardEvent[]> {
  const orgs = await getShownOrgs(ctx, orgIds);
  const sources = [...orgs.keys()].map((orgId) =>
    ctx.db
      .query("events")
      .withIndex("by_org_status_start", (q) =>
        q.eq("orgId", orgId).eq("status", "listed").gte("startAt", from).lte("startAt", until),
      ),
  );
  const budget = { documents: MAX_DASHBOARD_EVENTS, bytes: DASHBOARD_LIST_BYTES };
  const own: DashboardEvent[] = [];
  for await (const event of within(budget, mergeByStart(sources))) {
    own.push(...toDashboardEvents([event], orgs));
  }
  return own;
}

async function getOtherEvents(
  ctx: QueryCtx,
  ownOrgIds: OrgId[],
  { from, until }: Period,
): Promise<DashboardEvent[]> {
  const upcoming = ctx.db
    .query("events")
    .withIndex("by_status_start", (q) =>
      q.eq("status", "listed").gte("startAt", from).lte("startAt", until),
    );
  const budget = { documents: MAX_DISCOVERY_LOOKED_AT, bytes: DASHBOARD_LIST_BYTES };
  const others: DashboardEvent[] = [];
  let lookedAt: Doc<"events">[] = [];
  for await (const event of within(budget, upcoming)) {
    if (ownOrgIds.includes(event.orgId)) continue;
    lookedAt.push(event);
    // As many as are missing, so that their organizations are looked up all at once.
    if (others.length + lookedAt.length < MAX_DASHBOARD_EVENTS) continue;
    others.push(...(await withOrgs(ctx, lookedAt)));
    lookedAt = [];
    if (others.length === MAX_DASHBOARD_EVENTS) return others;
  }
  return [...others, ...(await withOrgs(ctx, lookedAt))];
}

async function withOrgs(ctx: QueryCtx, events: Doc<"events">[]): Promise<DashboardEvent[]> {
  const orgIds = new Set(events.map((event) => event.orgId));
  return toDashboardEvents(events, await getShownOrgs(ctx, [...orgIds]));
}

/** Without events of organizations that no longer exist. */
function toDashboardEvents(
  events: Doc<"events">[],
  orgs: ReadonlyMap<OrgId, ShownOrg>,
): DashboardEvent[] {
  return events.flatMap((event) => {
    const org = orgs.get(event.orgId);
    return org === undefined ? [] : [{ ...toShownEvent(event), org }];
  });
}

async function getShownOrgs(ctx: QueryCtx, orgIds: OrgId[]): Promise<Map<OrgId, ShownOrg>> {
  const orgs = await Promise.all(orgIds.map((orgId) => getShownOrg(ctx, orgId)));
  return new Map(orgs.flatMap((org) => (org === null ? [] : [[org._id, org]])));
}
