/** The queue: who is synced when, whatever happens meanwhile. Times are minutes since the beginning. */
import { afterEach, expect, vi } from "vitest";
import { getFunctionName } from "convex/server";
import { internal } from "../convex/_generated/api";
import { getDue } from "../convex/events/eventSyncs";
import { requestSync } from "../convex/orgs/lumaConfig";
import type { OrgId } from "../convex/orgs/app";
import { getOrg, insertOrg, storedEvents, wireEvents } from "./support/builders";
import { passTime, settle } from "./support/clock";
import { startCountedEngine } from "./support/counting";
import { cancelJobs, jobs, startFaultyEngine, type FaultyEngine } from "./support/faults";
import { NOW, test } from "./support/fixtures";
import { failure, status, type Answer, type LumaServer } from "./support/lumaServer";

const { syncOrgEvents, runFullEventSync } = internal.events.sync;
const { takeNext, beginSync, endSync, endLostSync } = internal.events.queue;
const { upsertEvents, updateOrgSyncTimestamp, describeEvents } = internal.events.mutations;

const MINUTE_MS = 60_000;
/** An outage, after four attempts and 8.2 s, or known at once; and what is none: passing, and lasting. */
const [BROKEN, BLOCKED, MISROUTED] = [status(500), status(403), status(404)];
const REJECTED = failure(401, "No such key.");

let luma: LumaServer;
let engine: FaultyEngine;
let t: FaultyEngine["t"];
let orgIds: OrgId[];
let beganAt: number;
/** How long an action may go on after its sync has ended: it repeats a report that was not answered. */
let lingersMs: number;

test.beforeEach(({ luma: given }) => {
  [luma, lingersMs] = [given, 0];
  for (const method of ["log", "error"] as const) vi.spyOn(console, method).mockReturnValue();
});

afterEach(async () => {
  const syncs = engine.runs.filter(({ args }) => "started" in args);
  for (const [index, { startedAt, endedAt }] of syncs.entries()) {
    const next = syncs[index + 1]?.startedAt ?? Infinity;
    const end = Math.min((endedAt || Infinity) - lingersMs, startedAt + 12 * MINUTE_MS - 1_000);
    expect(next - end, "one sync of the queue at once").toBeGreaterThanOrEqual(1_000);
  }
  // Ids, numbers and cursors; the sentence of a failure has spaces.
  const scheduled = (await jobs(t)).map(({ args }) => JSON.stringify(args));
  expect(scheduled.join()).not.toMatch(/ |[^{}:,]{150}/);
});

/** Begins anew once all is over; the first calendar has events, and the first organizations may share a key. */
async function connect(count: number, { events = 0, shared = 0, on = startFaultyEngine() } = {}) {
  await passTime();
  [engine, t, orgIds, beganAt] = [on, on.t, [], Date.now()];
  for (const method of ["log", "error"] as const) vi.mocked(console[method]).mockClear();
  luma.stubFetch({ answerMs: 300 });
  for (let index = 0; index < count; index += 1) {
    const lumaApiKey = keyOf(index < shared ? 0 : index);
    luma.setCalendar(lumaApiKey, index === 0 ? wireEvents(events) : []);
    orgIds.push(await insertOrg(t, { name: `Org ${index}`, lumaApiKey }));
  }
}

const keyOf = (index: number) => `key-of-${String(index).padStart(3, "0")}`;
const run = () => t.mutation(runFullEventSync, {});
const request = (index = 0) => t.run((ctx) => requestSync(ctx, orgIds[index]!));
const setKey = (index = 0, lumaApiKey: string | null = keyOf(index)) =>
  t.mutation(internal.orgs.mutations.setLumaConfig, { orgId: orgIds[index]!, lumaApiKey });
/** What comes of a sync by hand. */
const syncByHand = (index = 0) =>
  t.action(syncOrgEvents, { orgId: orgIds[index]! }).then(
    () => "synced",
    (error: { data?: { kind: string }; message: string }) => error.data?.kind ?? error.message,
  );

const toMinutes = (time: string | number | null) =>
  time === null ? "-" : Math.round((new Date(time).getTime() - beganAt) / MINUTE_MS);

async function passUntil(minutes: number): Promise<void> {
  const ms = beganAt + minutes * MINUTE_MS - Date.now();
  if (ms > 0) await passTime(ms);
}

