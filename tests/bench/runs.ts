/**
 * What mornings cost, in simulated time: requests, documents and how long they take. These numbers come out the same
 * every time; the README has them.
 */
import { internal } from "../../convex/_generated/api";
import { toMirroredEvent } from "../../convex/events/luma/mapping";
import { readEntry } from "../../convex/events/luma/wire";
import type { MirroredEvent } from "../../convex/events/validators";
import { aStoredEvent, aWireEvent, DAY_MS } from "../support/builders";
import { passTime, useRealTime, useSimulatedTime } from "../support/clock";
import { startCountedEngine } from "../support/counting";
import type { Engine } from "../support/engine";
import { LumaServer, type WireEvent } from "../support/lumaServer";
import { bounded, insertMany, nth, quietly, type Row } from "./shared";

/** What one request takes in simulated time; lu.ma's own time is not known. */
export const LUMA_ANSWER_MS = 300;
const MINUTE_MS = 60_000;
/** A time for all runs: the same numbers come out every day. */
const STARTS_AT = Date.parse("2026-09-01T07:00:00.000Z");

export type Morning = {
  what: string;
  orgs: number;
  eventsToCome: number;
  isFirst?: boolean;
};

/** The rows of the README's table. */
export const MORNINGS: Morning[] = [
  { what: "10 organizations, 10 events to come each", orgs: 10, eventsToCome: 10 },
  { what: "100 organizations, 10 events to come each", orgs: 100, eventsToCome: 10 },
  { what: "1,000 organizations, 10 events to come each", orgs: 1_000, eventsToCome: 10 },
  { what: "1 organization, 100 events to come", orgs: 1, eventsToCome: 100 },
  { what: "1 organization, 1,000 events to come", orgs: 1, eventsToCome: 1_000 },
  {
    what: "1 organization, 1,000 events to come, for the first time",
    orgs: 1,
    eventsToCome: 1_000,
    isFirst: true,
  },
];

/** A full run by the cron on a morning on which nothing has changed, or on the first one. */
export async function measureMorning(morning: Morning): Promise<Row> {
  const { what, orgs, eventsToCome, isFirst = false } = morning;
  const luma = await startSimulation();
  const calendar = toCalendar(eventsToCome);
  for (let i = 0; i < orgs; i += 1) luma.setCalendar(`key-${i}`, calendar);
  const { t, counts, actionCalls, reset, stop } = startCountedEngine();
  const orgIds = await insertMany(t, "organizations", orgs, (index) => ({
    name: `Org ${index}`,
    lumaApiKey: `key-${index}`,
  }));
  if (!isFirst) {
    const stored = calendar.map(toStored);
    await insertMany(t, "events", orgs * eventsToCome, (index) =>
      aStoredEvent(
        nth(orgIds, Math.floor(index / eventsToCome)),
        nth(stored, index % eventsToCome),
      ),
    );
    await insertMany(t, "eventSyncs", orgs, (index) => ({
      orgId: nth(orgIds, index),
      lastNumber: 1,
    }));
  }
  reset();
  const startedAt = Date.now();
  await runToItsEnd(t);
  stop();
  await endSimulation(luma);

  const syncs = actionCalls.filter(({ name }) => name === "events/sync:syncOrgEvents");
  if (syncs.length !== orgs) throw new Error(`${what}: ${syncs.length} were synced`);
  const endedAt = Math.max(...actionCalls.map((call) => call.endedAt));
  return {
    "a morning": what,
    pages: luma.requestsOf("list").length,
    descriptions: luma.requestsOf("event").length,
    "documents read": counts.documentsRead,
    "documents written": counts.documentsWritten,
    takes: toDuration(endedAt - startedAt),
  };
}

/** A lu.ma in this process, in simulated time. */
async function startSimulation(): Promise<LumaServer> {
  const luma = await LumaServer.start();
  useSimulatedTime(STARTS_AT);
  return luma.stubFetch({ answerMs: LUMA_ANSWER_MS });
}

