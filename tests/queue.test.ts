/**
 * The queue: which organizations are synced when, whatever goes wrong. Times are in minutes since `connect`. A sync takes
 * less than 3 s unless a test slows it down, so most syncs begin and end in the same minute.
 */
import { afterEach, expect, vi } from "vitest";
import { internal } from "../convex/_generated/api";
import type { Doc, Id } from "../convex/_generated/dataModel";
import type { OrgId } from "../convex/events/organizations";
import { readSyncStatus, requestSync } from "../convex/events/settings";
import {
  getOrg,
  insertOrg,
  MINUTE_MS,
  SECOND_MS,
  storedEvents,
  wireEvents,
} from "./support/builders";
import { passTime, setTime, settle } from "./support/clock";
import { startCountedEngine } from "./support/counting";
import { cancelJobs, jobs, startFaultyEngine, type FaultyEngine } from "./support/faults";
import { NOW, test } from "./support/fixtures";
import { failure, silence, status, type Answer, type LumaServer } from "./support/lumaServer";

const { syncOrgEvents, runFullEventSync } = internal.events.sync;
const { takeNext, beginSync, endSync } = internal.events.queue.worker;
const { upsertEvents, updateOrgSyncTimestamp, describeEvents, deleteOrgEvents } =
  internal.events.mutations;

const DAY_MINUTES = 24 * 60;
/** Transient failures that take one attempt, or four in 8 s. */
const [PROXY, UNAVAILABLE] = [status(403), status(503)];
/** A permanent failure. */
const REJECTED = failure(401, "No such key.");

let luma: LumaServer;
let engine: FaultyEngine;
let t: FaultyEngine["t"];
let orgIds: OrgId[];
let beganAt: number;
/** Organizations that the queue synced at the same time; empty unless a test fails. */
let twoAtOnce: string[];

test.beforeEach(({ luma: given }) => {
  luma = given;
  twoAtOnce = [];
  for (const method of ["log", "error"] as const) vi.spyOn(console, method).mockReturnValue();
});

afterEach(async () => {
  expect(twoAtOnce, "the queue ran two live syncs at once").toEqual([]);
  for (const { args } of await jobs(t)) {
    const names = args.flatMap((one: object) => Object.keys(one));
    expect(["orgId", "takenAt", "cursor", "isContinuation"]).toEqual(expect.arrayContaining(names));
  }
});

/** Starts over with connected organizations, of which only the first has events. */
async function connect(count: number, { events = 0, on = startFaultyEngine() } = {}) {
  await passTime();
  [engine, t, orgIds, beganAt] = [on, on.t, [], Date.now()];
  for (const method of ["log", "error"] as const) vi.mocked(console[method]).mockClear();
  luma.stubFetch({ answerMs: 300 });
  for (let index = 0; index < count; index += 1) {
    luma.setCalendar(keyOf(index), index === 0 ? wireEvents(events) : []);
    orgIds.push(await insertOrg(t, { name: `Org ${index}`, lumaApiKey: keyOf(index) }));
  }
  watchForTwoAtOnce();
}

/** Whenever the queue begins a sync, looks for others of its syncs that may still write. */
function watchForTwoAtOnce(): void {
  const ofQueue = new Set<string>();
  engine.watch(async (run, called, args) => {
    if (called !== "events/queue/worker:beginSync" || !("takenAt" in run.args)) return;
    ofQueue.add((args as { syncId: string }).syncId);
    const syncs = await t.run((ctx) => ctx.db.query("eventSyncs").collect());
    const live = syncs.filter(({ running = "" }) => ofQueue.has(running));
    if (live.length > 1) twoAtOnce.push(live.map(({ orgId }) => orgId).join());
  });
}

const keyOf = (index: number) => `key-of-${String(index).padStart(4, "0")}`;
const idOf = (index: number) => orgIds[index]!;
const run = () => t.mutation(runFullEventSync, {});
const request = (index = 0) => t.run((ctx) => requestSync(ctx, idOf(index)));
const setKey = (index = 0, lumaApiKey: string | null = keyOf(index)) =>
  t.mutation(internal.orgs.mutations.setLumaConfig, { orgId: idOf(index), lumaApiKey });
const deleteOrg = (index = 0) => t.run((ctx) => ctx.db.delete("organizations", idOf(index)));
const startByHand = (index = 0) => t.action(syncOrgEvents, { orgId: idOf(index) });
/** Returns `succeeded`, the kind of failure, or another error's message. */
const syncByHand = (index = 0) =>
  settle(
    startByHand(index).then(
      () => "succeeded",
      (error: { data?: { kind: string }; message: string }) => error.data?.kind ?? error.message,
    ),
  );

