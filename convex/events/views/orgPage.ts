/** What an organization's page shows. */
import type { Doc } from "../../_generated/dataModel";
import type { QueryCtx } from "../../_generated/server";
import { settings, toShownOrg } from "../../lumaApp";
import { getOrg, type OrgId } from "../organizations";
import { toHttpUrl } from "../text";
import { toOrgPageEvent, type OrgPageEvent } from "./shapes";
import { listUpcoming, merge } from "./upcoming";

const MAX_PAST = settings.maxPast ?? 20;
/** The most events that start next to read, including those that are skipped. */
const MAX_NEXT = 300;

export async function readOrgPage(ctx: QueryCtx, orgId: OrgId, now: number) {
  const org = await getOrg(ctx, orgId);
  if (org === null || (await toShownOrg(ctx, org)) === null) return null;
  const toShown = (event: Doc<"events">) => toOrgPageEvent(ctx, event);
  const range = { orgIds: [orgId], now, until: Infinity, maxNext: MAX_NEXT };
  const upcoming = await listUpcoming(ctx, range, toShown);
  return {
    // An app's own mutation may have stored anything, such as a `javascript:` URL.
    calendarUrl: toHttpUrl(org.lumaCalendarUrl) ?? null,
    lastSyncedAt: org.eventsLastSynced ?? null,
    upcoming: [...upcoming.values()],
    past: await listPast(ctx, orgId, now),
  };
}

/** The events that ended last, latest first. */
async function listPast(ctx: QueryCtx, orgId: OrgId, now: number): Promise<OrgPageEvent[]> {
  const past: OrgPageEvent[] = [];
  const queries = [true, false].map((isLong) =>
    ctx.db
      .query("events")
      .withIndex("by_org_status_long_over", (q) =>
        q.eq("orgId", orgId).eq("status", "listed").eq("isLong", isLong).lte("overAt", now),
      )
      .order("desc"),
  );
  const events = merge(queries, ({ overAt }) => -overAt);
  while (past.length < MAX_PAST) {
    const { done, value: event } = await events.next();
    if (done) break;
    past.push(await toOrgPageEvent(ctx, event));
  }
  return past;
}
