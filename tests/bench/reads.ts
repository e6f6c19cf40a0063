/** What pages, dashboards and a quiet daily run read, in documents and bytes, with descriptions of 2 kB. */
import { api, internal } from "../../convex/_generated/api";
import { aStoredEvent, DAY_MS, HOUR_MS, wireEvents } from "../support/builders";
import { passTime, useRealTime, useSimulatedTime } from "../support/clock";
import { startCountedEngine } from "../support/counting";
import { hearLog } from "../support/log";
import { LumaServer } from "../support/lumaServer";
import { bounded, insertMany, nth, type Row } from "./shared";

const STARTS_AT = Date.parse("2026-09-01T07:00:00.000Z");
const TEXT = "x".repeat(2_000);
/** One event a week each, from four weeks ago to thirteen weeks ahead. */
const ORGS = 100;
const WEEKS_BACK = 4;
const WEEKS = 18;
/** What the same reads took when each event's document held its description. */
const BEFORE = {
  "0": { documents: 100, kB: 118 },
  "5": { documents: 184, kB: 289 },
  "50": { documents: 349, kB: 469 },
  page: { documents: 71, kB: 160 },
  run: { documents: 1_013, kB: 2_383 },
};
/** A dashboard and a daily run may read at most this share of it. */
const MAX_SHARE = 0.35;

export async function benchReads(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const memberOf of ["0", "5", "50"] as const) rows.push(await benchDashboard(memberOf));
  rows.push(await benchPage(), await benchQuietRun());
  return rows;
}

type Before = { documents: number; kB: number };
type Counts = { documentsRead: number; bytesRead: number };

function toRow(what: string, { documentsRead, bytesRead }: Counts, before: Before): Row {
  const kB = bounded(bytesRead / 1_000, before.kB * MAX_SHARE);
  return {
    what,
    documents: documentsRead,
    "documents before": before.documents,
    kB,
    "kB before": before.kB,
  };
}

async function benchDashboard(memberOf: "0" | "5" | "50"): Promise<Row> {
  const { t, counts, reset, stop } = startCountedEngine();
  const now = STARTS_AT;
  const orgIds = await insertMany(t, "organizations", ORGS, (i) => ({ name: `Org ${i}` }));
  await insertMany(t, "events", ORGS * WEEKS, (i) => {
    const org = i % ORGS;
    const week = Math.floor(i / ORGS) - WEEKS_BACK;
    const startAt = now + 11 * HOUR_MS + (7 * week + (org % 7)) * DAY_MS;
    const times = { startAt, endAt: startAt + 2 * HOUR_MS };
    return aStoredEvent(nth(orgIds, org), { lumaEventId: `evt-${i}`, ...times });
  });
  await insertMany(t, "orgMemberships", Number(memberOf), (i) => {
    return { userId: "member", orgId: nth(orgIds, i), role: "member" as const };
  });
  reset();
  await t.withIdentity({ subject: "member" }).query(api.events.queries.getDashboardEvents, { now });
  stop();
  return toRow(`a dashboard, member of ${memberOf} organizations`, counts, BEFORE[memberOf]);
}

async function benchPage(): Promise<Row> {
  const { t, counts, reset, stop } = startCountedEngine();
  const [orgId] = await insertMany(t, "organizations", 1, () => ({ name: "Acme" }));
  if (orgId === undefined) throw new Error("no organization");
  const eventIds = await insertMany(t, "events", 120, (i) => {
    const startAt = STARTS_AT + (i - 50 + 0.3) * DAY_MS;
    const times = { startAt, endAt: startAt + 2 * HOUR_MS };
    return aStoredEvent(orgId, { lumaEventId: `evt-${i}`, isDescribed: true, ...times });
  });
  await insertMany(t, "eventDescriptions", eventIds.length, (i) => {
    return { eventId: nth(eventIds, i), orgId, text: TEXT };
  });
  reset();
  await t.query(api.events.queries.getOrgEvents, { orgId, now: STARTS_AT });
  stop();
  // Unbounded: a page still reads its descriptions.
  return {
    what: "a page with 50 upcoming and 20 past events",
    documents: counts.documentsRead,
    "documents before": BEFORE.page.documents,
    kB: Math.round(counts.bytesRead / 1_000),
    "kB before": BEFORE.page.kB,
  };
}

/** The first daily run after all 1,000 events have been described. */
async function benchQuietRun(): Promise<Row> {
  const luma = await LumaServer.start();
  useSimulatedTime(STARTS_AT);
  luma.stubFetch({ answerMs: 300 });
  const calendar = wireEvents(1_000, (i) => ({
    description: TEXT,
    start_at: new Date(STARTS_AT + 20 * DAY_MS + i * HOUR_MS).toISOString(),
  }));
  luma.setCalendar("key", calendar);
  const { t, counts, reset, stop } = startCountedEngine();
  await insertMany(t, "organizations", 1, () => ({ name: "Acme", lumaApiKey: "key" }));
  await hearLog(async () => {
    for (let day = 0; day <= 10; day += 1) {
      reset();
      await t.mutation(internal.events.sync.runFullEventSync, {});
      await passTime(DAY_MS);
    }
  });
  stop();
  useRealTime();
  await luma.stop();
  return toRow("a daily run with 1,000 events, none changed", counts, BEFORE.run);
}