const toMinutes = (time: string | number) =>
  Math.round((new Date(time).getTime() - beganAt) / MINUTE_MS);

async function passUntil(minutes: number): Promise<void> {
  const ms = beganAt + minutes * MINUTE_MS - Date.now();
  if (ms > 0) await passTime(ms);
}

type State = { synced: number | "never"; next: number | "not due" };
const doneAt = (synced: number): State => ({ synced, next: "not due" });
const FAILED: State = { synced: "never", next: 30 };

/** When each organization was synced last and is due next, at this minute or once nothing more happens. */
async function statesAt(minutes = Infinity): Promise<State[]> {
  await passUntil(minutes);
  const { page } = await t.query(internal.orgs.queries.getSyncStatus, { numItems: 2_000 });
  const numberOf = ({ name }: { name: string }) => Number(name.replace("Org ", ""));
  page.sort((a, b) => numberOf(a) - numberOf(b));
  return page.map(({ lastSyncedAt, nextSyncAt }) => ({
    synced: lastSyncedAt === null ? "never" : toMinutes(lastSyncedAt),
    next: nextSyncAt === null ? "not due" : toMinutes(nextSyncAt),
  }));
}
const stateAt = async (minutes?: number) => (await statesAt(minutes))[0];
const syncedAt = async (minutes?: number) => (await statesAt(minutes)).map(({ synced }) => synced);

/** When all syncs began, by hand or not. */
const begun = () => engine.runs.map(({ startedAt }) => toMinutes(startedAt));
/** The organizations whose lists were requested, in order. */
const asked = () => luma.requestsOf("list").map(({ key = "" }) => Number(key.slice(-4)));
const getQueue = () => t.run((ctx) => ctx.db.query("eventSyncQueue").first());
const getSync = (index = 0) =>
  t.run((ctx) =>
    ctx.db
      .query("eventSyncs")
      .withIndex("by_org", (q) => q.eq("orgId", idOf(index)))
      .first(),
  );
const patchSync = async (fields: Partial<Doc<"eventSyncs">>, index = 0) => {
  const sync = await getSync(index);
  if (sync === null) throw new Error("it has no sync yet");
  await t.run((ctx) => ctx.db.patch("eventSyncs", sync._id, fields));
};
const pending = async (name: string) =>
  (await jobs(t)).filter((job) => job.name.endsWith(name) && job.state.kind === "pending");
/** When the worker's next call is scheduled. There is never more than one. */
async function alarmAt(): Promise<number | "none"> {
  const alarms = await pending(":takeNext");
  expect(alarms.length).toBeLessThanOrEqual(1);
  return alarms[0] ? toMinutes(alarms[0].scheduledTime) : "none";
}
const errorOf = async (index = 0) => (await getOrg(t, idOf(index))).eventsSyncError ?? "none";

// Which organizations are synced, and in which order.

test("The daily run syncs all organizations with a key, one after another, 1 s apart", async () => {
  await connect(200);
  await insertOrg(t, { name: "Without", lumaApiKey: undefined });
  expect(await run()).toEqual({ queued: 200, isDone: true });
  await passTime();
  expect(asked()).toEqual(orgIds.map((_, index) => index));
  const ends = engine.runs.map(({ endedAt }) => endedAt);
  const gaps = engine.runs.slice(1).map(({ startedAt }, index) => startedAt - ends[index]!);
  expect(new Set(gaps)).toEqual(new Set([SECOND_MS]));
});

test("The daily run makes 1,500 organizations due, page by page", async () => {
  await connect(1);
  await t.run(async (ctx) => {
    const org = { name: "Other", lumaApiKey: "another" };
    for (let index = 1; index < 1_500; index += 1) await ctx.db.insert("organizations", org);
  });
  expect(await run()).toEqual({ queued: 1_000, isDone: false });
  await passTime(10);
  const due = await t.run((ctx) => ctx.db.query("eventSyncs").collect());
  expect(due).toHaveLength(1_500);
});

test("Two daily runs at once sync each organization once", async () => {
  await connect(3);
  await Promise.all([run(), run(), t.mutation(takeNext, {})]);
  await passTime();
  expect(asked()).toEqual([0, 1, 2]);
});

