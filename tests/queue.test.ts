/**
 * The queue: who is synced when, whatever happens meanwhile. Times are minutes since the beginning. A plain sync takes
 * less than 3 s, so that most of them begin and end in the same minute.
 */
import { afterEach, expect, vi } from "vitest";
import { internal } from "../convex/_generated/api";
import type { Doc } from "../convex/_generated/dataModel";
import type { OrgId } from "../convex/events/organizations";
import { readSyncStatus, requestSync } from "../convex/events/settings";
import { getOrg, insertOrg, storedEvents, wireEvents } from "./support/builders";
import { passTime, setTime, settle } from "./support/clock";
import { startCountedEngine } from "./support/counting";
import { cancelJobs, jobs, startFaultyEngine, type FaultyEngine } from "./support/faults";
import { failureOf, NOW, test } from "./support/fixtures";
import { failure, silence, status, type Answer, type LumaServer } from "./support/lumaServer";

const { syncOrgEvents, runFullEventSync } = internal.events.sync;
const { takeNext, beginSync, endSync } = internal.events.queue.worker;
const { upsertEvents, updateOrgSyncTimestamp, describeEvents, deleteOrgEvents } =
  internal.events.mutations;

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const DAY_MINUTES = 24 * 60;
/** A transient failure that is known at once, one that is known after four attempts and 8 s, and a permanent one. */
const [PROXY, UNAVAILABLE] = [status(403), status(503)];
const REJECTED = failure(401, "No such key.");

let luma: LumaServer;
let engine: FaultyEngine;
let t: FaultyEngine["t"];
let orgIds: OrgId[];
let beganAt: number;
/** The organizations of which the queue had two live syncs at once. */
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

/** Begins anew with connected organizations, of which only the first has events. */
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

/** Looks at all syncs that may write whenever one has begun. */
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
/** What becomes of a sync by hand. */
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

/** Then, or when nothing more happens: when an organization was synced last, and when it is due next. */
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

/** When the syncs began, by hand or not. */
const begun = () => engine.runs.map(({ startedAt }) => toMinutes(startedAt));
/** Whose lists lu.ma was asked for, in that order. */
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
/** When the worker's scheduled call runs; there is never more than one. */
async function alarmAt(): Promise<number | "none"> {
  const alarms = await pending(":takeNext");
  expect(alarms.length).toBeLessThanOrEqual(1);
  return alarms[0] ? toMinutes(alarms[0].scheduledTime) : "none";
}
const errorOf = async (index = 0) => (await getOrg(t, idOf(index))).eventsSyncError ?? "none";

/** Has something happen when lu.ma is asked, before it answers. */
function meanwhile(happen: () => Promise<unknown>, answer: Answer = luma.answer): Answer {
  return (...call) => void luma.waitFor(happen().then(() => answer(...call)));
}

// Who is synced, and in which order.

test("the morning's run syncs everybody who has a key, in order, 1 s apart", async () => {
  await connect(200);
  await insertOrg(t, { name: "Without", lumaApiKey: undefined });
  expect(await run()).toEqual({ queued: 200, isDone: true });
  await passTime();
  expect(asked()).toEqual(orgIds.map((_, index) => index));
  const ends = engine.runs.map(({ endedAt }) => endedAt);
  const gaps = engine.runs.slice(1).map(({ startedAt }, index) => startedAt - ends[index]!);
  expect(new Set(gaps)).toEqual(new Set([SECOND_MS]));
  expect(await alarmAt()).toBe("none");
});

