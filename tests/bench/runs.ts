/**
 * What a daily run costs, with and without an outage of lu.ma's: requests, documents and duration. Time is simulated,
 * so the numbers are the same on every run.
 */
import { internal } from "../../convex/_generated/api";
import type { Id } from "../../convex/_generated/dataModel";
import { toMirroredEvent } from "../../convex/events/luma/mapping";
import { readEntry } from "../../convex/events/luma/wire";
import { aStoredEvent, DAY_MS, HOUR_MS, MINUTE_MS, wireEvents } from "../support/builders";
import { passTime, useRealTime, useSimulatedTime } from "../support/clock";
import { startCountedEngine, type ActionCall } from "../support/counting";
import type { Engine } from "../support/engine";
import { hearLog } from "../support/log";
import { LumaServer, silence, status } from "../support/lumaServer";
import type { RequestKind, WireEvent } from "../support/lumaServer";
import { bounded, insertMany, nth, toDuration, type Row } from "./shared";

/** An assumption: lu.ma publishes no response times. */
export const LUMA_ANSWER_MS = 300;
/** Fixed, so that the numbers don't depend on the day. */
const STARTS_AT = Date.parse("2026-09-01T07:00:00.000Z");
/** Per organization when nothing has changed: made due, taken, begun, stamped and ended (two documents). */
const MAX_WRITTEN_AN_ORG = 6;
const FIRST_DESCRIPTIONS = 100;
/** `SINGLE_REQUESTS` of a sync. */
const MAX_CHECKED = 100;

export type DailyRun = {
  what: string;
  orgs: number;
  upcoming: number;
  isFirst?: boolean;
  /** How many of the stored events lu.ma no longer has. */
  gone?: number;
};

const LARGE = { orgs: 1, upcoming: 1_000 };

/** The manual quotes those with at most ten organizations. */
export const DAILY_RUNS: DailyRun[] = [
  { what: "10 organizations, 10 upcoming events each", orgs: 10, upcoming: 10 },
  { what: "100 organizations, 10 upcoming events each", orgs: 100, upcoming: 10 },
  { what: "1,000 organizations, 10 upcoming events each", orgs: 1_000, upcoming: 10 },
  { what: "1 organization, 100 upcoming events", orgs: 1, upcoming: 100 },
  { what: "1 organization, 1,000 upcoming events", ...LARGE },
  { what: "1 organization, 1,000 upcoming events, first sync", ...LARGE, isFirst: true },
  { what: "1 organization, 10 of 1,000 events deleted", ...LARGE, gone: 10 },
  { what: "1 organization, 300 of 1,000 events deleted (100 per run)", ...LARGE, gone: 300 },
];

/** A daily run by the cron, until its queue is empty. */
export async function measureDailyRun(dailyRun: DailyRun): Promise<Row> {
  const { what, orgs, isFirst = false, gone = 0 } = dailyRun;
  const { t, orgIds, asked, counts, syncs } = await runDaily(dailyRun);
  const stored = await t.run((ctx) => ctx.db.query("events").take(20_000));
  const removed = stored.filter(({ status }) => status === "removed").length;
  const synced = await countSynced(t, orgIds);
  if (syncs.length !== orgs || synced !== orgs || removed !== Math.min(gone, MAX_CHECKED)) {
    throw new Error(`${what}: ${syncs.length} syncs, ${synced} synced, ${removed} removed`);
  }
  const written = counts.documentsWritten - counts.eventsWritten;
  const mostWritten = orgs * MAX_WRITTEN_AN_ORG + (isFirst ? FIRST_DESCRIPTIONS + 2 : 0);
  if (written > mostWritten || (!isFirst && counts.eventsWritten > removed)) {
    throw new Error(`${what}: wrote ${counts.eventsWritten} events and ${written} others`);
  }
  return {
    "daily run": what,
    pages: asked("list"),
    "single events": asked("event"),
    "documents read": counts.documentsRead,
    "documents written": counts.documentsWritten,
    takes: toDuration(lastEnd(syncs) - STARTS_AT),
  };
}

const OUTAGE_ORGS = [3, 40, 1_000];
const OUTAGES = [
  { hours: 1, minutes: 100 },
  { hours: 3, minutes: 230 },
];
/** lu.ma fails from the start of the daily run. */
export async function benchOutages(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const orgs of OUTAGE_ORGS) {
    const dailyRun = { what: "", orgs, upcoming: 1 };
    for (const [answers, answer] of Object.entries({ "503": status(503), nothing: silence })) {
      for (const { hours, minutes } of OUTAGES) {
        const { t, orgIds, asked, syncs } = await runDaily(dailyRun, hours * HOUR_MS, answer);
        const synced = await countSynced(t, orgIds);
        if (synced !== orgs) throw new Error(`${synced} of ${orgs} were synced`);
        const tookMs = lastEnd(syncs) - STARTS_AT;
        rows.push({
          "an outage of": `${hours} h`,
          organizations: orgs,
          "lu.ma answers": answers,
          "pages asked for": asked("list"),
          "syncs that failed": syncs.length - orgs,
          "the last was synced after, minutes": bounded(tookMs / MINUTE_MS, minutes),
        });
      }
    }
  }
  return rows;
}

/**
 * `syncs` are those that have ended.
 *
 * @param outageMs how long lu.ma gives this answer, from the beginning on.
 */
async function runDaily(dailyRun: DailyRun, outageMs = 0, answer = status(503)) {
  const { orgs, upcoming, isFirst = false, gone = 0 } = dailyRun;
  const luma = await LumaServer.start();
  useSimulatedTime(STARTS_AT);
  luma.stubFetch({ answerMs: LUMA_ANSWER_MS });
  luma.failBetween(STARTS_AT, STARTS_AT + outageMs, answer);
  const calendar = wireEvents(upcoming);
  for (let i = 0; i < orgs; i += 1) luma.setCalendar(`key-${i}`, calendar.slice(gone));
  const { t, counts, actionCalls, reset, stop } = startCountedEngine();
  const orgIds = await insertMany(t, "organizations", orgs, (index) => ({
    name: `Org ${index}`,
    lumaApiKey: "stored",
    ...(isFirst ? {} : { eventsLastSynced: STARTS_AT - DAY_MS }),
  }));
  await insertMany(t, "lumaSecrets", orgs, (index) => ({
    orgId: nth(orgIds, index),
    apiKey: `key-${index}`,
  }));
  if (!isFirst) {
    const stored = calendar.map(toStored);
    const ownerOf = (index: number) => nth(orgIds, Math.floor(index / upcoming));
    const eventIds = await insertMany(t, "events", orgs * upcoming, (index) =>
      aStoredEvent(ownerOf(index), { ...nth(stored, index % upcoming), isDescribed: true }),
    );
    await insertMany(t, "eventDescriptions", eventIds.length, (index) => ({
      eventId: nth(eventIds, index),
      orgId: ownerOf(index),
      text: String(nth(calendar, index % upcoming).description),
    }));
    await insertMany(t, "eventSyncs", orgs, (index) => ({
      orgId: nth(orgIds, index),
      startedAt: STARTS_AT - DAY_MS,
      calendar: { id: `cal-${index + 1}`, name: `Calendar ${index + 1}` },
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
  return toMirroredEvent(read.event, read.audiences);
}