test("Organizations are synced in the order in which they became due", async () => {
  await connect(4);
  const resume = engine.stall(syncOrgEvents);
  for (const index of [3, 2, 0]) {
    await request(index);
    await passTime(SECOND_MS);
  }
  resume();
  await passTime();
  expect(asked()).toEqual([3, 2, 0]);
});

test("A calendar that is connected during a daily run is synced within a minute", async () => {
  await connect(21);
  for (let index = 0; index < 21; index += 1) luma.setCalendar(keyOf(index), wireEvents(100));
  await setKey(20, null);
  await run();
  await passUntil(1);
  await setKey(20);
  await passTime(MINUTE_MS);
  const events = t.run((ctx) =>
    ctx.db
      .query("events")
      .withIndex("by_org", (q) => q.eq("orgId", idOf(20)))
      .collect(),
  );
  expect(await events).toHaveLength(100);
});

test("Constant requests for 11 calendars delay 11 others by at most 20 minutes", async () => {
  await connect(22);
  luma.answerMs = ({ kind }) => (kind === "list" ? 29_000 : 0);
  await run();
  for (let minute = 0; minute < 20; minute += 1) {
    for (let index = 0; index < 11; index += 1) await request(index);
    await passUntil(minute);
  }
  expect((await syncedAt()).slice(11)).not.toContain("never");
  const lastOfOthers = Math.max(...asked().map((index, at) => (index >= 11 ? at : -1)));
  expect(begun()[lastOfOthers]).toBeLessThanOrEqual(20);
});

// Failures and retries.

test.for<[what: string, begins: number[], answer?: Answer]>([
  ["succeeds", [0]],
  ["fails permanently", [0], REJECTED],
  // 0.5, 1.5, 3.5, 7.5 and 15.5 hours after it became due.
  ["fails transiently", [0, 30, 90, 210, 450, 930], UNAVAILABLE],
])("A sync that %s begins in minute %s, by hand or not", async ([, begins, answer]) => {
  await connect(1);
  if (answer) luma.failBetween(NOW, Infinity, answer);
  for (const [day, begin] of [syncByHand, run, syncByHand].entries()) {
    await passUntil(day * DAY_MINUTES);
    await begin();
    expect(await stateAt()).toMatchObject({ next: "not due" });
    const ofThisDay = begun().slice(day * begins.length);
    expect(ofThisDay).toEqual(begins.map((minute) => day * DAY_MINUTES + minute));
  }
});

test("Retries start over when the organization is requested again", async () => {
  await connect(1);
  luma.failBetween(NOW, Infinity, PROXY);
  await run();
  await passUntil(100);
  await request();
  await passUntil(240);
  expect(begun()).toEqual([0, 30, 90, 100, 130, 190]);
});

test("Each organization is retried on its own, and its failure delays no other", async () => {
  await connect(3);
  luma.answerNext(PROXY, { key: keyOf(0) });
  luma.answerNext(REJECTED, { key: keyOf(1) });
  await run();
  const failedForGood = { synced: "never", next: "not due" };
  expect(await statesAt(1)).toEqual([FAILED, failedForGood, doneAt(0)]);
  expect(await syncedAt()).toEqual([30, "never", 0]);
});

test.for<[hours: number, what: string, within: number, answer: Answer]>([
  [1, "503s", 100, UNAVAILABLE],
  [3, "503s", 230, UNAVAILABLE],
  [1, "no answers", 100, silence],
  [3, "no answers", 230, silence],
])("After %i h of %s, everything is synced by minute %i", async ([hours, , within, answer]) => {
  for (const orgs of [3, 40]) {
    await connect(orgs);
    luma.failBetween(Date.now(), Date.now() + hours * 60 * MINUTE_MS, answer);
    await run();
    const synced = await syncedAt();
    expect(synced).not.toContain("never");
    expect(Math.max(...synced.map(Number))).toBeLessThanOrEqual(within);
  }
});

// Requests during a sync.

const ENDS: [end: string, answer?: Answer][] = [
  ["succeeds"],
  ["fails transiently", PROXY],
  ["fails permanently", REJECTED],
];

const runAndRequest = () => run().then(() => request());