test("1,500 organizations are made due page by page", async () => {
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

test("a morning's run that begins twice at once is one", async () => {
  await connect(3);
  await Promise.all([run(), run(), t.mutation(takeNext, {})]);
  await passTime();
  expect(asked()).toEqual([0, 1, 2]);
});

test("who became due first is synced first", async () => {
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

test("a calendar that is connected a minute into a morning's run has its events within a minute", async () => {
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

test("eleven calendars that are requested without pause don't keep the morning's waiting for long", async () => {
  await connect(22);
  luma.answerMs = ({ kind }) => (kind === "list" ? 29_000 : 0);
  await run();
  for (let minute = 0; minute < 20; minute += 1) {
    for (let index = 0; index < 11; index += 1) await request(index);
    await passUntil(minute);
  }
  expect((await syncedAt()).slice(11)).not.toContain("never");
  const lastOfMorning = Math.max(...asked().map((index, at) => (index >= 11 ? at : -1)));
  expect(begun()[lastOfMorning]).toBeLessThanOrEqual(20);
});

// Failures and retries.

test.for([
  { what: "succeeds", answer: undefined, begins: [0] },
  { what: "fails permanently", answer: REJECTED, begins: [0] },
  // 0.5, 1.5, 3.5, 7.5 and 15.5 hours after it became due.
  { what: "fails transiently", answer: UNAVAILABLE, begins: [0, 30, 90, 210, 450, 930] },
])("a sync that $what begins at minutes $begins, by hand or not", async ({ answer, begins }) => {
  await connect(1);
  if (answer) luma.failBetween(NOW, Infinity, answer);
  for (const [day, begin] of [syncByHand, run].entries()) {
    await passUntil(day * DAY_MINUTES);
    await begin();
    expect(await stateAt()).toMatchObject({ next: "not due" });
    const ofThisDay = begun().slice(day * begins.length);
    expect(ofThisDay).toEqual(begins.map((minute) => day * DAY_MINUTES + minute));
  }
});

test("retries start anew when something makes the organization due", async () => {
  await connect(1);
  luma.failBetween(NOW, Infinity, PROXY);
  await run();
  await passUntil(100);
  await request();
  await passUntil(240);
  expect(begun()).toEqual([0, 30, 90, 100, 130, 190]);
});

test("each organization is retried on its own, and a failure of one delays no other", async () => {
  await connect(3);
  luma.answerNext(PROXY, { key: keyOf(0) });
  luma.answerNext(REJECTED, { key: keyOf(1) });
  await run();
  expect(await statesAt(1)).toEqual([
    { synced: "never", next: 30 },
    { synced: "never", next: "not due" },
    { synced: 0, next: "not due" },
  ]);
  expect(await syncedAt()).toEqual([30, "never", 0]);
});

test.for([
  { orgs: 3, hours: 1, answer: UNAVAILABLE, within: 100 },
  { orgs: 3, hours: 3, answer: UNAVAILABLE, within: 230 },
  { orgs: 40, hours: 1, answer: UNAVAILABLE, within: 100 },
  { orgs: 40, hours: 3, answer: UNAVAILABLE, within: 230 },
  { orgs: 3, hours: 1, answer: silence, within: 100 },
  { orgs: 3, hours: 3, answer: silence, within: 230 },
  { orgs: 40, hours: 1, answer: silence, within: 100 },
  { orgs: 40, hours: 3, answer: silence, within: 230 },
])(
  "after an outage of $hours h, $orgs organizations are synced within $within min",
  async ({ orgs, hours, answer, within }) => {
    await connect(orgs);
    luma.failBetween(NOW, NOW + hours * 60 * MINUTE_MS, answer);
    await run();
    const synced = await syncedAt();
    expect(synced).not.toContain("never");
    expect(Math.max(...synced.map(Number))).toBeLessThanOrEqual(within);
  },
);

// What is asked for while a sync is running.

const ENDS = [
  { end: "succeeds", answer: undefined },
  { end: "fails transiently", answer: PROXY },
  { end: "fails permanently", answer: REJECTED },
];

test.for([
  ...ENDS.map((row) => ({ ...row, what: "a request", makeDue: request, againAfter: 300 })),
  ...ENDS.map((row) => ({ ...row, what: "the morning's run", makeDue: run, againAfter: 11 })),
])("$what during a sync that $end is served after it", async ({ answer, makeDue, againAfter }) => {
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

test("a request while the queue is still about to notice that a sync is lost is not forgotten", async () => {
  await connect(1);
  engine.kill(syncOrgEvents, { afterCalls: 2 });
  await request();
  // Convex is late with the alarm.
  await passUntil(11);
  setTime(beganAt + 13 * MINUTE_MS);
  await request();
  expect((await stateAt())?.synced).toBe(13);
});

test("a request syncs now, at most once every 5 minutes, whether the last sync was good or bad", async () => {
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
  await setKey(0, null);
  await expect(request()).rejects.toThrow("has no lu.ma API key");
});

// Syncs by hand.

test("a sync by hand doesn't wait for its turn, and its organization is not synced again", async () => {
  await connect(3);
  await run();
  await passTime(100);
  expect(await syncByHand(2)).toBe("succeeded");
  await passTime();
  expect(asked()).toEqual([0, 2, 1]);
});

test("a sync by hand overtakes the queue's, and the queue goes on when it ends", async () => {
  await connect(2);
  luma.answerMs = ({ kind }) => (kind === "list" ? 10_000 : 0);
  luma.answerNext(REJECTED);
  await run();
  await passTime(5 * SECOND_MS);
  expect(await syncByHand()).toBe("succeeded");
  // 1 s after it, 15 s after the beginning; it takes 10.
  await passTime(12 * SECOND_MS);
  expect(await statesAt(0)).toEqual([
    { synced: 0, next: "not due" },
    { synced: 0, next: "not due" },
  ]);
  expect(engine.runs).toHaveLength(3);
});

test("a sync by hand that is killed is synced again 12 minutes after it began, if it began", async () => {
  for (const afterCalls of [0, 1, 2, 3]) {
    await connect(1, { events: 1 });
    engine.kill(syncOrgEvents, { afterCalls });
    expect(await syncByHand()).toMatch("was killed");
    const hasBegun = afterCalls > 0;
    expect((await stateAt())?.synced).toBe(hasBegun ? 12 : "never");
  }
});

test("the action of the queue that Convex starts late doesn't overtake a person's sync", async () => {
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

test("the action of the queue that Convex starts after the queue has gone on does nothing", async () => {
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

// What is lost, killed, refused or done twice.

test.for([
  { stage: "before it began", afterCalls: 0 },
  { stage: "when it had begun", afterCalls: 1 },
  { stage: "before it wrote", afterCalls: 4 },
])(
  "a sync of the queue that is killed $stage is lost after 12 minutes, and retried",
  async ({ afterCalls }) => {
    await connect(2, { events: 1 });
    engine.kill(syncOrgEvents, { afterCalls });
    await run();
    expect(await statesAt(13)).toEqual([
      { synced: "never", next: 30 },
      { synced: 12, next: "not due" },
    ]);
    const error =
      'Organization "Org 0" was not synced: its sync has not reported back for 12 minutes. It will be retried automatically.';
    expect(await errorOf()).toBe(error);
    expect(console.error).toHaveBeenCalledWith(error);
    expect(await syncedAt()).toEqual([30, 12]);
    expect(await errorOf()).toBe("none");
  },
);

test("a sync of the queue that is killed after it has stamped its organization is no error", async () => {
  // It begins, reads the organization, its key and what is stored, writes the event, and stamps.
  for (const afterCalls of [6, 7]) {
    await connect(2, { events: 1 });
    engine.kill(syncOrgEvents, { afterCalls });
    await run();
    expect(await statesAt(13)).toEqual([
      { synced: 0, next: 30 },
      { synced: 12, next: "not due" },
    ]);
    expect(await errorOf()).toBe("none");
    const reported = expect.stringContaining("has not reported back") as string;
    expect(console.error).not.toHaveBeenCalledWith(reported);
  }
});

test("a lost sync that is alive after all writes nothing more", async () => {
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

test("a sync of which Convex refuses or loses the beginning is begun once", async () => {
  for (const spoil of ["refuse", "loseAnswer"] as const) {
    await connect(1, { events: 1 });
    engine[spoil](beginSync, 2);
    await request();
    expect(await stateAt(1)).toEqual({ synced: 0, next: "not due" });
    expect(asked().length).toBe(1);
    luma.requests.length = 0;
  }
});

/** Everything that a sync of an organization with one new event calls. */
const CALLS = [
  { name: "getById", call: internal.orgs.queries.getById },
  { name: "getApiKey", call: internal.events.queries.getApiKey },
  { name: "getStoredEvents", call: internal.events.queries.getStoredEvents },
  { name: "upsertEvents", call: upsertEvents },
  { name: "updateOrgSyncTimestamp", call: updateOrgSyncTimestamp },
  { name: "describeEvents", call: describeEvents },
  { name: "endSync", call: endSync },
];

test.for(CALLS)(
  "a sync succeeds if $name is refused twice or answered once too late",
  async (row) => {
    for (const spoil of [() => engine.refuse(row.call, 2), () => engine.loseAnswer(row.call)]) {
      await connect(2, { events: 1 });
      spoil();
      await run();
      expect(await statesAt(2)).toEqual([
        { synced: 0, next: "not due" },
        { synced: 0, next: "not due" },
      ]);
    }
  },
);

test.for(CALLS.slice(0, 4))("a sync whose $name is refused three times is retried", async (row) => {
  await connect(2, { events: 1 });
  engine.refuse(row.call, 3);
  await run();
  expect(await statesAt(2)).toEqual([
    { synced: "never", next: 30 },
    { synced: 0, next: "not due" },
  ]);
  expect((await stateAt())?.synced).toBe(30);
});

test("a sync whose end is refused three times is not retried before the queue has waited for it", async () => {
  await connect(2, { events: 1 });
  engine.refuse(endSync, 3);
  await run();
  expect(await syncedAt(11)).toEqual([0, "never"]);
  expect(await statesAt(13)).toEqual([
    { synced: 0, next: 30 },
    { synced: 12, next: "not due" },
  ]);
  expect(await errorOf()).toBe("none");
});

test("an end that is reported again, or late, changes nothing", async () => {
  await connect(2);
  await run();
  await passTime();
  const before = [await getSync(), await getQueue(), await getOrg(t, idOf(0))];
  const report = { orgId: idOf(0), syncId: "long ago" };
  const failed = { message: "late", kind: "transient" as const };
  expect(await t.mutation(endSync, { ...report, failure: failed })).toEqual(failed);
  expect(await t.mutation(endSync, { ...report, failure: null })).toBeNull();
  expect([await getSync(), await getQueue(), await getOrg(t, idOf(0))]).toEqual(before);
});

test("a failed sync whose end finds a later one running was overtaken", async () => {
  await connect(1);
  luma.answerNext(
    meanwhile(() => t.mutation(beginSync, { orgId: idOf(0), syncId: "later" }), REJECTED),
  );
  expect(await settle(failureOf(startByHand()))).toEqual({
    kind: "overtaken",
    message: 'A later sync of the organization "Org 0" has begun, so this one writes nothing more.',
  });
  expect((await getSync())?.running).toBe("later");
});

// The alarm.

const REPAIRS = [
  { repair: "the morning's run", act: () => run() },
  { repair: "a request", act: () => request(1) },
  { repair: "a key", act: () => setKey(1) },
  { repair: "a sync by hand", act: () => syncByHand(1) },
  { repair: "somebody who runs takeNext", act: () => t.mutation(takeNext, {}) },
];

test.for(REPAIRS)(
  "$repair starts a queue again whose alarm was cancelled or failed",
  async ({ act }) => {
    for (const spoil of [
      () => cancelJobs(t, takeNext),
      () => Promise.resolve(engine.refuse(takeNext)),
    ]) {
      await connect(2);
      luma.answerNext(PROXY);
      await request();
      await passUntil(1);
      await spoil();
      expect(await stateAt(60)).toEqual({ synced: "never", next: 30 });
      await act();
      expect((await stateAt())?.synced).toBe(60);
    }
  },
);

/** Has an organization fail, and waits until the alarm is set for its retry. */
async function waitForRetryAlarm(): Promise<void> {
  await connect(2);
  luma.answerNext(PROXY);
  await request();
  await passUntil(13);
  expect(await alarmAt()).toBe(30);
}

test("an alarm that is more than 5 minutes late is replaced", async () => {
  for (const { lateBy, isKept } of [
    { lateBy: 4, isKept: true },
    { lateBy: 6, isKept: false },
  ]) {
    await waitForRetryAlarm();
    const [before] = await pending(":takeNext");
    // Time in which Convex runs nothing, and nothing else becomes due.
    await patchSync({ dueAt: beganAt + 100 * MINUTE_MS });
    setTime(beganAt + (30 + lateBy) * MINUTE_MS);
    await setKey(1, null);
    const after = await pending(":takeNext");
    expect(after).toHaveLength(1);
    expect(after[0]?._id === before?._id).toBe(isKept);
  }
});

test("an alarm that is later than needed is replaced, and no other one stays", async () => {
  await waitForRetryAlarm();
  await patchSync({ dueAt: beganAt + 20 * MINUTE_MS });
  await t.mutation(takeNext, {});
  expect(await alarmAt()).toBe(20);
  expect((await stateAt())?.synced).toBe(20);
});

test("somebody who runs takeNext by hand neither doubles nor delays the alarm", async () => {
  await waitForRetryAlarm();
  const [before] = await pending(":takeNext");
  await t.mutation(takeNext, {});
  expect((await pending(":takeNext")).map(({ _id }) => _id)).toEqual([before?._id]);
  expect((await stateAt())?.synced).toBe(30);
});

test("an alarm whose clock is slightly behind the time that it was set for is no second alarm", async () => {
  await waitForRetryAlarm();
  setTime(beganAt + 30 * MINUTE_MS - 900);
  await t.mutation(takeNext, {});
  expect((await stateAt())?.synced).toBe(30);
  expect(begun()).toEqual([0, 30]);
});

test("a queue whose action was cancelled goes on after 12 minutes", async () => {
  await connect(1);
  await request();
  expect(await cancelJobs(t, syncOrgEvents)).toBe(1);
  expect(await stateAt(13)).toEqual({ synced: "never", next: 30 });
  expect((await stateAt())?.synced).toBe(30);
});

test("a queue that has nothing to do has no alarm", async () => {
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

test("a key that is set ends a running sync at once: nobody waits for it", async () => {
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

test.for([
  { what: "disconnected", leave: () => setKey(0, null) },
  { what: "disconnected by hand", leave: () => patchOrg({ lumaApiKey: undefined }) },
  { what: "deleted", leave: () => deleteOrg() },
  {
    what: "deleted, and its events too",
    leave: () => deleteOrg().then(() => t.mutation(deleteOrgEvents, { orgId: idOf(0) })),
  },
])("an organization that is $what leaves the queue, before or during its sync", async (row) => {
  for (const isRunning of [false, true]) {
    await connect(2);
    const resume = isRunning ? () => undefined : engine.stall(syncOrgEvents);
    await run();
    await passTime(100);
    await row.leave();
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

test("an organization that is due but has no key any more is passed over", async () => {
  await connect(2);
  const resume = engine.stall(syncOrgEvents);
  await request(1);
  await request(0);
  await patchOrg({ lumaApiKey: undefined });
  resume();
  await passTime();
  expect(asked()).toEqual([1]);
  expect(await getSync()).not.toHaveProperty("dueAt");
});

test("a sync by hand without a key or an organization says what to do, and leaves the queue", async () => {
  await connect(1);
  luma.answerNext(PROXY);
  await request();
  await passUntil(1);
  await patchOrg({ lumaApiKey: " " });
  const noKey = await settle(failureOf(startByHand()));
  expect(noKey.kind).toBe("permanent");
  expect(noKey.message).toMatch('"Org 0" has no lu.ma API key');
  expect(await getSync()).not.toHaveProperty("dueAt");
  await deleteOrg();
  const noOrg = await settle(failureOf(startByHand()));
  expect(noOrg.kind).toBe("permanent");
  expect(noOrg.message).toMatch(`no organization with the id ${idOf(0)}`);
});

test("an organization's state that is there twice stops nobody, and the worker deletes the second", async () => {
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

test("the status of a sync is read without the queue's document", async () => {
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

test("a morning without changes writes 6 documents an organization, a sync by hand 5", async () => {
  for (const orgs of [1, 3]) {
    const { t: counted, counts, reset, stop } = startCountedEngine();
    await connect(orgs, { events: 20, on: { ...startFaultyEngine(), t: counted } });
    for (const day of [0, 1]) {
      reset();
      await run();
      await passUntil(day * DAY_MINUTES + 60);
    }
    expect(counts).toMatchObject({ documentsWritten: 6 * orgs, eventsWritten: 0 });
    reset();
    await settle(startByHand());
    await passTime();
    expect(counts).toMatchObject({ documentsWritten: 5, eventsWritten: 0 });
    stop();
  }
});

test.for([1, 2, 3, 4])("nobody is forgotten when everything goes wrong (seed %i)", async (seed) => {
  let [state, isWild] = [seed * 7_919, true];
  const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  const withChance = (chance: number) => () => isWild && random() < chance;
  await connect(6, { events: 1 });
  engine.refuse("any", withChance(0.03));
  engine.loseAnswer("any", withChance(0.03));
  for (let afterCalls = 0; afterCalls < 7; afterCalls += 1) {
    engine.kill(syncOrgEvents, { afterCalls, times: withChance(0.03) });
  }
  // Two kinds of late actions: one that begins late, and one that goes on late.
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
  // Whatever stands still starts again.
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
