/** What an organization's page shows. */
import type { Doc } from "../../_generated/dataModel";
import type { QueryCtx } from "../../_generated/server";
import { getOrg, type OrgId } from "../../orgs/app";
import { toHttpUrl } from "../text";
import { Budget, MIB, queryNotOver, within } from "../boundedReads";
import { inOrderOfStart, toOrgPageEvent, type OrgPageEvent } from "./shown";

const MAX_UPCOMING = 50;
const MAX_PAST = 20;
/** Anyone may read the page, at the deployment's cost. 70 events with descriptions of 50,000 Latin letters fit. */
const EVENT_BYTES = 4 * MIB;

export async function readOrgPage(ctx: QueryCtx, orgId: OrgId, now: number) {
  const org = await getOrg(ctx, orgId);
  if (org === null) return null;
  const over = ctx.db
    .query("events")
    .withIndex("by_org_status_over", (q) =>
      q.eq("orgId", orgId).eq("status", "listed").lte("overAt", now),
    )
    .order("desc");
  const budget = new Budget(EVENT_BYTES);
  // One after the other: past events get what the upcoming ones leave.
  const upcoming = await toShown(within(budget, queryNotOver(ctx, orgId, now), MAX_UPCOMING));
  const past = await toShown(within(budget, over, MAX_PAST));
  return {
    // An app's own mutation may have stored anything, "javascript:" for one.
    calendarUrl: toHttpUrl(org.lumaCalendarUrl) ?? null,
    lastSyncedAt: org.eventsLastSynced ?? null,
    upcoming: inOrderOfStart(upcoming),
    past,
  };
}

async function toShown(events: AsyncIterable<Doc<"events">>): Promise<OrgPageEvent[]> {
  const shown: OrgPageEvent[] = [];
  for await (const event of events) shown.push(toOrgPageEvent(event));
  return shown;
}