/** Then, or when all is over: when each organization was synced last, and when it is due next, as in "-/30 0/-". */
async function statesAt(minutes = Infinity): Promise<string> {
  await passUntil(minutes);
  const { page } = await t.query(internal.orgs.queries.getSyncStatus, { numItems: 1_000 });
  const toState = (times: (string | null)[]) => times.map(toMinutes).join("/");
  return page.map((org) => toState([org.lastSyncedAt, org.nextSyncAt])).join(" ");
}

/** When the syncs began, by hand or not. */
const begun = () => engine.runs.map(({ startedAt }) => toMinutes(startedAt));
/** Whose lists lu.ma was asked for, in that order. */
const asked = () => luma.requestsOf("list").map(({ key = "" }) => Number(key.slice(-3)));
/** What the queue says of itself or, as errors, of its rests. */
function logged(method: "log" | "error" = "log"): string[] {
  const lines = vi.mocked(console[method]).mock.calls.map(([line]) => String(line));
  return lines.filter((line) => line.startsWith("lu.ma sync queue: "));
}
const getQueue = () => t.run((ctx) => ctx.db.query("eventSyncQueue").first());
const getAllDue = () => t.run((ctx) => getDue(ctx, Infinity, 2_000));
/** What became of all that was ever scheduled of a function. */
async function endsOf(called: typeof takeNext | typeof endLostSync): Promise<string[]> {
  const all = (await jobs(t)).filter(({ name }) => name === getFunctionName(called));
  return all.map(({ state }) => state.kind);
}

test("the morning's run makes everybody due now, and the status shows the whole queue", async () => {
  await connect(4);
  luma.answerNext(MISROUTED, { key: keyOf(1) });
  luma.answerNext(REJECTED, { key: keyOf(2) });
  expect(await run()).toEqual({ queued: 4, isDone: true });
  expect(await statesAt(0)).toBe("-/0 -/0 -/0 -/0");
  expect(await statesAt(2)).toBe("0/- -/30 -/- 0/-");
  await run();
  expect(await statesAt(2)).toBe("0/2 -/2 -/2 0/2");
  expect(await statesAt()).toBe("2/- 2/- 2/- 2/-");
  expect(await endsOf(takeNext)).toContain("canceled");
});

test("200 organizations are synced in their order, 1 s from the end of one to the start of the next", async () => {
  await connect(200);
  await run();
  await passTime();
  expect(asked()).toEqual(orgIds.map((_, index) => index));
  const ends = engine.runs.map(({ endedAt }) => endedAt);
  const gaps = engine.runs.slice(1).map(({ startedAt }, index) => startedAt - ends[index]!);
  expect(new Set(gaps)).toEqual(new Set([1_000]));
  expect(new Set(await endsOf(endLostSync))).toEqual(new Set(["canceled"]));
  expect(logged().join()).toMatch(
    /: empty again. 200 synced, 0 failed; none will be tried again.$/,
  );
});

test("1,500 organizations are made due page by page", async () => {
  await connect(1);
  await t.run(async (ctx) => {
    const org = { name: "Other", lumaApiKey: "another" };
    for (let index = 1; index < 1_500; index += 1) await ctx.db.insert("organizations", org);
  });
  expect(await run()).toEqual({ queued: 1_000, isDone: false });
  await passTime(10);
  expect(await getAllDue()).toHaveLength(1_500);
});

test("who became due first is synced first, and a run that is begun twice at once is one", async () => {
  await connect(4);
  const resume = engine.stall(syncOrgEvents);
  for (const index of [3, 2, 0]) {
    await request(index);
    await passTime(1_000);
  }
  await Promise.all([run(), run(), t.mutation(takeNext, {})]);
  await passUntil(1);
  resume();
  await passTime();
  // The last one was under way when the run began.
  expect(asked()).toEqual([3, 2, 0, 3, 1]);
});

