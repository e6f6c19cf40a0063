/** What a signed-in member's dashboard shows. */
import { milliseconds } from "date-fns";
import type { Id } from "../_generated/dataModel";
import type { QueryCtx } from "../_generated/server";
import { mergeByStart, readWithin } from "./boundedReads";
import { getPublicOrg, toPublicEvent } from "./publicShapes";
import type { Dashboard, DashboardEvent, PublicOrg } from "./validators";

const DASHBOARD_AHEAD_MS = milliseconds({ days: 30 });
const MAX_DASHBOARD_EVENTS = 50;
const MAX_MEMBERSHIPS = 50;
/** The member's own organizations, and ones that no longer exist, are passed over among so many. */
const MAX_DISCOVERY_LOOKED_AT = 400;
/** For each list; with one event of each of 50 organizations read ahead, the two stay below 16 MiB. */
const DASHBOARD_LIST_BYTES = 3.5 * 1024 * 1024;

export async function readDashboard(ctx: QueryCtx, now: number): Promise<Dashboard> {
  const identity = await ctx.auth.getUserIdentity();
  if (identity === null) return { userOrgEvents: [], otherOrgEvents: [] };
  const memberships = await ctx.db
    .query("orgMemberships")
    .withIndex("by_user", (q) => q.eq("userId", identity.subject))
    .take(MAX_MEMBERSHIPS);
  const ownOrgIds = new Set(memberships.map((membership) => membership.orgId));
  const until = now + DASHBOARD_AHEAD_MS;
  return {
    userOrgEvents: await getOwnEvents(ctx, ownOrgIds, now, until),
    otherOrgEvents: await getOtherEvents(ctx, ownOrgIds, now, until),
  };
}

async function getOwnEvents(
  ctx: QueryCtx,
  orgIds: ReadonlySet<Id<"organizations">>,
  from: number,
  until: number,
): Promise<DashboardEvent[]> {
  const orgs = new Map<Id<"organizations">, PublicOrg>();
  for (const orgId of orgIds) {
    const org = await getPublicOrg(ctx, orgId);
    if (org !== null) orgs.set(orgId, org);
  }
  const sources = [...orgs.keys()].map((orgId) =>
    ctx.db
      .query("events")
      .withIndex("by_org_status_start", (q) =>
        q.eq("orgId", orgId).eq("status", "listed").gte("startAt", from).lte("startAt", until),
      ),
  );
  const budget = { documents: MAX_DASHBOARD_EVENTS, bytes: DASHBOARD_LIST_BYTES };
  const events = await mergeByStart(sources, budget);
  return events.flatMap((event) => {
    const org = orgs.get(event.orgId);
    return org === undefined ? [] : [{ ...toPublicEvent(event), org }];
  });
}

async function getOtherEvents(
  ctx: QueryCtx,
  ownOrgIds: ReadonlySet<Id<"organizations">>,
  from: number,
  until: number,
): Promise<DashboardEvent[]> {
  const orgs = new Map<Id<"organizations">, PublicOrg | null>();
  const others: DashboardEvent[] = [];
  const upcoming = ctx.db
    .query("events")
    .withIndex("by_status_start", (q) =>
      q.eq("status", "listed").gte("startAt", from).lte("startAt", until),
    );
  await readWithin(
    upcoming,
    { documents: MAX_DISCOVERY_LOOKED_AT, bytes: DASHBOARD_LIST_BYTES },
    async (event) => {
      if (ownOrgIds.has(event.orgId)) return;
      if (!orgs.has(event.orgId)) orgs.set(event.orgId, await getPublicOrg(ctx, event.orgId));
      const org = orgs.get(event.orgId);
      if (org) others.push({ ...toPublicEvent(event), org });
    },
    () => others.length === MAX_DASHBOARD_EVENTS,
  );
  return others;
}