test.for([
  ...ENDS.map(([end, answer]) => ["A request", end, answer, request, 300] as const),
  ...ENDS.map(([end, answer]) => ["The daily run", end, answer, run, 11] as const),
  ["The daily run, and a request,", "succeeds", undefined, runAndRequest, 11] as const,
])("%s during a sync that %s leads to another sync", async ([, , answer, makeDue, againAfter]) => {
  await connect(1);
  luma.answerMs = ({ kind }) => (kind === "list" ? 10_000 : 0);
  if (answer) luma.answerNext(answer);
  await request();
  await passTime(5 * SECOND_MS);
  await makeDue();
  const status = await t.run((ctx) => readSyncStatus(ctx, idOf(0)));
  expect(toMinutes(status.syncingSince ?? NaN)).toBe(0);
  expect(status.nextSyncAt).not.toBeNull();
  await passTime();
  const again = engine.runs[1]!.startedAt;
  expect([engine.runs.length, Math.round((again - beganAt) / SECOND_MS)]).toEqual([2, againAfter]);
  expect((await getOrg(t, idOf(0))).eventsLastSynced).toBeGreaterThanOrEqual(again);
  expect(await errorOf()).toBe("none");
});

test("A request isn't forgotten if the queue hasn't noticed yet that a sync was lost", async () => {
  await connect(1);
  engine.kill(syncOrgEvents, { afterCalls: 2 });
  await request();
  // The alarm is due at minute 12, but Convex runs it late.
  await passUntil(11);
  setTime(beganAt + 13 * MINUTE_MS);
  expect((await t.run((ctx) => readSyncStatus(ctx, idOf(0)))).syncingSince).not.toBeNull();
  await request();
  expect((await stateAt())?.synced).toBe(13);
});

test("A request syncs at once, but at most every 5 minutes, even after a failure", async () => {
  for (const answer of [undefined, REJECTED]) {
    await connect(1);
    if (answer) luma.answerNext(answer);
    for (const at of [0, 1, 2, 4.9, 12]) {
      await passUntil(at);
      await request();
    }
    await passTime();
    expect(begun()).toEqual([0, 5, 12]);
  }
});

// Syncs by hand.

test("A sync by hand doesn't wait for its turn, and replaces the queue's sync", async () => {
  await connect(3);
  await run();
  await passTime(100);
  expect(await syncByHand(2)).toBe("succeeded");
  await passTime();
  expect(asked()).toEqual([0, 2, 1]);
});

test("A sync by hand overtakes the queue's, and the queue goes on when it ends", async () => {
  await connect(2);
  luma.answerMs = ({ kind }) => (kind === "list" ? 10_000 : 0);
  luma.answerNext(REJECTED);
  await run();
  await passTime(5 * SECOND_MS);
  expect(await syncByHand()).toBe("succeeded");
  // The other organization's sync begins 1 s later, and takes 10 s.
  await passTime(12 * SECOND_MS);
  expect(await statesAt(0)).toEqual([doneAt(0), doneAt(0)]);
  expect(engine.runs).toHaveLength(3);
  expect(engine.runs[2]!.startedAt - engine.runs[1]!.endedAt).toBe(SECOND_MS);
});

test("A sync by hand that is killed is repeated 12 minutes after it began", async () => {
  for (const afterCalls of [0, 1, 2, 3]) {
    await connect(1, { events: 1 });
    engine.kill(syncOrgEvents, { afterCalls });
    expect(await syncByHand()).toMatch("was killed");
    const hasBegun = afterCalls > 0;
    expect((await stateAt())?.synced).toBe(hasBegun ? 12 : "never");
  }
});

test("A sync of the queue that Convex starts late doesn't overtake a sync by hand", async () => {
  await connect(2);
  const resume = engine.stall(syncOrgEvents);
  await request();
  await passTime(SECOND_MS);
  luma.answerMs = ({ kind }) => (kind === "list" ? 20_000 : 0);
  const byHand = startByHand();
  await passTime(5 * SECOND_MS);
  resume();
  expect(await settle(byHand)).toMatchObject({ fetched: 0 });
  expect(asked()).toEqual([0]);
});

test("A sync that Convex starts late loses none of its time", async () => {
  await connect(1, { events: 1 });
  luma.answerMs = ({ kind }) => (kind === "list" ? 29_000 : 0);
  const resume = engine.stall(syncOrgEvents);
  await run();
  await passUntil(11.8);
  resume();
  expect(await stateAt(13)).toEqual(doneAt(12));
});

test("A sync by hand replaces one that was requested before it began", async () => {
  await connect(1);
  luma.answerMs = ({ kind }) => (kind === "list" ? 10_000 : 0);
  await request();
  await passTime(5 * SECOND_MS);
  await request();
  expect(await syncByHand()).toBe("succeeded");
  await passTime();
  expect(engine.runs).toHaveLength(2);
});

