/** What an organization's page shows. */
import type { Id } from "../_generated/dataModel";
import type { QueryCtx } from "../_generated/server";
import { readWithin } from "./boundedReads";
import { toPublicEvent } from "./publicShapes";
import type { OrgPage, PublicEvent } from "./validators";

const MAX_UPCOMING = 50;
const MAX_PAST = 20;
/** Events that have begun and not ended are looked for among so many. */
const MAX_BEGUN_LOOKED_AT = 100;
/** Below Convex's 16 MiB by more than the largest event. */
const ORG_PAGE_BYTES = 12 * 1024 * 1024;

export async function readOrgPage(
  ctx: QueryCtx,
  orgId: Id<"organizations">,
  now: number,
): Promise<OrgPage | null> {
  const org = await ctx.db.get("organizations", orgId);
  if (org === null) return null;

  const budget = { documents: MAX_UPCOMING, bytes: ORG_PAGE_BYTES };
  const future: PublicEvent[] = [];
  const notBegun = ctx.db
    .query("events")
    .withIndex("by_org_status_start", (q) =>
      q.eq("orgId", orgId).eq("status", "listed").gt("startAt", now),
    );
  await readWithin(notBegun, budget, (event) => void future.push(toPublicEvent(event)));

  // 20 more than are looked at for running ones: when all of those run, the past ones lie behind them.
  const begunBudget = { documents: MAX_BEGUN_LOOKED_AT + MAX_PAST, bytes: budget.bytes };
  const running: PublicEvent[] = [];
  const past: PublicEvent[] = [];
  let lookedAt = 0;
  const begun = ctx.db
    .query("events")
    .withIndex("by_org_status_start", (q) =>
      q.eq("orgId", orgId).eq("status", "listed").lte("startAt", now),
    )
    .order("desc");
  await readWithin(
    begun,
    begunBudget,
    (event) => {
      lookedAt += 1;
      const hasEnded = (event.endAt ?? event.startAt) <= now;
      if (hasEnded && past.length < MAX_PAST) past.push(toPublicEvent(event));
      if (!hasEnded && lookedAt <= MAX_BEGUN_LOOKED_AT) running.push(toPublicEvent(event));
    },
    () => lookedAt >= MAX_BEGUN_LOOKED_AT && past.length === MAX_PAST,
  );
  return {
    calendarUrl: org.lumaCalendarUrl ?? null,
    lastSyncedAt: org.eventsLastSynced ?? null,
    upcoming: [...running.reverse(), ...future].slice(0, MAX_UPCOMING),
    past,
  };
}
