/** What a signed-in member's dashboard shows. */
import { milliseconds } from "date-fns";
import { getDocumentSize } from "convex/values";
import type { Doc } from "../../_generated/dataModel";
import type { QueryCtx } from "../../_generated/server";
import { getOwnMemberships, toShownOrg, type ShownOrg } from "../../lumaApp";
import { getOrg, type OrgId } from "../organizations";
import { toDashboardEvent } from "./shapes";
import { listUpcoming } from "./upcoming";

const DASHBOARD_AHEAD_MS = milliseconds({ days: 30 });
// The most events that start next to read for each list, shown or skipped. Discovery skips the member's own.
const MAX_OWN_NEXT = 300;
const MAX_OTHERS_NEXT = 200;
/** An app's organizations may be large, and a query that reads more than 16 MiB would fail for everybody. */
const MAX_ORG_BYTES = 4 * 1024 * 1024;

export async function readDashboard(ctx: QueryCtx, now: number) {
  const memberships = await getOwnMemberships(ctx);
  if (memberships === null) return { userOrgEvents: [], otherOrgEvents: [] };
  const range = { now, until: now + DASHBOARD_AHEAD_MS };
  const lookUp = toLookup(ctx);
  const ownOrgIds = new Set(memberships.map(({ orgId }) => orgId));
  const orgIds: OrgId[] = [];
  for (const orgId of ownOrgIds) if ((await lookUp(orgId)) !== null) orgIds.push(orgId);

  const toShown = async (event: Doc<"events">) => {
    const org = await lookUp(event.orgId);
    return org && toDashboardEvent(event, org);
  };
  const own = await listUpcoming(ctx, { orgIds, ...range, maxNext: MAX_OWN_NEXT }, toShown);
  const all = { orgIds: "all" as const, ...range, maxNext: MAX_OTHERS_NEXT };
  const others = await listUpcoming(ctx, all, async (event) => {
    const isOwn = ownOrgIds.has(event.orgId) || own.has(event.lumaEventId);
    return isOwn ? null : await toShown(event);
  });
  return { userOrgEvents: [...own.values()], otherOrgEvents: [...others.values()] };
}

/**
 * Reads each organization once. `null` if it is deleted, hidden from this visitor, or not read because the 4 MiB are
 * used up.
 */
function toLookup(ctx: QueryCtx): (orgId: OrgId) => Promise<ShownOrg | null> {
  const known = new Map<OrgId, ShownOrg | null>();
  let bytes = 0;
  return async (orgId) => {
    let shown = known.get(orgId);
    if (shown === undefined) {
      const org = bytes < MAX_ORG_BYTES ? await getOrg(ctx, orgId) : null;
      if (org !== null) bytes += getDocumentSize(org);
      shown = org !== null && bytes < MAX_ORG_BYTES ? await toShownOrg(ctx, org) : null;
      known.set(orgId, shown);
    }
    return shown;
  };
}
