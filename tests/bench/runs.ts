/** What full runs take in simulated time, and what finding their organizations reads. */
import { internal } from "../../convex/_generated/api";
import type { Id } from "../../convex/_generated/dataModel";
import { SimulatedClock } from "./benchClock";
import { bounded, insertMany, quietly, type Row } from "./benchShared";
import { startCountedEngine } from "./counting";

const RUN_SIZES = [10, 100, 1_000, 5_000];
/** What one request takes in simulated time; lu.ma's own time is not known. */
export const LUMA_ANSWER_MS = 300;
const MAX_ACTION_MINUTES = 10;
/** Organizations, of which one has a key. */
const ORGS_PER_KEY = 10;

export async function benchRuns(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const orgs of RUN_SIZES) {
    rows.push({
      "with a key": orgs,
      "of organizations": orgs * ORGS_PER_KEY,
      ...(await benchFinding(orgs)),
      ...(await quietly(() => benchRun(orgs))),
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
  let cursor: Id<"organizations"> | null = null;
  for (let isDone = false; !isDone;) {
    const orgs: { page: unknown[]; isDone: boolean; continueCursor: Id<"organizations"> | null } =
      await t.query(internal.events.queries.getOrgsWithLumaConfig, { cursor });
    found += orgs.page.length;
    ({ isDone, continueCursor: cursor } = orgs);
  }
  stop();
  if (found !== orgsWithKey) throw new Error(`found ${found} of ${orgsWithKey} organizations`);
  // A page after the first begins by reading the organization that the one before ended with.
  const mostRead = orgsWithKey + counts.queries - 1;
  return {
    "read to find them": bounded(counts.documentsRead, mostRead),
    "in pages": counts.queries,
  };
}

async function benchRun(orgs: number): Promise<Row> {
  const clock = new SimulatedClock();
  const realFetch = globalThis.fetch;
  globalThis.fetch = answerInSimulatedTime;
  const { t, actionCalls, stop } = startCountedEngine();
  await insertMany(t, "organizations", orgs, (index) => ({
    name: `Org ${index}`,
    lumaApiKey: `key-${index}`,
  }));
  const firstSlice = t.action(internal.events.sync.runFullEventSync, {});
  await clock.runUntilIdle();
  await firstSlice;
  stop();
  globalThis.fetch = realFetch;
  clock.stop();

  const syncs = actionCalls.filter(({ name }) => name === "events/sync:syncOrgEvents");
  const stored = await t.run((ctx) => ctx.db.query("organizations").take(orgs));
  const synced = stored.filter(({ eventsLastSynced }) => eventsLastSynced !== undefined);
  if (syncs.length !== orgs || synced.length !== orgs) {
    throw new Error(`${syncs.length} syncs synced ${synced.length} of ${orgs} organizations`);
  }
  const slices = actionCalls.filter(({ name }) => name === "events/sync:runFullEventSync");
  const began = Math.min(...slices.map(({ startedAt }) => startedAt));
  const ended = Math.max(...slices.map(({ endedAt }) => endedAt));
  const longestMs = Math.max(...slices.map(({ startedAt, endedAt }) => endedAt - startedAt));
  return {
    "the run takes": toDuration(ended - began),
    "actions of the run": slices.length,
    "longest, minutes": bounded(longestMs / 60_000, MAX_ACTION_MINUTES, 2),
  };
}

async function answerInSimulatedTime(): Promise<Response> {
  await new Promise((resolve) => setTimeout(resolve, LUMA_ANSWER_MS));
  return Response.json({ entries: [], has_more: false });
}

function toDuration(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
