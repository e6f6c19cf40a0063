/**
 * What mornings cost, and what an outage of lu.ma's does to them, in simulated time: requests, documents and how long they
 * take. These numbers come out the same every time.
 */
import { internal } from "../../convex/_generated/api";
import type { Id } from "../../convex/_generated/dataModel";
import { toMirroredEvent } from "../../convex/events/luma/mapping";
import { readEntry } from "../../convex/events/luma/wire";
import { aStoredEvent, DAY_MS, HOUR_MS, wireEvents } from "../support/builders";
import { passTime, useRealTime, useSimulatedTime } from "../support/clock";
import { startCountedEngine, type ActionCall } from "../support/counting";
import type { Engine } from "../support/engine";
import { hearLog } from "../support/log";
import { LumaServer, status, type RequestKind, type WireEvent } from "../support/lumaServer";
import { bounded, insertMany, nth, toDuration, type Row } from "./shared";

/** What one request takes in simulated time; lu.ma's own time is not known. */
export const LUMA_ANSWER_MS = 300;
const MINUTE_MS = 60_000;
/** A time for all runs: the same numbers come out every day. */
const STARTS_AT = Date.parse("2026-09-01T07:00:00.000Z");
/** Of each organization, on a morning without changes: when it is due, began, was stamped and has ended. */
const MAX_WRITTEN_AN_ORG = 6;
/** Of the queue, once a morning. */
const MAX_WRITTEN_A_RUN = 3;
/** As many events that the list lacks are asked for in a sync. */
const MAX_CHECKED = 100;

export type Morning = {
  what: string;
  orgs: number;
  eventsToCome: number;
  isFirst?: boolean;
  /** So many of the events are stored, and lu.ma has them no more. */
  gone?: number;
};

const LARGE = { orgs: 1, eventsToCome: 1_000 };

/** The rows of the manual's table. */
export const MORNINGS: Morning[] = [
  { what: "10 organizations, 10 events to come each", orgs: 10, eventsToCome: 10 },
  { what: "100 organizations, 10 events to come each", orgs: 100, eventsToCome: 10 },
  { what: "1,000 organizations, 10 events to come each", orgs: 1_000, eventsToCome: 10 },
  { what: "1 organization, 100 events to come", orgs: 1, eventsToCome: 100 },
  { what: "1 organization, 1,000 events to come", ...LARGE },
  { what: "1 organization, 1,000 events to come, for the first time", ...LARGE, isFirst: true },
  { what: "1 organization, 10 of 1,000 events gone", ...LARGE, gone: 10 },
  { what: "1 organization, 300 of 1,000 events gone: 100 a morning", ...LARGE, gone: 300 },
];

/** A morning's run by the cron, until its queue is empty. */
export async function measureMorning(morning: Morning): Promise<Row> {
  const { what, orgs, isFirst = false, gone = 0 } = morning;
  const { t, orgIds, asked, counts, syncs } = await runMorning(morning);
  const stored = await t.run((ctx) => ctx.db.query("events").take(20_000));
  const removed = stored.filter(({ status }) => status === "removed").length;
  const synced = await countSynced(t, orgIds);
  if (syncs.length !== orgs || synced !== orgs || removed !== Math.min(gone, MAX_CHECKED)) {
    throw new Error(`${what}: ${syncs.length} syncs, ${synced} synced, ${removed} removed`);
  }
  const written = counts.documentsWritten - counts.eventsWritten;
  const mostWritten = orgs * MAX_WRITTEN_AN_ORG + MAX_WRITTEN_A_RUN;
  if (written > mostWritten || (!isFirst && counts.eventsWritten > removed)) {
    throw new Error(`${what}: wrote ${counts.eventsWritten} events and ${written} others`);
  }
  return {
    "a morning": what,
    pages: asked("list"),
    "single events": asked("event"),
    "documents read": counts.documentsRead,
    "documents written": counts.documentsWritten,
    takes: toDuration(lastEnd(syncs) - STARTS_AT),
  };
}