test.for<[string, Answer | undefined, number[]]>([
  ["succeeds is not due", undefined, [0]],
  ["only a person can mend is not due", REJECTED, [0]],
  ["fails in passing is due after 0.5, 1, 2, 4, 8 hours", BROKEN, [0, 30, 90, 210, 451, 931]],
])("a sync that %s, until the next run, and by hand, too", async ([, answer, expected]) => {
  await connect(1);
  if (answer) luma.failBetween(NOW, Infinity, answer);
  for (const [day, begin] of [() => settle(syncByHand()), run].entries()) {
    await passUntil(day * 24 * 60);
    await begin();
    expect(await statesAt()).toMatch(/\/-$/);
    const starts = begun().slice(day * expected.length);
    expect(starts).toEqual(expected.map((at) => day * 24 * 60 + at));
  }
});

/** When an organization is synced again, in s, by the queue and by hand, and what the first of these throws. */
test.for<[string, () => Promise<unknown>, number, number, string?]>([
  ["a request", request, 300, 300],
  ["a key", setKey, 11, 5, "ended"],
  ["the morning's run", run, 11, 5, "overtaken"],
])("%s during a sync stands, however that one ends", async ([, makeDue, queue, hand, thrown]) => {
  const ends = { synced: undefined, passing: MISROUTED, lasting: REJECTED };
  for (const byHand of [false, true]) {
    for (const [kind, answer] of Object.entries(ends)) {
      await connect(1);
      luma.answerMs = ({ kind }) => (kind === "list" ? 10_000 : 0);
      const outcome = byHand ? syncByHand() : request();
      if (answer) luma.answerNext(answer);
      await passTime(5_000);
      await makeDue();
      await passTime();
      expect(await outcome).toBe(byHand ? (thrown ?? kind) : null);
      const again = engine.runs[1]!.startedAt;
      const seconds = Math.round((again - beganAt) / 1_000);
      expect([engine.runs.length, seconds]).toEqual([2, byHand ? hand : queue]);
      const { eventsLastSynced, eventsSyncError } = await getOrg(t, orgIds[0]!);
      expect([eventsLastSynced, eventsSyncError]).toEqual([again, undefined]);
    }
  }
});

test("a sync by hand does not wait for its turn, and its organization is not synced again", async () => {
  await connect(3);
  await run();
  await passTime(100);
  expect(await settle(syncByHand(2))).toBe("synced");
  await passTime();
  expect(asked()).toEqual([0, 2, 1]);
  expect(logged()[0]).toContain(" 2 synced, 0 failed; none will be tried again.");
});

test("a sync by hand overtakes the queue's: that one decides nothing, and the queue goes on", async () => {
  await connect(2);
  luma.answerMs = 10_000;
  luma.answerNext(REJECTED);
  await run();
  await passTime(5_000);
  luma.answerNext(MISROUTED);
  expect(await settle(syncByHand())).toBe("passing");
  expect([await statesAt(), begun()]).toEqual(["30/- 0/-", [0, 0, 0, 30]]);
});

test("a sync of the queue whose action is killed is lost after 12 minutes, unless it was stamped", async () => {
  // The event is inserted and described: the fourth call of Convex stamps, the seventh reports.
  for (const afterCalls of [0, 1, 2, 3, 4, 5, 6, 7]) {
    const isLost = afterCalls < 4;
    await connect(2, { events: 1 });
    engine.kill(syncOrgEvents, { afterCalls });
    await run();
    expect(await statesAt(13)).toBe(`${isLost ? "-/42" : "0/-"} ${afterCalls < 7 ? 12 : 0}/-`);
    const { eventsSyncError = "" } = await getOrg(t, orgIds[0]!);
    expect(eventsSyncError.includes("nothing was heard of its sync for 12 minutes")).toBe(isLost);
    if (isLost) expect(console.error).toHaveBeenCalledWith(eventsSyncError);
    expect(logged()[0]).toContain(isLost ? "1 synced, 1 failed; 1 " : "2 synced, 0 failed; none ");
    expect(await statesAt()).toMatch(isLost ? /^42\/- / : /^0\/- /);
  }
});

test("a lost sync that is still alive writes nothing more, and its late report changes nothing", async () => {
  await connect(1, { events: 1 });
  const resume = engine.stall(syncOrgEvents, { afterCalls: 2 });
  await request();
  await passUntil(13);
  const lost = await getOrg(t, orgIds[0]!);
  resume();
  expect(await statesAt(14)).toBe("-/42");
  expect(toMinutes(engine.runs[0]!.endedAt)).toBe(13);
  expect([await getOrg(t, orgIds[0]!), (await storedEvents(t)).size]).toEqual([lost, 0]);
  expect(await statesAt()).toBe("42/-");
});