test("A sync that Convex starts after the queue has given it up does nothing", async () => {
  await connect(2);
  const resume = engine.stall(syncOrgEvents);
  await run();
  expect(await syncedAt(20)).toEqual(["never", 12]);
  expect(await errorOf()).toContain("has not reported back for 12 minutes");
  resume();
  await passTime(5 * SECOND_MS);
  expect(asked()).toEqual([1]);
  expect(await syncedAt()).toEqual([30, 12]);
});

test("A sync of the queue is refused once the queue has moved on", async () => {
  await connect(2);
  engine.stall(syncOrgEvents);
  await request();
  const { takenAt } = (await getQueue())!.current!;
  const begin = (index: number, at = takenAt) =>
    t.mutation(beginSync, { orgId: idOf(index), syncId: "late", takenAt: at });
  const refused = (name: string) => ({
    failure: {
      kind: "overtaken",
      message: expect.stringContaining(`"${name}" was overtaken`) as string,
    },
  });
  expect(await begin(1)).toEqual(refused("Org 1"));
  expect(await begin(0, takenAt - 1)).toEqual(refused("Org 0"));
  await t.mutation(beginSync, { orgId: idOf(0), syncId: "by hand, in the same millisecond" });
  expect(await begin(0)).toEqual(refused("Org 0"));
  await setKey();
  await deleteOrg();
  expect(await begin(0)).toEqual(refused(idOf(0)));
});

// Syncs that are killed, and calls that are refused, unanswered or repeated.

test.for<[what: string, stop: () => unknown]>([
  ["is cancelled", () => cancelJobs(t, syncOrgEvents)],
  ["is killed before it begins", () => engine.kill(syncOrgEvents)],
  ["is killed when it has begun", () => engine.kill(syncOrgEvents, { afterCalls: 1 })],
  ["is killed before it writes", () => engine.kill(syncOrgEvents, { afterCalls: 4 })],
  ["is killed before its stamp", () => engine.kill(syncOrgEvents, { afterCalls: 5 })],
])("A sync of the queue that %s is given up after 12 minutes, and retried", async ([, stop]) => {
  await connect(2, { events: 1 });
  await run();
  await stop();
  expect(await statesAt(13)).toEqual([FAILED, doneAt(12)]);
  const error =
    'Organization "Org 0" was not synced: its sync has not reported back for 12 minutes. It will be retried automatically.';
  expect(await errorOf()).toBe(error);
  expect(console.error).toHaveBeenCalledWith(error);
  expect(await syncedAt()).toEqual([30, 12]);
  expect(await errorOf()).toBe("none");
});

test("A lost sync is an error even if the one before it succeeded", async () => {
  await connect(1);
  await run();
  await passUntil(60);
  engine.kill(syncOrgEvents);
  await run();
  expect(await stateAt(73)).toEqual({ synced: 0, next: 90 });
  expect(await errorOf()).toContain("has not reported back");
});

test.for<[what: string, vanish: () => Promise<unknown>]>([
  ["the organization is deleted", () => deleteOrg()],
  ["its state is deleted by hand", async () => deleteDocument((await getSync())!._id)],
])("A lost sync doesn't hold up the queue for longer if %s", async ([, vanish]) => {
  await connect(2);
  engine.kill(syncOrgEvents, { afterCalls: 1 });
  await request();
  await passTime(100);
  await vanish();
  await request(1);
  expect((await syncedAt()).at(-1)).toBe(12);
});

const deleteDocument = (id: Id<"eventSyncs">) => t.run((ctx) => ctx.db.delete("eventSyncs", id));

test("A sync of the queue that is killed after its stamp is retried, but is no error", async () => {
  // The sixth call stamps, after beginSync, getById, getApiKey, getStoredEvents and upsertEvents.
  for (const afterCalls of [6, 7]) {
    await connect(2, { events: 1 });
    engine.kill(syncOrgEvents, { afterCalls });
    await run();
    expect(await statesAt(13)).toEqual([{ synced: 0, next: 30 }, doneAt(12)]);
    expect(await errorOf()).toBe("none");
    const reported = expect.stringContaining("has not reported back") as string;
    expect(console.error).not.toHaveBeenCalledWith(reported);
  }
});

test("A sync that goes on after the queue has given it up writes nothing more", async () => {
  await connect(1, { events: 1 });
  const resume = engine.stall(syncOrgEvents, { afterCalls: 3 });
  await request();
  await passUntil(13);
  const lost = await getOrg(t, idOf(0));
  resume();
  await passUntil(14);
  expect(await getOrg(t, idOf(0))).toEqual(lost);
  expect(await storedEvents(t)).toEqual(new Map());
  expect((await stateAt())?.synced).toBe(30);
});

