/** What an organization's page shows. */
import type { QueryCtx } from "../../_generated/server";
import { getOrg, type OrgId } from "../../orgs/app";
import type { OrgPageEvent } from "../validators";
import { within } from "./boundedReads";
import { toOrgPageEvent } from "./shown";

const MAX_UPCOMING = 50;
const MAX_PAST = 20;
/** Events that have begun and not ended are looked for among so many. */
const MAX_BEGUN_LOOKED_AT = 100;
// Together below Convex's 16 MiB, each with one event of 1 MiB beyond it. 50 of this module's largest events take 7.2 MiB.
const FUTURE_BYTES = 8 * 1024 * 1024;
const BEGUN_BYTES = 5 * 1024 * 1024;

export async function readOrgPage(ctx: QueryCtx, orgId: OrgId, now: number) {
  const org = await getOrg(ctx, orgId);
  if (org === null) return null;
  const [future, { running, past }] = await Promise.all([
    readFuture(ctx, orgId, now),
    readBegun(ctx, orgId, now),
  ]);
  return {
    calendarUrl: org.lumaCalendarUrl ?? null,
    lastSyncedAt: org.eventsLastSynced ?? null,
    upcoming: [...running.reverse(), ...future].slice(0, MAX_UPCOMING),
    past,
  };
}

async function readFuture(ctx: QueryCtx, orgId: OrgId, now: number): Promise<OrgPageEvent[]> {
  const notBegun = ctx.db
    .query("events")
    .withIndex("by_org_status_start", (q) =>
      q.eq("orgId", orgId).eq("status", "listed").gt("startAt", now),
    );
  const future: OrgPageEvent[] = [];
  for await (const event of within({ documents: MAX_UPCOMING, bytes: FUTURE_BYTES }, notBegun)) {
    future.push(toOrgPageEvent(event));
  }
  return future;
}

/** Latest first. When all of the events looked at are still running, the past ones lie behind them. */
async function readBegun(ctx: QueryCtx, orgId: OrgId, now: number) {
  const begun = ctx.db
    .query("events")
    .withIndex("by_org_status_start", (q) =>
      q.eq("orgId", orgId).eq("status", "listed").lte("startAt", now),
    )
    .order("desc");
  const budget = { documents: MAX_BEGUN_LOOKED_AT + MAX_PAST, bytes: BEGUN_BYTES };
  const running: OrgPageEvent[] = [];
  const past: OrgPageEvent[] = [];
  let lookedAt = 0;
  for await (const event of within(budget, begun)) {
    lookedAt += 1;
    const hasEnded = (event.endAt ?? event.startAt) <= now;
    if (hasEnded && past.length < MAX_PAST) past.push(toOrgPageEvent(event));
    if (!hasEnded && lookedAt <= MAX_BEGUN_LOOKED_AT) running.push(toOrgPageEvent(event));
    if (lookedAt >= MAX_BEGUN_LOOKED_AT && past.length === MAX_PAST) break;
  }
  return { running, past };
}