test("a sync by hand that is killed comes back 30 minutes after its start, if it began", async () => {
  for (const [afterCalls, due] of ["-/-", "-/30", "-/30", "-/30", "-/30", "0/-"].entries()) {
    await connect(1, { events: 1 });
    engine.kill(syncOrgEvents, { afterCalls });
    expect(await settle(syncByHand())).toMatch("was killed");
    expect(await statesAt(0)).toBe(due);
    expect(await statesAt()).toBe(due.replace("-/30", "30/-"));
  }
});

/** What a sync asks Convex for, in that order. */
const CALLS = [
  ...[internal.orgs.queries.getById, internal.events.queries.getStoredEvents, upsertEvents],
  ...[updateOrgSyncTimestamp, internal.events.eventSyncs.recordCalendar, describeEvents, endSync],
];

test("a call that Convex refuses three times, or does not answer, costs one organization 30 minutes, or all 12", async () => {
  lingersMs = 4_000;
  for (const [index, called] of CALLS.entries()) {
    for (const fault of ["refuse", "loseAnswer"] as const) {
      await connect(2, { events: 1 });
      engine[fault](called, 3);
      await run();
      const isSynced = index > (fault === "refuse" ? 3 : 2);
      const isLost = fault === "refuse" && called === endSync;
      const expected = `${isSynced ? "0/-" : "-/30"} ${isLost ? 12 : 0}/-`;
      expect(await statesAt(13), `${fault} ${getFunctionName(called)}`).toBe(expected);
      expect(await statesAt()).toBe(expected.replace("-/30", "30/-"));
    }
  }
});

test("a call that Convex refuses twice, or does not answer, changes nothing, by hand or not", async () => {
  lingersMs = 4_000;
  for (const byHand of [false, true]) {
    for (const answer of [undefined, MISROUTED, REJECTED]) {
      const outcomeAfter = async (spoil: () => void = () => undefined) => {
        await connect(2, { events: 1 });
        if (answer) luma.answerNext(answer);
        spoil();
        const sync = () => settle(t.action(syncOrgEvents, { orgId: orgIds[0]! }));
        const end = await (byHand ? sync() : run()).catch((error: Error) => error.message);
        const lines = logged().map((line) => line.replace(/ at .*/, ""));
        return [answer && end, await statesAt(10), lines, engine.runs.length];
      };
      const expected = await outcomeAfter();
      for (const called of answer ? [CALLS[0]!, endSync] : [beginSync, ...CALLS]) {
        const what = getFunctionName(called);
        expect(await outcomeAfter(() => engine.refuse(called, 2)), what).toEqual(expected);
        expect(await outcomeAfter(() => engine.loseAnswer(called)), what).toEqual(expected);
      }
    }
  }
});

/** Has what is scheduled never run: a person cancels it, or a deploy has renamed it. */
type Spoil = (called: typeof takeNext | typeof syncOrgEvents | typeof endLostSync) => Promise<void>;
const cancel: Spoil = async (called) => expect(await cancelJobs(t, called)).toBe(1);
const fail: Spoil = (called) => Promise.resolve(engine.refuse(called));

test("a worker's step that never ran is made up for by whatever makes somebody due", async () => {
  for (const spoil of [cancel, fail]) {
    for (const repair of [run, request, setKey, () => settle(syncByHand(1))]) {
      await connect(2);
      await request();
      await spoil(takeNext);
      expect(await statesAt(60)).toMatch(/^-\/0 /);
      await repair();
      expect(await statesAt()).toMatch(/^60\/- /);
    }
  }
});

test("a check that never ran is made up for, and no sync is given up before its time", async () => {
  for (const [index, spoil] of [cancel, cancel, fail].entries()) {
    const lostAt = [12, 20, 20][index]!;
    await connect(2);
    engine.kill(syncOrgEvents);
    await request();
    await passUntil(1);
    await spoil(endLostSync);
    await passUntil([5, 20, 20][index]!);
    await request(1);
    await passTime();
    expect(begun()).toEqual([0, lostAt, lostAt + 30]);
  }
});