test("A sync begins only once if beginSync is refused or its answer is lost", async () => {
  for (const spoil of ["refuse", "loseAnswer"] as const) {
    await connect(1, { events: 1 });
    engine[spoil](beginSync, 2);
    await request();
    expect(await stateAt(1)).toEqual(doneAt(0));
    expect(asked().length).toBe(1);
    luma.requests.length = 0;
  }
});

/** Everything else that a sync of an organization with one new event calls. */
const { getApiKey, getStoredEvents } = internal.events.queries;
const reads = { getById: internal.orgs.queries.getById, getApiKey, getStoredEvents };
const writes = { upsertEvents, updateOrgSyncTimestamp, describeEvents, endSync };
const CALLS = Object.entries({ ...reads, ...writes });

test.for(CALLS)("A sync succeeds if %s is refused twice or its answer lost", async ([, call]) => {
  for (const spoil of [() => engine.refuse(call, 2), () => engine.loseAnswer(call)]) {
    await connect(2, { events: 1 });
    spoil();
    await run();
    expect(await statesAt(2)).toEqual([doneAt(0), doneAt(0)]);
  }
});

test("A sync that can't report its end succeeds, but holds up the queue for 12 min", async () => {
  await connect(2, { events: 1 });
  engine.refuse(endSync, 3);
  await run();
  expect(await syncedAt(11)).toEqual([0, "never"]);
  expect(await statesAt(13)).toEqual([{ synced: 0, next: 30 }, doneAt(12)]);
  expect(await errorOf()).toBe("none");
});

test("A report of a sync's end that comes late or twice changes nothing", async () => {
  await connect(2);
  await run();
  await passTime();
  const before = [await getSync(), await getQueue(), await getOrg(t, idOf(0))];
  const report = { orgId: idOf(0), syncId: "long ago" };
  const failed = { message: "late", kind: "transient" as const };
  expect(await t.mutation(endSync, { ...report, failure: failed })).toEqual(failed);
  expect(await t.mutation(endSync, { ...report, failure: null })).toBeNull();
  expect([await getSync(), await getQueue(), await getOrg(t, idOf(0))]).toEqual(before);
  await t.mutation(beginSync, { orgId: idOf(0), syncId: "later" });
  expect(await t.mutation(endSync, { ...report, failure: null })).toBeNull();
  expect((await getSync())?.running).toBe("later");
});

// The alarm: the worker's next scheduled call.

test.for<[what: string, act: () => unknown]>([
  ["The daily run", () => run()],
  ["A request", () => request(1)],
  ["A new key", () => setKey(1)],
  ["A sync by hand", () => syncByHand(1)],
  ["Running takeNext", () => t.mutation(takeNext, {})],
])("%s restarts a queue whose alarm was cancelled or failed", async ([, act]) => {
  const spoils: (() => unknown)[] = [() => cancelJobs(t, takeNext), () => engine.refuse(takeNext)];
  for (const spoil of spoils) {
    await connect(2);
    luma.answerNext(PROXY);
    await request();
    await passUntil(1);
    await spoil();
    expect(await stateAt(60)).toEqual(FAILED);
    await act();
    expect((await stateAt())?.synced).toBe(60);
  }
});

/** Has an organization fail, and waits until the alarm is set for its retry in minute 30. */
async function waitForRetryAlarm(): Promise<void> {
  await connect(2);
  luma.answerNext(PROXY);
  await request();
  await passUntil(13);
  expect(await alarmAt()).toBe(30);
}

test("An alarm that is more than 5 minutes late is replaced", async () => {
  for (const { lateBy, isKept } of [
    { lateBy: 4, isKept: true },
    { lateBy: 6, isKept: false },
  ]) {
    await waitForRetryAlarm();
    const [before] = await pending(":takeNext");
    // Nothing is due in that time, in which Convex runs nothing.
    await patchSync({ dueAt: beganAt + 100 * MINUTE_MS });
    setTime(beganAt + (30 + lateBy) * MINUTE_MS);
    await setKey(1, null);
    const after = await pending(":takeNext");
    expect(after).toHaveLength(1);
    expect(after[0]?._id === before?._id).toBe(isKept);
  }
});

test("An alarm that is later than needed is replaced by an earlier one", async () => {
  await waitForRetryAlarm();
  await patchSync({ dueAt: beganAt + 20 * MINUTE_MS });
  await t.mutation(takeNext, {});
  expect(await alarmAt()).toBe(20);
  expect((await stateAt())?.synced).toBe(20);
});