async function endSimulation(luma: LumaServer): Promise<void> {
  useRealTime();
  await luma.stop();
}

async function runToItsEnd(t: Engine): Promise<void> {
  await quietly(async () => {
    const firstSlice = t.action(internal.events.sync.runFullEventSync, {});
    await passTime();
    await firstSlice;
  });
}

/** From tomorrow on, a minute apart. */
function toCalendar(count: number): WireEvent[] {
  const tomorrow = Math.floor(Date.now() / DAY_MS) * DAY_MS + DAY_MS;
  return Array.from({ length: count }, (_, index) =>
    aWireEvent({
      id: `evt-${index}`,
      start_at: new Date(tomorrow + index * MINUTE_MS).toISOString(),
      end_at: undefined,
    }),
  );
}

function toStored(event: WireEvent): MirroredEvent & { description: string } {
  const read = readEntry(event);
  if ("invalid" in read) throw new Error(read.invalid.reason);
  return { ...toMirroredEvent(read.event), description: String(event.description) };
}

const RUN_SIZES = [10, 1_000, 5_000];
/** Organizations, of which one has a key. */
const ORGS_PER_KEY = 10;
const MAX_ACTION_MINUTES = 10;

/** Runs over empty calendars: what finding their organizations reads, and how they are cut into actions. */
export async function benchRuns(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const orgs of RUN_SIZES) {
    rows.push({
      "with a key": orgs,
      "of organizations": orgs * ORGS_PER_KEY,
      ...(await benchFinding(orgs)),
      ...(await benchActions(orgs)),
    });
  }
  return rows;
}

/** Finds them as the full run does, page by page. */
async function benchFinding(orgsWithKey: number): Promise<Row> {
  const { t, counts, reset, stop } = startCountedEngine();
  await insertMany(t, "organizations", orgsWithKey * ORGS_PER_KEY, (index) => ({
    name: `Org ${index}`,
    lumaApiKey: index % ORGS_PER_KEY === 0 ? `key-${index}` : undefined,
  }));
  reset();
  let found = 0;
  let cursor: string | null = null;
  for (let isDone = false; !isDone;) {
    const orgs: { page: unknown[]; isDone: boolean; continueCursor: string } = await t.query(
      internal.events.queries.getOrgsWithLumaConfig,
      { cursor },
    );
    found += orgs.page.length;
    ({ isDone, continueCursor: cursor } = orgs);
  }
  stop();
  if (found !== orgsWithKey) throw new Error(`found ${found} of ${orgsWithKey} organizations`);
  return {
    "read to find them": bounded(counts.documentsRead, orgsWithKey),
    "in pages": counts.queries,
  };
}

async function benchActions(orgs: number): Promise<Row> {
  const luma = await startSimulation();
  for (let i = 0; i < orgs; i += 1) luma.setCalendar(`key-${i}`, []);
  const { t, actionCalls, stop } = startCountedEngine();
  await insertMany(t, "organizations", orgs, (index) => ({
    name: `Org ${index}`,
    lumaApiKey: `key-${index}`,
  }));
  await runToItsEnd(t);
  stop();
  await endSimulation(luma);

  const stored = await t.run((ctx) => ctx.db.query("organizations").take(orgs));
  const synced = stored.filter(({ eventsLastSynced }) => eventsLastSynced !== undefined);
  if (synced.length !== orgs) throw new Error(`${synced.length} of ${orgs} were synced`);
  const slices = actionCalls.filter(({ name }) => name === "events/sync:runFullEventSync");
  const began = Math.min(...slices.map((slice) => slice.startedAt));
  const ended = Math.max(...slices.map((slice) => slice.endedAt));
  const longestMs = Math.max(...slices.map((slice) => slice.endedAt - slice.startedAt));
  return {
    "the run takes": toDuration(ended - began),
    "actions of the run": slices.length,
    "longest, minutes": bounded(longestMs / MINUTE_MS, MAX_ACTION_MINUTES, 2),
  };
}

function toDuration(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${seconds % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