test("a sync of the queue whose action never ran is lost", async () => {
  for (const spoil of [cancel, fail]) {
    await connect(1);
    await request();
    await t.mutation(takeNext, {});
    await spoil(syncOrgEvents);
    expect([await statesAt(13), await statesAt(), begun()]).toEqual(["-/42", "42/-", [42]]);
  }
});

/** How many organizations, for how long, when they are synced again, and by how many syncs in all. */
test.for<[number, number, number[], number]>([
  [3, 20, [30], 6],
  [3, 60, [90, 91], 9],
  [3, 180, [210, 211], 12],
  [3, 26 * 60, [1_650, 1_651], 30],
  [40, 20, [31, 32], 45],
  [40, 60, [61, 62], 46],
  [40, 180, [181, 182], 50],
  [40, 26 * 60, [1_568, 1_569], 96],
])("%i are synced soon after an outage of %i minutes", async ([count, length, expected, syncs]) => {
  await connect(count);
  luma.failBetween(NOW, NOW + length * MINUTE_MS, BROKEN);
  for (let day = 0; day <= length; day += 24 * 60) {
    await passUntil(day);
    await run();
  }
  const synced = (await statesAt()).split(" ").map((state) => Number.parseInt(state));
  expect([...new Set(synced)].sort()).toEqual(expected);
  expect(engine.runs).toHaveLength(syncs);
});

/** Of one sync after another: b(locked), B: with a shared key, s(erved), m(isrouted), r(ejected), l(imited), k(illed), e(nded), o(vertaken). */
test.for([
  [1, "five with five keys", "bbbbb BBbbbb bbbkbb bbbebb bbbobb"],
  [0, "fewer in a row", "bbbb BBBBBbbb bbbsbbbb bbbmbbbb bbbrbbbb bbblbbbb bbbeb bbbob"],
] as const)("the queue has %i rests after %s that lu.ma did not serve", async ([rests, , all]) => {
  for (const fates of all.split(" ")) {
    await connect(fates.length, { shared: fates.split("B").length - 1 });
    const meanwhile = (happens: () => Promise<unknown>): Answer => {
      return (...asked) => void luma.waitFor(happens().then(() => luma.answer(...asked)));
    };
    for (const [index, fate] of [...fates.toLowerCase()].entries()) {
      const orgId = orgIds[index]!;
      if (fate === "k") engine.kill(syncOrgEvents, { times: () => engine.runs.length === index });
      if (fate === "b") luma.answerNext(BLOCKED);
      if (fate === "s") luma.answerNext(luma.answer);
      if (fate === "m" || fate === "r") luma.answerNext(fate === "m" ? MISROUTED : REJECTED);
      if (fate === "l") for (let i = 0; i < 4; i += 1) luma.answerNext(status(429));
      if (fate === "e") luma.answerNext(meanwhile(() => setKey(index)));
      if (fate === "o") luma.answerNext(meanwhile(() => t.mutation(beginSync, { orgId })));
    }
    await run();
    await passUntil(29);
    expect(logged("error"), fates).toHaveLength(rests);
  }
});

test("a rest is a line of the log, shows in the status, and ends with one that is tried", async () => {
  await connect(8);
  for (let i = 0; i < 5; i += 1) luma.answerNext(BLOCKED);
  await run();
  expect(await statesAt(1)).toBe(Array(8).fill("-/30").join(" "));
  const [line] = logged("error");
  expect(line).toMatch(/: 3 are due, and the queue rests until 2026-09-01T12:30:05.5\d\dZ. lu.ma /);
  expect(line).toMatch(/ served none of the last 5 organizations: Organization "Org 4" .* 403 /);
  await t.mutation(takeNext, {});
  expect(await settle(syncByHand(7))).toBe("synced");
  luma.answerNext(BLOCKED);
  await passUntil(31);
  expect((await getQueue())?.unserved).toHaveLength(5);
  await passTime();
  expect(begun()).toEqual([0, 0, 0, 0, 0, 1, 30, 60, 60, 60, 60, 60, 60, 60]);
});

test("15 organizations of one broken key do not keep 20 others from being synced", async () => {
  await connect(35, { shared: 15 });
  luma.failBetween(NOW, NOW + 20 * MINUTE_MS, BROKEN, { key: keyOf(0) });
  await run();
  expect(await statesAt(20)).toMatch(/^(-\/3[0-2] ){15}([23]\/- ?){20}$/);
  expect(await statesAt()).toMatch(/^(3\d\/- ){15}/);
});