test("Running takeNext by hand neither duplicates nor delays the alarm", async () => {
  await waitForRetryAlarm();
  const [before] = await pending(":takeNext");
  await t.mutation(takeNext, {});
  expect((await pending(":takeNext")).map(({ _id }) => _id)).toEqual([before?._id]);
  expect((await stateAt())?.synced).toBe(30);
});

test("An alarm that runs slightly early is set again, and nothing is synced twice", async () => {
  await waitForRetryAlarm();
  const before = await getQueue();
  setTime(beganAt + 30 * MINUTE_MS - 900);
  await t.mutation(takeNext, {});
  const after = await getQueue();
  expect(after?.next?.at).toBe(before?.next?.at);
  expect(after?.next?.id).not.toBe(before?.next?.id);
  expect((await stateAt())?.synced).toBe(30);
  expect(begun()).toEqual([0, 30]);
});

test("The alarm is set for whatever is due first, urgent or not", async () => {
  await connect(2);
  luma.answerNext(PROXY);
  await request(0);
  await request(1);
  await passUntil(13);
  expect(await alarmAt()).toBe(30);
  await patchSync({ dueAt: beganAt + 20 * MINUTE_MS, isUrgent: true }, 1);
  await t.mutation(takeNext, {});
  expect(await alarmAt()).toBe(20);
});

test("A queue with nothing left to do has no alarm", async () => {
  await connect(2);
  await run();
  await passTime(100);
  expect(await alarmAt()).toBe(12);
  await passTime(30 * SECOND_MS);
  expect(await alarmAt()).toBe("none");
  await passTime();
  expect(begun()).toEqual([0, 0]);
});

// Keys, organizations and their state.

test("A new key ends a running sync at once, so nobody waits for it", async () => {
  for (const start of [() => request(), startByHand]) {
    await connect(2);
    // The sync never gets an answer.
    luma.answerNext(silence, { key: keyOf(0) });
    const ended = start().then(
      () => "done",
      (error: { data: { kind: string } }) => error.data.kind,
    );
    await passTime(5 * SECOND_MS);
    await setKey(0, "another-key");
    luma.setCalendar("another-key", []);
    await request(1);
    await passTime(10 * SECOND_MS);
    expect(await syncedAt(0)).toEqual([0, 0]);
    expect(await settle(ended)).toMatch(/done|ended/);
  }
});

const deleteAll = () => deleteOrg().then(() => t.mutation(deleteOrgEvents, { orgId: idOf(0) }));
test.for<[what: string, leave: () => Promise<unknown>]>([
  ["disconnected", () => setKey(0, null)],
  ["disconnected by hand", () => patchOrg({ lumaApiKey: undefined })],
  ["deleted", () => deleteOrg()],
  ["deleted along with its events", deleteAll],
])("An organization that is %s leaves the queue, before or during its sync", async ([, leave]) => {
  for (const isRunning of [false, true]) {
    await connect(2);
    const resume = isRunning ? () => undefined : engine.stall(syncOrgEvents);
    await run();
    await passTime(100);
    await leave();
    resume();
    await passTime(20 * SECOND_MS);
    const all = await t.run((ctx) => ctx.db.query("eventSyncs").collect());
    expect(all.filter(({ running, dueAt }) => running ?? dueAt)).toEqual([]);
    expect((await syncedAt()).at(-1)).toBe(0);
    expect((await getQueue())?.current).toBeUndefined();
  }
});

const patchOrg = (fields: Partial<Doc<"organizations">>) =>
  t.run((ctx) => ctx.db.patch("organizations", idOf(0), fields));

test.for<[what: string, leave: () => Promise<unknown>]>([
  ["no longer has a key", () => patchOrg({ lumaApiKey: undefined })],
  ["was deleted", () => deleteOrg()],
])("The queue skips an organization that is due but %s", async ([, leave]) => {
  await connect(2);
  const resume = engine.stall(syncOrgEvents);
  await request(1);
  await request(0);
  await leave();
  resume();
  await passTime();
  expect(asked()).toEqual([1]);
  expect(engine.runs).toHaveLength(1);
  expect(await getSync()).not.toHaveProperty("dueAt");
});

test("A sync by hand without a key takes its organization out of the queue", async () => {
  await connect(1);
  luma.answerNext(PROXY);
  await request();
  await passUntil(1);
  await patchOrg({ lumaApiKey: " " });
  expect(await syncByHand()).toBe("permanent");
  expect(await getSync()).not.toHaveProperty("dueAt");
});

