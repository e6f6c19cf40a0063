/** What a signed-in member's dashboard shows. */
import { milliseconds } from "date-fns";
import type { Doc } from "../../_generated/dataModel";
import type { QueryCtx } from "../../_generated/server";
import { getOrg, getOwnMemberships, toShownOrg, type OrgId, type ShownOrg } from "../../orgs/app";
import { Budget, mergeByEnd, MIB, queryNotOver, within } from "../boundedReads";
import { inOrderOfStart, toDashboardEvent, type DashboardEvent } from "./shown";

const DASHBOARD_AHEAD_MS = milliseconds({ days: 30 });
const MAX_EVENTS = 50;
// Each list looks at so many events at most. It leaves out those that start later or stand in a list already and, for
// discovery, those of the member's own organizations and of ones that no longer exist.
const MAX_OWN_LOOKED_AT = 1_000;
const MAX_OTHERS_LOOKED_AT = 400;
/** 50 of this module's largest events take 7.2 MiB. Discovery gets the rest of the budget, 4 MiB at least. */
const OWN_BYTES = 10 * MIB;
/** Of the bytes for own events. */
const MEMBERSHIP_BYTES = 4 * MIB;

export async function readDashboard(ctx: QueryCtx, now: number) {
  const budget = new Budget();
  const ownBudget = budget.part(OWN_BYTES);
  const memberships = await getOwnMemberships(ctx, ownBudget.part(MEMBERSHIP_BYTES));
  if (memberships === null) return { userOrgEvents: [], otherOrgEvents: [] };
  const ownOrgIds = new Set(memberships.map((membership) => membership.orgId));
  const latestStart = now + DASHBOARD_AHEAD_MS;

  const lookUpOwn = toLookup(ctx, ownBudget);
  const sources = [...ownOrgIds].map(async function* (orgId) {
    // Reads each organization together with its first event: if all are very large, some are shown rather than none.
    if ((await lookUpOwn(orgId)) !== null) yield* within(ownBudget, queryNotOver(ctx, orgId, now));
  });
  const own = await toList(
    mergeByEnd(sources),
    MAX_OWN_LOOKED_AT,
    lookUpOwn,
    ({ startAt }) => startAt <= latestStart,
  );

  const notOver = ctx.db
    .query("events")
    .withIndex("by_status_over", (q) => q.eq("status", "listed").gt("overAt", now));
  const others = await toList(
    within(budget, notOver),
    MAX_OTHERS_LOOKED_AT,
    toLookup(ctx, budget),
    ({ startAt, orgId, lumaEventId }) =>
      startAt <= latestStart && !ownOrgIds.has(orgId) && !own.has(lumaEventId),
  );
  return {
    userOrgEvents: inOrderOfStart(own.values()),
    otherOrgEvents: inOrderOfStart(others.values()),
  };
}

type Lookup = (orgId: OrgId) => Promise<ShownOrg | null>;

/** Reads each organization once. `null` for one that no longer exists, or that the budget has nothing left for. */
function toLookup(ctx: QueryCtx, budget: Budget): Lookup {
  const known = new Map<OrgId, ShownOrg | null>();
  return async (orgId) => {
    let shown = known.get(orgId);
    if (shown === undefined) {
      const org = budget.isSpent ? null : await getOrg(ctx, orgId);
      if (org !== null) budget.spend(org);
      shown = org && (await toShownOrg(ctx, org));
      known.set(orgId, shown);
    }
    return shown;
  };
}

/** The first 50 that are wanted, by lu.ma id, so that an event of two calendars stands in a list once. */
async function toList(
  events: AsyncIterable<Doc<"events">>,
  maxLookedAt: number,
  lookUpOrg: Lookup,
  isWanted: (event: Doc<"events">) => boolean,
): Promise<Map<string, DashboardEvent>> {
  const list = new Map<string, DashboardEvent>();
  let lookedAt = 0;
  for await (const event of events) {
    if (isWanted(event) && !list.has(event.lumaEventId)) {
      const org = await lookUpOrg(event.orgId);
      if (org !== null) list.set(event.lumaEventId, toDashboardEvent(event, org));
    }
    lookedAt += 1;
    if (list.size === MAX_EVENTS || lookedAt === maxLookedAt) break;
  }
  return list;
}