test("an organization that is disconnected or deleted leaves the queue, also during its sync", async () => {
  const deleteOrg = () => t.run((ctx) => ctx.db.delete("organizations", orgIds[0]!));
  const { deleteOrgEvents } = internal.events.mutations;
  const forget = () => deleteOrg().then(() => t.mutation(deleteOrgEvents, { orgId: orgIds[0]! }));
  for (const leave of [() => setKey(0, null), deleteOrg, forget]) {
    for (const syncs of [1, 2]) {
      await connect(2);
      await run();
      if (syncs === 2) await passTime(150);
      await leave();
      expect([await statesAt(), engine.runs.length, await getAllDue()]).toEqual(["0/-", syncs, []]);
    }
  }
});

test("a request is for now, or 5 minutes after the start of the last sync, good or bad", async () => {
  for (const answer of [undefined, REJECTED]) {
    await connect(1);
    if (answer) luma.answerNext(answer);
    for (const at of [0, 1, 2, 4.9, 12]) {
      await passUntil(at);
      await request();
    }
    await passTime();
    expect([begun(), (await endsOf(takeNext)).length]).toEqual([[0, 5, 12], 3]);
  }
  await setKey(0, null);
  await expect(request()).rejects.toThrow("has no lu.ma API key");
});

test("a morning without changes writes 6 documents an organization, a sync by hand 4", async () => {
  const { t: counted, counts, reset, stop } = startCountedEngine();
  await connect(3, { events: 20, on: { ...startFaultyEngine(), t: counted } });
  for (const day of [0, 1]) {
    reset();
    await run();
    await passUntil(day + 1);
  }
  expect(counts).toMatchObject({ documentsWritten: 3 * 6 + 1, eventsWritten: 0 });
  reset();
  await settle(syncByHand());
  expect(counts).toMatchObject({ documentsWritten: 4, eventsWritten: 0 });
  stop();
});

test.for([1, 2, 3])("nobody is forgotten when all goes wrong (%i)", async (seed) => {
  lingersMs = 4_000;
  let [state, isWild] = [seed * 7_919, true];
  const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  const now = (chance: number) => () => isWild && random() < chance;
  await connect(6, { events: 1 });
  engine.refuse("any", now(0.03));
  engine.loseAnswer("any", now(0.03));
  for (let afterCalls = 0; afterCalls < 7; afterCalls += 1)
    engine.kill(syncOrgEvents, { afterCalls, times: now(0.03) });
  const resume = engine.stall(syncOrgEvents, { afterCalls: 1, times: now(0.05) });
  /** When each organization was made due last; -Infinity while it has no key. */
  const madeDue = orgIds.map(() => 0);
  const note = (index: number) => () => void (madeDue[index] = Date.now());
  for (let step = 0; step < 80; step += 1) {
    const index = Math.floor(random() * 6);
    const steps = [
      () => run().then(() => orgIds.map((_, one) => madeDue[one] !== -Infinity && note(one)())),
      () => request(index).then(note(index)),
      () => setKey(index).then(note(index)),
      () => setKey(index, null).then(() => void (madeDue[index] = -Infinity)),
      () => Promise.resolve(void syncByHand(index)),
      () => t.mutation(takeNext, {}),
      () => cancelJobs(t, [takeNext, endLostSync, syncOrgEvents][index % 3]!),
      () => luma.failBetween(Date.now(), Date.now() + random() * 20 * MINUTE_MS, BLOCKED),
    ];
    await Promise.resolve(steps[Math.floor(random() * steps.length)]!()).catch(() => undefined);
    await passTime(Math.floor(random() ** 3 * 20 * MINUTE_MS));
  }
  isWild = false;
  await setKey(0).then(note(0));
  resume();
  await passTime();
  const synced = await Promise.all(orgIds.map((orgId) => getOrg(t, orgId)));
  const forgotten = madeDue.filter((at, i) => (synced[i]!.eventsLastSynced ?? -Infinity) < at);
  expect([forgotten, await getAllDue(), (await getQueue())?.current]).toEqual([[], [], undefined]);
});