test("Duplicates of the queue's documents stop no sync, and the worker deletes them", async () => {
  await connect(2);
  await run();
  await passTime();
  const { _id, _creationTime, ...sync } = (await getSync())!;
  await t.run(async (ctx) => {
    await ctx.db.insert("eventSyncs", { ...sync, dueAt: beganAt });
    await ctx.db.insert("eventSyncQueue", { pausedUntil: 0 });
  });
  await passUntil(20);
  expect(await run()).toEqual({ queued: 2, isDone: true });
  expect(await syncedAt()).toEqual([20, 20]);
  const left = await t.run(async (ctx) => [
    await ctx.db.query("eventSyncs").collect(),
    await ctx.db.query("eventSyncQueue").collect(),
  ]);
  expect(left.map((all) => all.length)).toEqual([2, 1]);
});

test("The status is read without the queue's document, which every sync writes", async () => {
  const { t: counted, counts, reset, stop } = startCountedEngine();
  await connect(1, { on: { ...startFaultyEngine(), t: counted } });
  await run();
  await passTime();
  reset();
  await t.query(internal.orgs.queries.getSyncStatus, {});
  // The organization, its document in eventSyncs, and its secrets.
  expect(counts.documentsRead).toBe(3);
  stop();
});

test("A daily run without changes writes 6 documents per organization", async () => {
  for (const orgs of [1, 3]) {
    const { t: counted, counts, reset, stop } = startCountedEngine();
    await connect(orgs, { events: 20, on: { ...startFaultyEngine(), t: counted } });
    for (const day of [0, 1]) {
      reset();
      await run();
      await passUntil(day * DAY_MINUTES + 60);
    }
    expect(counts).toMatchObject({ documentsWritten: 6 * orgs, eventsWritten: 0 });
    stop();
  }
});

test.for([1, 2, 3, 4])("No organization is lost amid random faults (seed %i)", async (seed) => {
  let [state, isWild] = [seed * 7_919, true];
  const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  const withChance = (chance: number) => () => isWild && random() < chance;
  await connect(6, { events: 1 });
  engine.refuse("any", withChance(0.03));
  engine.loseAnswer("any", withChance(0.03));
  for (let afterCalls = 0; afterCalls < 7; afterCalls += 1) {
    engine.kill(syncOrgEvents, { afterCalls, times: withChance(0.03) });
  }
  // Some actions begin late, and others pause after a call or two.
  const resumes = [0, 1, 2].map((afterCalls) =>
    engine.stall(syncOrgEvents, { afterCalls, times: withChance(0.03) }),
  );
  /** When each organization was made due last; -Infinity while it has no key. */
  const madeDue = orgIds.map(() => -Infinity);
  const hasKey = orgIds.map(() => true);
  const note = (index: number) => void (madeDue[index] = hasKey[index] ? Date.now() : -Infinity);
  for (let step = 0; step < 80; step += 1) {
    const index = Math.floor(random() * 6);
    const steps = [
      () => run().then(() => orgIds.forEach((_, one) => note(one))),
      () => request(index).then(() => note(index)),
      () => setKey(index).then(() => ((hasKey[index] = true), note(index))),
      () => setKey(index, null).then(() => ((hasKey[index] = false), note(index))),
      () => Promise.resolve(void startByHand(index).catch(() => undefined)),
      () => t.mutation(takeNext, {}),
      () => cancelJobs(t, index % 2 === 0 ? takeNext : syncOrgEvents),
      () => luma.failBetween(Date.now(), Date.now() + random() * 20 * MINUTE_MS, PROXY),
      () => resumes[index % 3]!(),
    ];
    await Promise.resolve(steps[Math.floor(random() * steps.length)]!()).catch(() => undefined);
    await passTime(Math.floor(random() ** 3 * 20 * MINUTE_MS));
  }
  isWild = false;
  // Everything that is stuck goes on.
  await t.mutation(takeNext, {});
  for (const resume of resumes) resume();
  await passTime();
  const orgs = await Promise.all(orgIds.map((orgId) => getOrg(t, orgId)));
  const forgotten = madeDue.filter((at, i) => (orgs[i]!.eventsLastSynced ?? -Infinity) < at);
  expect(forgotten).toEqual([]);
  const syncs = await t.run((ctx) => ctx.db.query("eventSyncs").collect());
  expect(syncs.filter(({ dueAt, running }) => dueAt ?? running)).toEqual([]);
  expect((await getQueue())?.current).toBeUndefined();
});