const OUTAGE_ORGS = [3, 40, 1_000];
const OUTAGE_HOURS = [1, 3];
/** Of ten events, with the pause after it. */
const MAX_SYNC_MS = 5_000;

/** lu.ma answers 503 from the start of the morning's run on. */
export async function benchOutages(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const orgs of OUTAGE_ORGS) {
    const morning = { what: "", orgs, eventsToCome: 10 };
    for (const hours of OUTAGE_HOURS) {
      const outageMs = hours * HOUR_MS;
      const { t, orgIds, asked, syncs } = await runMorning(morning, outageMs);
      const synced = await countSynced(t, orgIds);
      if (synced !== orgs) throw new Error(`${synced} of ${orgs} were synced`);
      const mostMs = 2 * outageMs + orgs * MAX_SYNC_MS;
      const tookMs = lastEnd(syncs) - STARTS_AT;
      rows.push({
        "an outage of": `${hours} h`,
        organizations: orgs,
        "pages asked for": asked("list"),
        "syncs that failed": syncs.length - orgs,
        "the last was synced after, minutes": bounded(tookMs / MINUTE_MS, mostMs / MINUTE_MS),
      });
    }
  }
  return rows;
}

/**
 * `syncs` are those that have ended.
 *
 * @param outageMs how long lu.ma answers 503, from the beginning on.
 */
async function runMorning(morning: Morning, outageMs = 0) {
  const { orgs, eventsToCome, isFirst = false, gone = 0 } = morning;
  const luma = await LumaServer.start();
  useSimulatedTime(STARTS_AT);
  luma.stubFetch({ answerMs: LUMA_ANSWER_MS });
  luma.failBetween(STARTS_AT, STARTS_AT + outageMs, status(503));
  const calendar = wireEvents(eventsToCome);
  for (let i = 0; i < orgs; i += 1) luma.setCalendar(`key-${i}`, calendar.slice(gone));
  const { t, counts, actionCalls, reset, stop } = startCountedEngine();
  const orgIds = await insertMany(t, "organizations", orgs, (index) => ({
    name: `Org ${index}`,
    lumaApiKey: `key-${index}`,
    ...(isFirst ? {} : { eventsLastSynced: STARTS_AT - DAY_MS }),
  }));
  if (!isFirst) {
    const stored = calendar.map(toStored);
    await insertMany(t, "events", orgs * eventsToCome, (index) => {
      const orgId = nth(orgIds, Math.floor(index / eventsToCome));
      return aStoredEvent(orgId, nth(stored, index % eventsToCome));
    });
    await insertMany(t, "eventSyncs", orgs, (index) => ({
      orgId: nth(orgIds, index),
      lastNumber: 1,
      startedAt: STARTS_AT - DAY_MS,
      syncedNumber: 1,
      calendar: { id: `cal-${index}`, name: `Org ${index}` },
    }));
  }
  reset();
  await hearLog(async () => {
    await t.mutation(internal.events.sync.runFullEventSync, {});
    await passTime();
  });
  stop();
  useRealTime();
  await luma.stop();
  const asked = (kind: RequestKind) => luma.requestsOf(kind).length;
  const syncs = actionCalls.filter(({ name }) => name === "events/sync:syncOrgEvents");
  return { t, orgIds, asked, counts, syncs };
}

function lastEnd(syncs: ActionCall[]): number {
  return Math.max(...syncs.map(({ endedAt }) => endedAt));
}

/** How many have been synced since the run began. */
async function countSynced(t: Engine, orgIds: Id<"organizations">[]): Promise<number> {
  const orgs = await t.run(({ db }) =>
    Promise.all(orgIds.map((id) => db.get("organizations", id))),
  );
  return orgs.filter((org) => (org?.eventsLastSynced ?? 0) >= STARTS_AT).length;
}

function toStored(event: WireEvent) {
  const read = readEntry(event);
  if (!("event" in read)) throw new Error(read.reason);
  const description = String(event.description);
  return { ...toMirroredEvent(read.event, read.audiences), description };
}
