/** What the public queries read from a large table. */
import { api } from "../../convex/_generated/api";
import type { Doc, Id } from "../../convex/_generated/dataModel";
import { bounded, insertMany, nth, type Row } from "./shared";
import { aStoredEvent, DAY_MS, HOUR_MS } from "../support/builders";
import { startCountedEngine } from "../support/counting";

export const STORED_EVENTS = 100_000;
const WINDOW_DAYS = 120;
export const ALL_ORGS = 500;
/** The first ones have nearly all events. */
export const LARGE_ORGS = 50;
export const SMALL_ONE_IN = 20;
/** Where most are hidden; a prime number, so that every organization has its share. */
export const LISTED_ONE_IN = 19;
/** The organization, 500 upcoming events that are looked at, and 21 past ones. */
const MAX_READ_FOR_ORG_PAGE = 522;
/** 500 of the member's events and 3 ahead in each organization, 400 others, memberships and organizations. */
const MAX_READ_FOR_DASHBOARD = 500 + 150 + 400 + 50 + 450;
const MAX_READ_WITHOUT_ORGS = 800;

export async function benchQueries(): Promise<Row[]> {
  const mostlyListed = await benchQueriesOver("mostly listed", () => "listed");
  const mostlyHidden = await benchQueriesOver("mostly hidden", (index) => {
    if (index % LISTED_ONE_IN === 0) return "listed";
    return index % 2 === 0 ? "unlisted" : "removed";
  });
  return [...mostlyListed, ...mostlyHidden];
}

async function benchQueriesOver(
  table: string,
  statusOf: (index: number) => Doc<"events">["status"],
): Promise<Row[]> {
  const { t, counts, reset, stop } = startCountedEngine();
  const now = Date.now();
  const toOrg = (index: number) => ({ name: `Org ${index}` });
  const orgIds = await insertMany(t, "organizations", ALL_ORGS, toOrg);
  await insertMany(t, "events", STORED_EVENTS, (index) => {
    // A quarter has begun, as in the window that is mirrored.
    const startAt = now + (index / STORED_EVENTS - 0.25) * WINDOW_DAYS * DAY_MS;
    const fields = { lumaEventId: `evt-${index}`, startAt, endAt: startAt + HOUR_MS };
    return aStoredEvent(ownerOf(index, orgIds), { ...fields, status: statusOf(index) });
  });
  const largeOrgs = orgIds.slice(0, LARGE_ORGS);
  const smallOrgs = orgIds.slice(LARGE_ORGS, 2 * LARGE_ORGS);

  const rows: Row[] = [];
  for (const [viewer, orgId] of [
    ["anyone, of a large organization", largeOrgs[0]],
    ["anyone, of a small organization", smallOrgs[0]],
  ] as const) {
    if (orgId === undefined) throw new Error(`nothing to show to ${viewer}`);
    reset();
    const page = await t.query(api.events.queries.getOrgEvents, { orgId, now });
    rows.push({
      table,
      query: "getOrgEvents",
      viewer,
      "documents read": bounded(counts.documentsRead, MAX_READ_FOR_ORG_PAGE),
      shows: `${page?.upcoming.length} upcoming, ${page?.past.length} past`,
    });
  }
  for (const [viewer, memberOf, bound] of [
    ["member of 50 small organizations", smallOrgs, MAX_READ_FOR_DASHBOARD],
    ["member of the 50 large ones", largeOrgs, MAX_READ_FOR_DASHBOARD],
    ["without an organization", [], MAX_READ_WITHOUT_ORGS],
  ] as const) {
    await insertMany(t, "orgMemberships", memberOf.length, (index) => {
      return { userId: viewer, orgId: nth(memberOf, index), role: "member" as const };
    });
    reset();
    const member = t.withIdentity({ subject: viewer });
    const dashboard = await member.query(api.events.queries.getDashboardEvents, { now });
    rows.push({
      table,
      query: "getDashboardEvents",
      viewer,
      "documents read": bounded(counts.documentsRead, bound),
      shows: `${dashboard.userOrgEvents.length} own, ${dashboard.otherOrgEvents.length} others`,
    });
  }
  stop();
  return rows;
}

/** Large and small organizations' events take turns in time. */
function ownerOf(index: number, orgIds: Id<"organizations">[]): Id<"organizations"> {
  const isSmall = index % SMALL_ONE_IN === 0;
  return isSmall
    ? nth(orgIds, LARGE_ORGS + ((index / SMALL_ONE_IN) % (ALL_ORGS - LARGE_ORGS)))
    : nth(orgIds, index % LARGE_ORGS);
}
