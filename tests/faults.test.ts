/** The engine's faults do to the module's calls what a bad day at Convex does. */
import { beforeEach, expect, vi } from "vitest";
import { internal } from "../convex/_generated/api";
import { getOrg, insertOrg } from "./support/builders";
import { passTime, settle } from "./support/clock";
import { cancelJobs, jobs, startFaultyEngine, type FaultyEngine } from "./support/faults";
import { NOW, syncOrg, test } from "./support/fixtures";
import type { LumaServer } from "./support/lumaServer";

const { syncOrgEvents } = internal.events.sync;
const { updateOrgSyncTimestamp } = internal.events.mutations;
const KEY = "key-of-Acme";

let engine: FaultyEngine;
beforeEach(() => {
  vi.spyOn(console, "error").mockReturnValue();
  engine = startFaultyEngine();
});

/** When the organization was stamped, and what became of its sync. */
async function outcomeOf(luma: LumaServer): Promise<[number | undefined, string]> {
  luma.setCalendar(KEY, []);
  const orgId = await insertOrg(engine.t);
  const end = await syncOrg(engine.t, luma, orgId).then(
    () => "ended well",
    (error: Error) => error.message,
  );
  return [(await getOrg(engine.t, orgId)).eventsLastSynced, end];
}

test("a call that is refused three times never runs, one that is refused twice is repeated", async ({
  luma,
}) => {
  for (const times of [3, 2]) {
    engine.refuse(updateOrgSyncTimestamp, times);
    const [stamp, end] = await outcomeOf(luma);
    if (times === 3) expect(end).toContain("events/mutations:updateOrgSyncTimestamp was refused");
    expect(stamp === undefined).toBe(times === 3);
  }
});

test("a call whose answer is lost has committed", async ({ luma }) => {
  engine.loseAnswer(updateOrgSyncTimestamp, 3);
  const [stamp, end] = await outcomeOf(luma);
  expect(stamp).toBe(NOW);
  expect(end).toContain("the answer of events/mutations:updateOrgSyncTimestamp was lost");
});

test.for([
  [0, 0],
  [1, 0],
  [2, 1],
])(
  "an action that is killed after %i of its calls has asked lu.ma %i times, and does nothing more",
  async ([afterCalls = NaN, requests], { luma }) => {
    // It begins, looks its organization up, asks lu.ma, compares and stamps.
    engine.kill(syncOrgEvents, { afterCalls: afterCalls + Number(requests) });
    const [stamp, end] = await outcomeOf(luma);
    expect(end).toBe("events/sync:syncOrgEvents was killed");
    expect(luma.requests).toHaveLength(requests ?? NaN);
    await passTime(60_000, luma.activity);
    expect(stamp).toBeUndefined();
    expect(luma.requests).toHaveLength(requests ?? NaN);
    expect(engine.runs).toMatchObject([
      { name: "events/sync:syncOrgEvents", startedAt: NOW, endedAt: NOW },
    ]);
  },
);

test("an action that is held up goes on when it is told to", async ({ luma }) => {
  luma.setCalendar(KEY, []);
  const orgId = await insertOrg(engine.t);
  const resume = engine.stall(syncOrgEvents, { afterCalls: 1 });
  const syncing = syncOrg(engine.t, luma, orgId);
  await new Promise((resolve) => setTimeout(resolve, 60_000));
  expect(luma.requests).toEqual([]);
  resume();
  await syncing;
  expect(luma.requests).toMatchObject([{ at: NOW + 60_000 }]);
  expect(engine.runs).toMatchObject([{ startedAt: NOW, endedAt: NOW + 60_000 }]);
});

test("a scheduled function fails when it is killed or refused, and never runs when it is cancelled", async ({
  luma,
}) => {
  luma.setCalendar(KEY, []);
  const { t } = engine;
  const orgId = await insertOrg(t);
  const schedule = () => t.run((ctx) => ctx.scheduler.runAfter(60_000, syncOrgEvents, { orgId }));
  engine.kill(syncOrgEvents);
  engine.refuse("any", () => engine.runs.length === 1);
  for (let i = 0; i < 2; i += 1) {
    await schedule();
    await passTime(60_001, luma.activity);
  }
  await schedule();
  expect(await settle(cancelJobs(t, syncOrgEvents))).toBe(1);
  await passTime(undefined, luma.activity);
  const states = (await jobs(t)).map(({ state }) => state.kind);
  expect(states).toEqual(["failed", "failed", "canceled"]);
  expect(luma.requests).toEqual([]);
});
