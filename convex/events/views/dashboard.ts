/** What a signed-in member's dashboard shows. */
import { milliseconds } from "date-fns";
import type { Doc } from "../../_generated/dataModel";
import type { QueryCtx } from "../../_generated/server";
import { getOrg, getOwnMemberships, toShownOrg, type OrgId, type ShownOrg } from "../../orgs/app";
import type { DashboardEvent } from "../validators";
import { mergeByStart, within } from "./boundedReads";
import { toDashboardEvent } from "./shown";

const DASHBOARD_AHEAD_MS = milliseconds({ days: 30 });
const MAX_EVENTS = 50;
// Passed over among so many: events that stand in a list already, and, for discovery, those of the member's own
// organizations and of ones that no longer exist.
const MAX_OWN_LOOKED_AT = 1_000;
const MAX_OTHERS_LOOKED_AT = 400;
/**
 * For each list; with one of this module's largest events read ahead for each of 50 organizations, the two stay below 16 MiB by
 * 2 MiB, which is for the organizations' own documents: 20 kB each.
 */
const LIST_BYTES = 3.5 * 1024 * 1024;

type Period = { from: number; until: number };

export async function readDashboard(ctx: QueryCtx, now: number) {
  const memberships = await getOwnMemberships(ctx);
  if (memberships === null) return { userOrgEvents: [], otherOrgEvents: [] };
  const ownOrgIds = [...new Set(memberships.map((membership) => membership.orgId))];
  const period = { from: now, until: now + DASHBOARD_AHEAD_MS };
  const own = await readOwn(ctx, ownOrgIds, period);
  const others = await readOthers(ctx, { ownOrgIds, own }, period);
  return { userOrgEvents: [...own.values()], otherOrgEvents: [...others.values()] };
}

/** By lu.ma id, so that an event of two calendars stands in a list once; the soonest first. */
type DashboardList = Map<string, DashboardEvent>;

async function readOwn(
  ctx: QueryCtx,
  ownOrgIds: OrgId[],
  { from, until }: Period,
): Promise<DashboardList> {
  const orgs = await getShownOrgs(ctx, ownOrgIds);
  const sources = [...orgs.keys()].map((orgId) =>
    ctx.db
      .query("events")
      .withIndex("by_org_status_start", (q) =>
        q.eq("orgId", orgId).eq("status", "listed").gte("startAt", from).lte("startAt", until),
      ),
  );
  const own: DashboardList = new Map();
  const budget = { documents: MAX_OWN_LOOKED_AT, bytes: LIST_BYTES };
  for await (const event of within(budget, mergeByStart(sources))) {
    addTo(own, [event], orgs);
    if (own.size === MAX_EVENTS) break;
  }
  return own;
}

async function readOthers(
  ctx: QueryCtx,
  { ownOrgIds, own }: { ownOrgIds: OrgId[]; own: DashboardList },
  { from, until }: Period,
): Promise<DashboardList> {
  const upcoming = ctx.db
    .query("events")
    .withIndex("by_status_start", (q) =>
      q.eq("status", "listed").gte("startAt", from).lte("startAt", until),
    );
  const others: DashboardList = new Map();
  let lookedAt: Doc<"events">[] = [];
  const addLookedAt = async () => {
    const orgIds = new Set(lookedAt.map((event) => event.orgId));
    addTo(others, lookedAt, await getShownOrgs(ctx, [...orgIds]));
    lookedAt = [];
  };
  const budget = { documents: MAX_OTHERS_LOOKED_AT, bytes: LIST_BYTES };
  for await (const event of within(budget, upcoming)) {
    if (ownOrgIds.includes(event.orgId) || own.has(event.lumaEventId)) continue;
    lookedAt.push(event);
    // As many as are missing, so that their organizations are looked up all at once.
    if (others.size + lookedAt.length === MAX_EVENTS) await addLookedAt();
    if (others.size === MAX_EVENTS) break;
  }
  await addLookedAt();
  return others;
}

/** Without events of organizations that no longer exist. */
function addTo(list: DashboardList, events: Doc<"events">[], orgs: Map<OrgId, ShownOrg>): void {
  for (const event of events) {
    const org = orgs.get(event.orgId);
    if (org === undefined || list.has(event.lumaEventId)) continue;
    list.set(event.lumaEventId, toDashboardEvent(event, org));
  }
}

async function getShownOrgs(ctx: QueryCtx, orgIds: OrgId[]): Promise<Map<OrgId, ShownOrg>> {
  const orgs = await Promise.all(orgIds.map((orgId) => getOrg(ctx, orgId)));
  return new Map(orgs.flatMap((org) => (org === null ? [] : [[org._id, toShownOrg(org)]])));
}
