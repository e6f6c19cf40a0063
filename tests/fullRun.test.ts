import { beforeEach, describe, expect, vi } from "vitest";
import { internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import * as fullRun from "../convex/events/fullRun";
import * as eventMutations from "../convex/events/mutations";
import * as eventQueries from "../convex/events/queries";
import * as sync from "../convex/events/sync";
import * as turns from "../convex/events/turns";
import * as orgQueries from "../convex/orgs/queries";
import {
  aWireEvent,
  beginSync,
  getOrg,
  insertOrg,
  storedEvents,
  wireEvents,
} from "./support/builders";
import { passTimeUntil, settle, useSimulatedTime } from "./support/clock";
import { startEngine, withHandler, type Engine } from "./support/engine";
import { NOW, test } from "./support/fixtures";
import { failure, silence, status, type Answer, type LumaServer } from "./support/lumaServer";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
/** A page of lu.ma's takes about so long. */
const ANSWER_MS = 300;

const { runFullEventSync, syncOrgEvents } = internal.events.sync;
const { setLumaConfig } = internal.orgs.mutations;

beforeEach(() => {
  vi.spyOn(console, "log").mockReturnValue();
  vi.spyOn(console, "error").mockReturnValue();
});

function logged(method: "log" | "error" = "log"): string[] {
  return vi.mocked(console[method]).mock.calls.map(([line]) => String(line));
}

/** The run's own lines, without those of the organizations' syncs. */
function runLog(): string[] {
  return logged().filter((line) => line.startsWith("Full lu.ma sync"));
}

const isRunOver = () =>
  logged().some((line) => line.includes("sync done")) ||
  logged("error").some((line) => line.includes("given up"));

/** A lu.ma that answers after a while, with an empty calendar unless told otherwise; `spans` are its requests, in order. */
type Span = { key: string; begin: number; end: number };
function stubLuma(
  answerMs: (key: string) => number = () => ANSWER_MS,
  answer: (key: string, now: number) => Response | undefined = () => undefined,
): Span[] {
  useSimulatedTime(NOW);
  // One address, so that a request more is another attempt.
  vi.stubEnv("LUMA_LIST_EVENTS_URL", "https://luma.example/v1/calendars/events/list");
  const spans: Span[] = [];
  vi.stubGlobal("fetch", async (_url: string, init: { headers: Record<string, string> }) => {
    const key = init.headers["x-luma-api-key"] ?? "";
    const span = { key, begin: Date.now(), end: NaN };
    spans.push(span);
    await new Promise((resolve) => setTimeout(resolve, answerMs(key)));
    span.end = Date.now();
    const empty = { entries: [], has_more: false };
    return answer(key, Date.now()) ?? new Response(JSON.stringify(empty));
  });
  return spans;
}

/** ms from the end of each request to the beginning of the next. */
function pauses(spans: Span[]): number[] {
  return spans.slice(1).map((span, index) => span.begin - (spans[index]?.end ?? NaN));
}

function keyOf(index: number): string {
  return `key-${String(index).padStart(5, "0")}`;
}

/** Named in the order in which a run syncs them. */
async function insertOrgs(t: Engine, count: number): Promise<Id<"organizations">[]> {
  const orgIds: Id<"organizations">[] = [];
  while (orgIds.length < count) {
    await t.run(async (ctx) => {
      const end = Math.min(orgIds.length + 10_000, count);
      for (let i = orgIds.length; i < end; i += 1) {
        const org = { name: `Org ${i}`, lumaApiKey: keyOf(i) };
        orgIds.push(await ctx.db.insert("organizations", org));
      }
    });
  }
  return orgIds;
}

async function jobs(t: Engine) {
  return await t.run((ctx) => ctx.db.system.query("_scheduled_functions").collect());
}

type Slice = { begin: number; end: number };

/**
 * The sync module with its slices observed. `dies` is asked before each organization whether the machine under the slice
 * dies: then nothing more comes of it until `revive` is called.
 */
function observed(dies: (slice: number, orgInSlice: number) => boolean = () => false) {
  const slicesSeen: Slice[] = [];
  const dead: (() => void)[] = [];
  const runSlice = withHandler(sync.runFullEventSync, (handler) => {
    type Call = (...args: unknown[]) => Promise<unknown>;
    const run = handler as (ctx: object, args: object) => Promise<unknown>;
    return (async (ctx: { runAction: Call }, args: object) => {
      const slice = { begin: Date.now(), end: NaN };
      const index = slicesSeen.push(slice) - 1;
      let orgs = 0;
      const runAction: Call = async (...call) => {
        if (dies(index, orgs++)) await new Promise<void>((resolve) => dead.push(resolve));
        return await ctx.runAction(...call);
      };
      try {
        return await run({ ...ctx, runAction }, args);
      } finally {
        slice.end = Date.now();
      }
    }) as never;
  });
  return {
    slicesSeen,
    revive: () => dead.splice(0).forEach((resolve) => resolve()),
    overrides: { "events/sync": { ...sync, runFullEventSync: runSlice } },
  };
}

/** A function of Convex's that refuses (with a plain error) when it is told to. */
function refusing(registered: object, isRefusing: () => boolean): object {
  return withHandler(registered, (handler) => (...args) => {
    if (isRefusing()) throw new Error("overloaded\n    at stack");
    return handler(...args);
  });
}

describe("a full run", () => {
  test("syncs every organization with a key, one after another, 1 s apart, also after a failed one", async ({
    luma,
  }) => {
    const t = startEngine();
    for (const name of ["a", "b", "c", "d"]) {
      await insertOrg(t, { name, lumaApiKey: `key-${name}` });
      if (name !== "b") luma.setCalendar(`key-${name}`, []);
    }
    luma.setCalendar(
      "key-a",
      wireEvents(150, () => ({ visibility: "private" })),
    );
    await insertOrg(t, { name: "embed only", lumaApiKey: undefined });
    const result = await settle(t.action(runFullEventSync, {}), luma.activity);
    const [first, second, third, ...rest] = luma.requests.map(({ key, at }) => ({ key, at }));
    expect([first, second]).toEqual([
      { key: "key-a", at: NOW },
      { key: "key-a", at: NOW + 200 },
    ]);
    // In between, 150 events are written at 1 MiB a second.
    expect(third?.at).toBeGreaterThan(NOW + 1_200);
    expect(third?.at).toBeLessThan(NOW + 1_300);
    const at = third?.at ?? NaN;
    expect([third, ...rest]).toEqual([
      { key: "key-b", at },
      { key: "key-c", at: at + 1_000 },
      { key: "key-d", at: at + 2_000 },
    ]);
    expect(result).toMatchObject({ synced: 3, isDone: true, failed: [{ name: "b" }] });
    const orgs = await t.run((ctx) => ctx.db.query("organizations").collect());
    expect(orgs.map((org) => org.eventsLastSynced)).toEqual([
      NOW,
      undefined,
      at + 1_000,
      at + 2_000,
      undefined,
    ]);
  });

  test("of one slice is one action, with a check after 12 minutes that it cancels", async () => {
    const spans = stubLuma();
    const { slicesSeen, overrides } = observed();
    const t = startEngine(overrides);
    await insertOrgs(t, 3);
    await settle(t.action(runFullEventSync, {}));
    expect(spans).toHaveLength(3);
    expect(slicesSeen).toHaveLength(1);
    expect(await jobs(t)).toMatchObject([
      {
        name: "events/fullRun:resumeLostSlice",
        scheduledTime: NOW + 12 * MINUTE_MS,
        state: { kind: "canceled" },
      },
    ]);
  });

  test("without organizations ends well", async () => {
    stubLuma();
    const t = startEngine();
    expect(await settle(t.action(runFullEventSync, {}))).toEqual({
      synced: 0,
      failed: [],
      isDone: true,
    });
  });

  test("says of a failed organization what its own sync says", async ({ luma }) => {
    const t = startEngine();
    const orgId = await insertOrg(t, { name: "Acme", lumaApiKey: "wrong" });
    const { failed } = await settle(t.action(runFullEventSync, {}), luma.activity);
    const reason = (await getOrg(t, orgId)).eventsSyncError ?? "";
    expect(reason).toMatch(/^Organization "Acme" was not synced: .* rejected the API key/);
    expect(failed).toEqual([{ orgId, name: "Acme", reason }]);
  });

  test("counts an organization that is deleted, disconnected or given another key meanwhile neither way", async ({
    luma,
  }) => {
    const t = startEngine();
    const names = ["a", "b", "c", "d", "e", "f", "g"];
    const orgIds: Id<"organizations">[] = [];
    for (const name of names) {
      orgIds.push(await insertOrg(t, { name, lumaApiKey: `key-${name}` }));
      luma.setCalendar(`key-${name}`, []);
    }
    luma.setCalendar("key-g", [aWireEvent({ id: "evt-g" })]);
    const [, b, c, d, e, f] = orgIds;
    if (!b || !c || !d || !e || !f) throw new Error("unreachable");
    const set = (orgId: Id<"organizations">, lumaApiKey: string | null) =>
      t.mutation(setLumaConfig, { orgId, lumaApiKey });
    const meanwhile = (key: string, happen: () => Promise<unknown>, answer = luma.answer) => {
      luma.answerNext(
        (response, request) => {
          void luma.waitFor(happen()).then(() => answer(response, request));
        },
        { key },
      );
    };
    meanwhile("key-a", async () => {
      await t.run((ctx) => ctx.db.delete("organizations", b));
      await set(c, null);
    });
    meanwhile("key-d", () => set(d, null));
    meanwhile("key-e", () => set(e, "key-2"), failure(401, "You are not signed in."));
    // Overtaken, and its own fetch fails: neither as well.
    meanwhile("key-f", () => beginSync(t, f), failure(401, "You are not signed in."));
    const result = await settle(t.action(runFullEventSync, {}), luma.activity);
    expect(result).toEqual({ synced: 2, failed: [], isDone: true });
    expect([...(await storedEvents(t)).keys()]).toEqual(["evt-g"]);
    for (const orgId of [c, d, e, f]) {
      expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
    }
  });

  test("counts an organization that was overtaken after its stamp as synced", async ({ luma }) => {
    const t = startEngine();
    const orgId = await insertOrg(t, { name: "Acme", lumaApiKey: "key-1" });
    luma.setCalendar("key-1", [aWireEvent()]);
    luma.answerNext(
      (response, request) => {
        void luma.waitFor(beginSync(t, orgId)).then(() => luma.answer(response, request));
      },
      { kind: "event" },
    );
    const result = await settle(t.action(runFullEventSync, {}), luma.activity);
    expect(result).toEqual({ synced: 1, failed: [], isDone: true });
  });

  test("logs one line a slice with the first 20 failures, however long the names, and one for the whole run", async () => {
    stubLuma(undefined, () =>
      Response.json({ message: "You are not signed in." }, { status: 401 }),
    );
    const t = startEngine();
    for (let i = 0; i < 25; i += 1) {
      await insertOrg(t, { name: `${i} `.padEnd(300, "long "), lumaApiKey: keyOf(i) });
    }
    await settle(t.action(runFullEventSync, {}));
    const [slice, run, ...more] = logged();
    expect(slice).toContain("round 1, slice 1: 0 synced, 25 failed, 0 left. Failed: ");
    expect(slice?.match(/organizations: luma.example rejected the API key with 401/g)).toHaveLength(
      20,
    );
    expect(slice).toContain("and 5 more");
    expect(slice).not.toContain("\n");
    expect(new TextEncoder().encode(slice).length).toBeLessThan(4_096);
    expect(run).toBe("Full lu.ma sync done: 0 synced, 25 failed, in 1 slice(s) and 32 s.");
    expect(more).toEqual([]);
  });

  test("twice at once leaves what one would", async ({ luma }) => {
    const t = startEngine();
    for (const name of ["a", "b"]) {
      await insertOrg(t, { name, lumaApiKey: `key-${name}` });
      luma.setCalendar(
        `key-${name}`,
        wireEvents(150, (i) => ({ id: `evt-${name}-${i}`, visibility: "private" })),
      );
    }
    const run = () => t.action(runFullEventSync, {});
    const [first, second] = await settle(Promise.all([run(), run()]), luma.activity);
    expect([first.failed, second.failed]).toEqual([[], []]);
    expect(first.synced + second.synced).toBeGreaterThanOrEqual(2);
    expect(await t.run((ctx) => ctx.db.query("events").collect())).toHaveLength(300);
    const orgs = await t.run((ctx) => ctx.db.query("organizations").collect());
    for (const org of orgs) expect(org.eventsLastSynced).toBeDefined();
  });
});

describe("an organization whose action is killed", () => {
  /** `syncOrgEvents`, killed the first time, before or after it did its work. */
  function startKilling(when: "before" | "after", overrides: Record<string, object> = {}) {
    let calls = 0;
    const killed = withHandler(sync.syncOrgEvents, (handler) => {
      return (async (...args: never[]) => {
        const isKilled = calls++ === 0;
        const error = new Error("out of memory near key-1\nat stack");
        if (isKilled && when === "before") throw error;
        const result: unknown = await handler(...args);
        if (isKilled) throw error;
        return result;
      }) as never;
    });
    return startEngine({ "events/sync": { ...sync, syncOrgEvents: killed }, ...overrides });
  }

  async function insertTwo(t: Engine, luma: LumaServer) {
    const orgId = await insertOrg(t, { name: "Acme", lumaApiKey: "key-1" });
    await insertOrg(t, { name: "Next", lumaApiKey: "key-2" });
    for (const key of ["key-1", "key-2"]) luma.setCalendar(key, []);
    return orgId;
  }

  test("gets its error written down, and is synced again in the next round", async ({ luma }) => {
    const t = startKilling("before");
    const orgId = await insertTwo(t, luma);
    const result = await settle(t.action(runFullEventSync, {}), luma.activity);
    expect(result).toMatchObject({ synced: 1, failed: [{ name: "Acme" }], isDone: false });
    const reason = (await getOrg(t, orgId)).eventsSyncError;
    expect(reason).toContain('"Acme" was not synced: Convex refused a step of it (out of memory');
    expect(reason).not.toMatch(/key-1|stack/);
    await passTimeUntil(isRunOver, luma.activity);
    expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
    expect(logged().at(-1)).toContain("2 synced, 0 failed");
  });

  test.for([undefined, NOW - 24 * HOUR_MS, NOW + 24 * HOUR_MS])(
    "is synced again whatever its stamp says (%s), also when only descriptions were left",
    async (eventsLastSynced, { luma }) => {
      for (const when of ["before", "after"] as const) {
        const t = startKilling(when);
        const orgId = await insertTwo(t, luma);
        await t.run((ctx) => ctx.db.patch("organizations", orgId, { eventsLastSynced }));
        const result = await settle(t.action(runFullEventSync, {}), luma.activity);
        expect(result).toMatchObject({ synced: 1, failed: [{ name: "Acme" }], isDone: false });
        expect((await getOrg(t, orgId)).eventsSyncError).toContain("out of memory");
      }
    },
  );

  test("does not overwrite what a later sync has made of it", async ({ luma }) => {
    let t: Engine | undefined;
    const dying = withHandler(sync.syncOrgEvents, (handler) => {
      return (async (ctx: never, args: { orgId: Id<"organizations">; run?: object }) => {
        if (args.run === undefined) return (await handler(ctx, args as never)) as unknown;
        // Somebody syncs it by hand while it is dying.
        await t?.action(syncOrgEvents, { orgId: args.orgId });
        vi.setSystemTime(Date.now() + 1);
        throw new Error("out of memory");
      }) as never;
    });
    t = startEngine({ "events/sync": { ...sync, syncOrgEvents: dying } });
    const orgId = await insertOrg(t, { name: "Acme", lumaApiKey: "key-1" });
    luma.setCalendar("key-1", []);
    const { failed } = await settle(t.action(runFullEventSync, {}), luma.activity);
    expect(failed).toEqual([]);
    expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
  });

  test.for<[string, Record<string, object>]>([
    [
      "looked up",
      { "orgs/queries": { ...orgQueries, getById: refusing(orgQueries.getById, () => isDown) } },
    ],
    [
      "given its error",
      {
        "events/mutations": {
          ...eventMutations,
          recordSyncError: refusing(eventMutations.recordSyncError, () => isDown),
        },
      },
    ],
  ])(
    "and that cannot be %s counts as failed, and the run goes on",
    async ([, overrides], { luma }) => {
      isDown = true;
      const t = startKilling("before", overrides);
      await insertOrg(t, { name: "Acme", lumaApiKey: "key-1" });
      luma.setCalendar("key-1", []);
      const result = await settle(t.action(runFullEventSync, {}), luma.activity);
      expect(result).toMatchObject({ synced: 0, failed: [{ name: "Acme" }], isDone: false });
      expect(logged("error").length).toBeGreaterThan(0);
      expect(logged("error").join()).not.toContain("key-1");
      isDown = false;
      await passTimeUntil(isRunOver, luma.activity);
      expect(logged().at(-1)).toContain("1 synced, 0 failed");
    },
  );
  let isDown = false;

  test("before it could begin counts as failed, and the run goes on", async ({ luma }) => {
    let refusals = 3;
    const beginSync = refusing(turns.beginSync, () => refusals-- > 0);
    const t = startEngine({ "events/turns": { ...turns, beginSync } });
    const orgId = await insertTwo(t, luma);
    const result = await settle(t.action(runFullEventSync, {}), luma.activity);
    expect(result).toMatchObject({ synced: 1, failed: [{ orgId }], isDone: false });
    await passTimeUntil(isRunOver, luma.activity);
    expect(logged().at(-1)).toContain("2 synced, 0 failed");
  });
});

describe("a run of many organizations", () => {
  const MANY = 600;

  test("syncs each once, in order, 1 s apart, in actions far below 10 minutes", async () => {
    const spans = stubLuma();
    const { slicesSeen, overrides } = observed();
    const t = startEngine(overrides);
    await insertOrgs(t, MANY);
    await settle(t.action(runFullEventSync, {}));
    await passTimeUntil(isRunOver);
    expect(spans.map((span) => span.key)).toEqual(Array.from({ length: MANY }, (_, i) => keyOf(i)));
    expect(new Set(pauses(spans))).toEqual(new Set([SECOND_MS]));
    expect(slicesSeen.length).toBeGreaterThan(5);
    const longest = Math.max(...slicesSeen.map(({ begin, end }) => end - begin));
    expect(longest).toBeLessThan(2 * MINUTE_MS + SECOND_MS);
    expect(logged().at(-1)).toContain(`${MANY} synced, 0 failed`);
    const kinds = (await jobs(t)).map((job) => `${job.name} ${job.state.kind}`);
    expect(new Set(kinds)).toEqual(
      new Set(["events/sync:runFullEventSync success", "events/fullRun:resumeLostSlice canceled"]),
    );
  });

  test("and one lost action goes on from where that action began, and none is left out", async () => {
    const spans = stubLuma();
    const LOST_SLICE = 2;
    const { slicesSeen, overrides } = observed((slice, org) => slice === LOST_SLICE && org === 40);
    const t = startEngine(overrides);
    await insertOrgs(t, MANY);
    await settle(t.action(runFullEventSync, {}));
    await passTimeUntil(isRunOver);

    const lost = slicesSeen[LOST_SLICE];
    const resumed = slicesSeen[LOST_SLICE + 1];
    if (!lost || !resumed) throw new Error("no slice was lost");
    expect(resumed.begin).toBe(lost.begin + 12 * MINUTE_MS);
    const keys = spans.map((span) => span.key);
    expect(new Set(keys).size).toBe(MANY);
    // The 40 that the lost slice had synced are synced again, and no other.
    expect(keys).toHaveLength(MANY + 40);
    const firstOfLost = spans.findIndex((span) => span.begin >= lost.begin);
    expect(keys.slice(firstOfLost + 40, firstOfLost + 80)).toEqual(
      keys.slice(firstOfLost, firstOfLost + 40),
    );
    expect(keys.slice(firstOfLost + 40)).toEqual(keys.slice(firstOfLost + 40).toSorted());
  });

  test("with a lu.ma as slow as it may be works no action longer than 10 minutes", async () => {
    // The fifth organization is taken on just before the 2 minutes are over, and its listing never ends.
    let pages = 0;
    stubLuma(
      () => 25 * SECOND_MS,
      (key) =>
        key === keyOf(4)
          ? Response.json({ entries: [], has_more: true, next_cursor: `page-${(pages += 1)}` })
          : undefined,
    );
    const { slicesSeen, overrides } = observed();
    const t = startEngine(overrides);
    await insertOrgs(t, 8);
    await settle(t.action(runFullEventSync, {}));
    await passTimeUntil(() => slicesSeen.length === 2 && !Number.isNaN(slicesSeen[1]?.end));
    const [longest] = slicesSeen.map(({ begin, end }) => end - begin);
    expect(longest).toBeGreaterThan(8 * MINUTE_MS);
    expect(longest).toBeLessThan(10 * MINUTE_MS);
    expect(logged().at(-1)).toContain("round 1 done: 1 failed in passing");
  });

  test("of 20,000 has no list and no argument beyond Convex's limits", async () => {
    stubLuma(() => 29 * SECOND_MS);
    const { overrides } = observed();
    const longest = { list: 0 };
    const measuring = withHandler(eventQueries.getOrgsWithLumaConfig, (handler) => {
      return (async (...args: never[]) => {
        const result = (await handler(...args)) as unknown as { page: unknown[] };
        longest.list = Math.max(longest.list, result.page.length);
        return result;
      }) as never;
    });
    const t = startEngine({
      ...overrides,
      "events/queries": { ...eventQueries, getOrgsWithLumaConfig: measuring },
    });
    const orgIds = await insertOrgs(t, 20_000);
    expect(await settle(t.action(runFullEventSync, {}))).toMatchObject({ synced: 4 });
    const scheduled = (await jobs(t)).map((job) => job.args[0] as { progress?: object });
    expect(scheduled).toHaveLength(3);
    // Convex's ids have 32 characters, the test engine's fewer.
    const idPadding = 20_000 * (32 - (orgIds[0]?.length ?? 0));
    for (const args of scheduled) {
      const json = JSON.stringify(args);
      expect(json.length + idPadding).toBeLessThan(1024 * 1024);
      JSON.parse(json, (_key, value: unknown) => {
        if (Array.isArray(value)) longest.list = Math.max(longest.list, value.length);
        return value;
      });
    }
    expect(longest.list).toBeGreaterThan(500);
    expect(longest.list).toBeLessThanOrEqual(8_192);
  });
});

describe("a slice", () => {
  test("takes on no organization after 2 minutes, and hands over after the pause", async () => {
    const spans = stubLuma(() => 29 * SECOND_MS);
    const { slicesSeen, overrides } = observed();
    const t = startEngine(overrides);
    await insertOrgs(t, 6);
    const first = await settle(t.action(runFullEventSync, {}));
    expect(first).toEqual({ synced: 4, failed: [], isDone: false });
    expect(await jobs(t)).toMatchObject([
      { name: "events/fullRun:resumeLostSlice", state: { kind: "canceled" } },
      {
        name: "events/fullRun:resumeLostSlice",
        state: { kind: "pending" },
        scheduledTime: Date.now() + SECOND_MS + HOUR_MS,
      },
      {
        name: "events/sync:runFullEventSync",
        state: { kind: "pending" },
        scheduledTime: Date.now() + SECOND_MS,
      },
    ]);
    await passTimeUntil(isRunOver);
    expect(spans).toHaveLength(6);
    expect(new Set(pauses(spans))).toEqual(new Set([SECOND_MS]));
    expect(slicesSeen).toHaveLength(2);
    expect(logged().at(-1)).toContain("6 synced, 0 failed, in 2 slice(s)");
  });

  test("that waited in a queue has its whole time from when it starts", async () => {
    const spans = stubLuma(() => 29 * SECOND_MS);
    const { slicesSeen, overrides } = observed();
    const t = startEngine(overrides);
    await insertOrgs(t, 6);
    await settle(t.action(runFullEventSync, {}));
    const [, check, queued] = await jobs(t);
    if (!check || !queued) throw new Error("nothing was scheduled");
    await t.run((ctx) => ctx.scheduler.cancel(queued._id));
    // It gets its turn 59 minutes late: the check waits 12 minutes from there.
    vi.setSystemTime(check.scheduledTime - MINUTE_MS);
    const late = Date.now();
    await settle(t.action(runFullEventSync, queued.args[0] as object));
    expect((await jobs(t)).at(-1)).toMatchObject({
      name: "events/fullRun:resumeLostSlice",
      scheduledTime: late + 12 * MINUTE_MS,
      state: { kind: "canceled" },
    });
    expect((await jobs(t)).find(({ _id }) => _id === check._id)?.state.kind).toBe("canceled");
    expect(slicesSeen).toHaveLength(2);
    expect(spans).toHaveLength(6);
  });

  test("that starts after its check has run ends at once, without syncing anybody", async () => {
    const spans = stubLuma(() => 29 * SECOND_MS);
    const { overrides } = observed();
    const t = startEngine(overrides);
    await insertOrgs(t, 6);
    await settle(t.action(runFullEventSync, {}));
    const queued = (await jobs(t)).find(({ name }) => name === "events/sync:runFullEventSync");
    if (!queued) throw new Error("nothing was scheduled");
    await passTimeUntil(isRunOver);
    const seen = spans.length;
    const late = await settle(t.action(runFullEventSync, queued.args[0] as object));
    expect(late).toEqual({ synced: 0, failed: [], isDone: false });
    expect(spans).toHaveLength(seen);
    expect(logged().at(-1)).toContain("came so late that its check had run");
  });

  test("that cannot hand over loses nothing", async () => {
    const spans = stubLuma(() => 29 * SECOND_MS);
    const { overrides } = observed();
    let failures = 3;
    const endSlice = withHandler(fullRun.endSlice, (handler) => {
      return (async (...args: never[]) => {
        const result: unknown = await handler(...args);
        // After its work: the transaction as a whole must not count.
        if (failures-- > 0) throw new Error("conflict");
        return result;
      }) as never;
    });
    const t = startEngine({ ...overrides, "events/fullRun": { ...fullRun, endSlice } });
    await insertOrgs(t, 6);
    await expect(settle(t.action(runFullEventSync, {}))).rejects.toThrow("conflict");
    await passTimeUntil(isRunOver);
    const synced = spans.map((span) => Number(span.key.slice(4)));
    expect(synced).toEqual([0, 1, 2, 3, 0, 1, 2, 3, 4, 5]);
    expect(logged()).toContain("Full lu.ma sync: slice 1 was lost and is resumed.");
    expect(logged().at(-1)).toContain("6 synced");
  });

  test("that never starts is resumed after an hour", async () => {
    const spans = stubLuma(() => 29 * SECOND_MS);
    const t = startEngine(observed().overrides);
    await insertOrgs(t, 6);
    await settle(t.action(runFullEventSync, {}));
    const queued = (await jobs(t)).find(({ name }) => name === "events/sync:runFullEventSync");
    if (!queued) throw new Error("nothing was scheduled");
    await t.run((ctx) => ctx.scheduler.cancel(queued._id));
    const endedAt = Date.now();
    await passTimeUntil(isRunOver);
    expect(spans).toHaveLength(6);
    expect((spans[4]?.begin ?? 0) - endedAt).toBe(SECOND_MS + HOUR_MS);
  });

  test("whose end was written, but not answered, ends well all the same", async () => {
    const spans = stubLuma();
    let failures = 1;
    const runSlice = withHandler(sync.runFullEventSync, (handler) => {
      type Call = (...args: unknown[]) => Promise<unknown>;
      const run = handler as (ctx: object, args: object) => Promise<unknown>;
      return ((ctx: { runMutation: Call }, args: object) => {
        const runMutation: Call = async (...call) => {
          const result = await ctx.runMutation(...call);
          const isEnd = typeof result === "boolean";
          if (isEnd && failures-- > 0) throw new Error("the connection was lost");
          return result;
        };
        return run({ ...ctx, runMutation }, args);
      }) as never;
    });
    const t = startEngine({ "events/sync": { ...sync, runFullEventSync: runSlice } });
    await insertOrgs(t, 2);
    const result = await settle(t.action(runFullEventSync, {}));
    expect(result).toEqual({ synced: 2, failed: [], isDone: true });
    await passTimeUntil(isRunOver);
    expect(spans).toHaveLength(2);
    expect(runLog().at(-1)).toContain("2 synced, 0 failed, in 1 slice(s)");
  });

  test.for<[string, string, object, string]>([
    ["begin to be watched", "events/fullRun", fullRun, "armCheck"],
    ["hand over", "events/fullRun", fullRun, "endSlice"],
    ["find the organizations", "events/queries", eventQueries, "getOrgsWithLumaConfig"],
  ])("that cannot %s twice tries again after 1 and 3 s", async ([, path, module, name]) => {
    const spans = stubLuma();
    let failures = 2;
    const registered = (module as Record<string, object>)[name];
    if (registered === undefined) throw new Error(`there is no ${name}`);
    const t = startEngine({
      [path]: { ...module, [name]: refusing(registered, () => failures-- > 0) },
    });
    await insertOrgs(t, 2);
    expect(await settle(t.action(runFullEventSync, {}))).toMatchObject({ synced: 2, isDone: true });
    expect(spans).toHaveLength(2);
    expect(Date.now() - NOW).toBe(2 * ANSWER_MS + SECOND_MS + 4 * SECOND_MS);
  });

  test("is tried three times, then the run is given up, and the log says where", async () => {
    const spans = stubLuma(() => 29 * SECOND_MS);
    const { slicesSeen, overrides } = observed((slice) => slice > 0);
    const t = startEngine(overrides);
    const orgIds = await insertOrgs(t, 6);
    await settle(t.action(runFullEventSync, {}));
    await passTimeUntil(isRunOver);
    expect(slicesSeen).toHaveLength(4);
    expect(spans).toHaveLength(4);
    const line = logged("error").find((text) => text.includes("given up"));
    expect(line).toContain("after 3 tries of slice 2");
    expect(line).toContain(`at the organization "Org 4" (${orgIds[4]}), with 2 organizations left`);
    expect(line).toContain("4 synced and 0 failed before it");
    expect((await jobs(t)).filter((job) => job.state.kind === "pending")).toEqual([]);
  });

  test("that was lost at the very start of a run is given up too, in the end", async () => {
    stubLuma();
    const { slicesSeen, overrides } = observed(() => true);
    const t = startEngine(overrides);
    await insertOrgs(t, 2);
    void t.action(runFullEventSync, {});
    await passTimeUntil(isRunOver);
    expect(slicesSeen).toHaveLength(3);
    expect(logged("error").join()).toContain("at the start of the run");
  });

  test("that turns out to be alive after it was resumed does not fork the run", async () => {
    const spans = stubLuma(() => 29 * SECOND_MS);
    const { slicesSeen, revive, overrides } = observed((slice, org) => slice === 0 && org === 3);
    const t = startEngine(overrides);
    await insertOrgs(t, 6);
    const stuck = t.action(runFullEventSync, {});
    await passTimeUntil(() => slicesSeen.length === 2);
    revive();
    expect(await settle(stuck)).toMatchObject({ isDone: false });
    await passTimeUntil(isRunOver);
    expect(logged().join()).toContain("came so late that its check had run; it ends here");
    expect(slicesSeen).toHaveLength(3);
    expect(spans.filter((span) => span.key === keyOf(5))).toHaveLength(1);
  });

  test("that was the last one, and late, does not say that the run is done", async () => {
    stubLuma();
    const { slicesSeen, revive, overrides } = observed((slice, org) => slice === 0 && org === 1);
    const t = startEngine(overrides);
    await insertOrgs(t, 2);
    const stuck = t.action(runFullEventSync, {});
    await passTimeUntil(() => slicesSeen.length === 2);
    revive();
    expect(await settle(stuck)).toMatchObject({ isDone: false });
    await passTimeUntil(isRunOver);
    expect(runLog().filter((line) => line.includes("sync done"))).toHaveLength(1);
  });
});

describe("the organizations of a run", () => {
  test("are those there were when it began, also when keys change meanwhile", async ({ luma }) => {
    const t = startEngine();
    const orgIds = await insertOrgs(t, 3);
    const [first, , third] = orgIds;
    if (!first || !third) throw new Error("unreachable");
    for (const key of ["key-00000", "key-00001", "key-00002", "a-key", "z-key"]) {
      luma.setCalendar(key, []);
    }
    luma.answerNext(
      (response, request) => {
        // One already synced moves to the end of the index, one still to come to its beginning.
        const rotating = t.run(async (ctx) => {
          await ctx.db.patch("organizations", first, { lumaApiKey: "z-key" });
          await ctx.db.patch("organizations", third, { lumaApiKey: "a-key" });
        });
        void luma.waitFor(rotating).then(() => luma.answer(response, request));
      },
      { key: "key-00001" },
    );
    const result = await settle(t.action(runFullEventSync, {}), luma.activity);
    expect(result).toEqual({ synced: 3, failed: [], isDone: true });
    expect(luma.requests.map(({ key }) => key)).toEqual(["key-00000", "key-00001", "a-key"]);
  });

  test("may be disconnected, deleted or given another key while they are listed: none is synced twice", async () => {
    const spans = stubLuma();
    const getOrgsWithLumaConfig = withHandler(eventQueries.getOrgsWithLumaConfig, (handler) => {
      const list = handler as (ctx: object, args: object) => Promise<unknown>;
      return ((ctx: object, args: object) => list(ctx, { ...args, numItems: 4 })) as never;
    });
    let pages = 0;
    const runSlice = withHandler(sync.runFullEventSync, (handler) => {
      type Call = (...args: unknown[]) => Promise<unknown>;
      const run = handler as (ctx: object, args: object) => Promise<unknown>;
      return ((ctx: { runQuery: Call }, args: object) => {
        const runQuery: Call = async (...call) => {
          const result = await ctx.runQuery(...call);
          if (++pages === 1) await change();
          return result;
        };
        return run({ ...ctx, runQuery }, args);
      }) as never;
    });
    const t = startEngine({
      "events/queries": { ...eventQueries, getOrgsWithLumaConfig },
      "events/sync": { ...sync, runFullEventSync: runSlice },
    });
    const [first, second, , fourth] = await insertOrgs(t, 10);
    const change = () =>
      t.run(async (ctx) => {
        if (!first || !second || !fourth) throw new Error("unreachable");
        await ctx.db.patch("organizations", first, { lumaApiKey: "z-key" });
        await ctx.db.patch("organizations", second, { lumaApiKey: undefined });
        // The one that the next page begins behind.
        await ctx.db.delete("organizations", fourth);
      });
    const running = t.action(runFullEventSync, {});
    const { synced } = await settle(running);
    const keys = spans.map(({ key }) => key);
    expect(new Set(keys).size).toBe(keys.length);
    expect(synced).toBe(8);
    expect(keys.toSorted()).toEqual([2, 4, 5, 6, 7, 8, 9].map(keyOf).concat("z-key"));
  });
});

describe("an outage of lu.ma's", () => {
  const down = () => new Response("", { status: 503 });

  test("costs nobody the day: what failed in passing is synced 30 minutes later, and once more after 2 hours", async () => {
    const rounds: number[] = [];
    // Two calendars are down for a while, one of them for longer than the other; a third one's key is wrong.
    const spans = stubLuma(undefined, (key, now) => {
      if (key === keyOf(1) && now < NOW + 20 * MINUTE_MS) return down();
      if (key === keyOf(3) && now < NOW + HOUR_MS) return down();
      if (key === keyOf(4)) return Response.json({ message: "No." }, { status: 401 });
      return undefined;
    });
    const { slicesSeen, overrides } = observed();
    const t = startEngine(overrides);
    const orgIds = await insertOrgs(t, 6);
    const first = await settle(t.action(runFullEventSync, {}));
    expect(first).toMatchObject({
      synced: 3,
      failed: [{ name: "Org 1" }, { name: "Org 3" }, { name: "Org 4" }],
      isDone: false,
    });
    const firstEnd = Date.now();
    expect(logged().at(-1)).toBe(
      "Full lu.ma sync, round 1 done: 2 failed in passing. They are synced again in 30 minutes.",
    );
    await passTimeUntil(isRunOver);
    for (const { begin } of slicesSeen.slice(1)) rounds.push(begin - firstEnd);
    expect(rounds[0]).toBe(30 * MINUTE_MS);
    expect((slicesSeen[2]?.begin ?? 0) - (slicesSeen[1]?.end ?? 0)).toBe(2 * HOUR_MS);
    expect(slicesSeen).toHaveLength(3);
    const tried = spans.filter(({ begin }) => begin > firstEnd).map(({ key }) => key);
    expect(tried).toEqual([keyOf(1), ...Array<string>(4).fill(keyOf(3)), keyOf(3)]);
    expect(runLog().at(-1)).toContain("Full lu.ma sync done: 5 synced, 1 failed, in 3 slice(s)");
    for (const orgId of [orgIds[1], orgIds[3]]) {
      if (orgId) expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
    }
  });

  test("that lasts ends the run after three rounds, and what failed has failed", async () => {
    stubLuma(undefined, (key) => (key === keyOf(0) ? down() : undefined));
    const { slicesSeen, overrides } = observed();
    const t = startEngine(overrides);
    const [orgId] = await insertOrgs(t, 2);
    await settle(t.action(runFullEventSync, {}));
    await passTimeUntil(isRunOver);
    expect(slicesSeen).toHaveLength(3);
    expect(runLog().at(-1)).toContain("Full lu.ma sync done: 1 synced, 1 failed, in 3 slice(s)");
    if (orgId) expect((await getOrg(t, orgId)).eventsSyncError).toContain("answered 503");
    expect((await jobs(t)).filter((job) => job.state.kind === "pending")).toEqual([]);
  });

  test("of five organizations in a row ends the round; the next begins with those that were not tried", async () => {
    const spans = stubLuma(undefined, (key, now) =>
      now < NOW + 20 * MINUTE_MS && key >= keyOf(2) ? down() : undefined,
    );
    const t = startEngine(observed().overrides);
    await insertOrgs(t, 10);
    const first = await settle(t.action(runFullEventSync, {}));
    expect(first).toMatchObject({ synced: 2, isDone: false });
    expect(first.failed).toHaveLength(5);
    expect(logged().at(-1)).toBe(
      "Full lu.ma sync, round 1 done: 5 failed in passing, 3 not tried in round 1, because lu.ma did not serve 5 " +
        "organizations in a row. They are synced again in 30 minutes.",
    );
    const before = spans.length;
    expect(before).toBe(2 + 5 * 4);
    await passTimeUntil(isRunOver);
    expect(spans.slice(before).map(({ key }) => key)).toEqual([7, 8, 9, 2, 3, 4, 5, 6].map(keyOf));
    expect(runLog().at(-1)).toContain("10 synced, 0 failed, in 2 slice(s)");
  });

  test("in the last round, too, ends the run: the log says how many were not tried, and why", async () => {
    const spans = stubLuma(undefined, down);
    const t = startEngine(observed().overrides);
    await insertOrgs(t, 12);
    await settle(t.action(runFullEventSync, {}));
    await passTimeUntil(isRunOver);
    expect(spans).toHaveLength(3 * 5 * 4);
    expect(runLog().at(-1)).toContain(
      "Full lu.ma sync done: 0 synced, 5 failed, 7 not tried in round 3, because lu.ma did not serve 5 organizations in a " +
        "row, in 3 slice(s)",
    );
    // Each round began with those that the rounds before had not come to.
    const firsts = spans.filter((_, i) => i % 4 === 0).map(({ key }) => Number(key.slice(4)));
    expect(firsts).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2]);
  });

  test("is noticed across slices", async () => {
    const spans = stubLuma(() => 20 * SECOND_MS, down);
    const { slicesSeen, overrides } = observed();
    const t = startEngine(overrides);
    await insertOrgs(t, 8);
    await settle(t.action(runFullEventSync, {}));
    await passTimeUntil(() => runLog().some((line) => line.includes("round 1 done")));
    expect(slicesSeen.length).toBeGreaterThan(1);
    expect(spans).toHaveLength(5 * 4);
    expect(runLog().at(-1)).toContain("5 failed in passing, 3 not tried in round 1");
  });

  test.for<[string, Answer, boolean]>([
    ["synced", status(200, { entries: [], has_more: false }), true],
    ["rate limited", status(429, "", { "retry-after": "1" }), true],
    ["told that its key is wrong", failure(401, "You are not signed in."), true],
    ["not known to lu.ma", status(404), true],
    ["answered HTML by a proxy", status(403, "<h1>Blocked</h1>"), false],
    ["not served", status(503), false],
  ])(
    "and an organization that is %s: does it interrupt the row?",
    async ([, answer, isInterrupted], { luma }) => {
      const t = startEngine();
      await insertOrgs(t, 8);
      for (let i = 0; i < 8; i += 1) luma.setCalendar(keyOf(i), []);
      for (const i of [0, 1, 2, 3, 5, 6, 7]) {
        for (let n = 0; n < 4; n += 1) luma.answerNext(status(502), { key: keyOf(i) });
      }
      for (let n = 0; n < 4; n += 1) luma.answerNext(answer, { key: keyOf(4) });
      await settle(t.action(runFullEventSync, {}), luma.activity);
      await passTimeUntil(
        () => runLog().some((line) => line.includes("round 1 done")),
        luma.activity,
      );
      const asked = new Set(luma.requests.map(({ key }) => key));
      expect(asked.size).toBe(isInterrupted ? 8 : 5);
    },
  );

  test("is not interrupted by an organization that counts as neither", async ({ luma }) => {
    const t = startEngine();
    const orgIds = await insertOrgs(t, 8);
    const gone = orgIds[3];
    if (!gone) throw new Error("unreachable");
    for (const i of [0, 1, 2, 4, 5, 6, 7]) {
      for (let n = 0; n < 4; n += 1) luma.answerNext(status(502), { key: keyOf(i) });
    }
    const running = t.action(runFullEventSync, {});
    await passTimeUntil(() => luma.requests.length > 0, luma.activity);
    await t.run((ctx) => ctx.db.delete("organizations", gone));
    await settle(running, luma.activity);
    const asked = new Set(luma.requests.map(({ key }) => key));
    expect([...asked]).toEqual([0, 1, 2, 4, 5].map(keyOf));
  });

  describe("of descriptions alone", () => {
    /** Organizations with one event each, but for every third one; so many of them wait in vain for its description. */
    async function runWith(luma: LumaServer, orgs: number, hanging: number[]) {
      const t = startEngine(observed().overrides);
      await insertOrgs(t, orgs);
      for (let i = 0; i < orgs; i += 1) {
        luma.setCalendar(keyOf(i), i % 3 === 2 ? [] : [aWireEvent({ id: `evt-${i}` })]);
      }
      for (const i of hanging) {
        for (let n = 0; n < 4; n += 1) luma.answerNext(silence, { key: keyOf(i), kind: "event" });
      }
      await settle(t.action(runFullEventSync, {}), luma.activity);
      await passTimeUntil(isRunOver, luma.activity);
      expect(runLog().at(-1)).toContain(`${orgs} synced, 0 failed`);
      expect(luma.requestsOf("list")).toHaveLength(orgs);
      return new Set(luma.requestsOf("event").map(({ key }) => Number(key?.slice(4))));
    }

    test("costs the run no more than five organizations' time, and nobody's listing", async ({
      luma,
    }) => {
      const asked = await runWith(luma, 12, [0, 1, 3, 4, 6]);
      expect([...asked]).toEqual([0, 1, 3, 4, 6]);
      expect(logged().join()).toContain("Descriptions: lu.ma gives none just now.");
    });

    test("that is none, but one event that lu.ma never gives, costs nobody else's descriptions", async ({
      luma,
    }) => {
      const asked = await runWith(luma, 12, [0, 1, 3, 4, 7]);
      expect([...asked]).toEqual([0, 1, 3, 4, 6, 7, 9, 10]);
    });

    test("that is none, but one event of a calendar that many share, costs no other calendar's", async ({
      luma,
    }) => {
      const t = startEngine();
      for (let i = 0; i < 6; i += 1) {
        await insertOrg(t, { name: `Chapter ${i}`, lumaApiKey: keyOf(0) });
      }
      await insertOrg(t, { name: "Other", lumaApiKey: keyOf(1) });
      luma.setCalendar(keyOf(0), [aWireEvent({ id: "evt-never" })]);
      luma.setCalendar(keyOf(1), [aWireEvent({ id: "evt-fine" })]);
      for (let n = 0; n < 6 * 4; n += 1) {
        luma.answerNext(silence, { key: keyOf(0), kind: "event" });
      }
      await settle(t.action(runFullEventSync, {}), luma.activity);
      await passTimeUntil(isRunOver, luma.activity);
      const asked = luma.requestsOf("event").map(({ key }) => Number(key?.slice(4)));
      expect(asked).toEqual([...Array<number>(6 * 4).fill(0), 1]);
    });

    test.for<[string, Answer]>([
      ["a key that is wrong", failure(401, "You are not signed in.")],
      ["a rate limit", status(429)],
    ])("is not %s", async ([, answer], { luma }) => {
      for (const i of [0, 1, 3, 4, 6]) luma.answerNext(answer, { key: keyOf(i), kind: "event" });
      const asked = await runWith(luma, 9, []);
      expect([...asked]).toEqual([0, 1, 3, 4, 6, 7]);
    });
  });

  test("is watched and resumed in its later rounds as in the first", async () => {
    stubLuma(undefined, (key, now) =>
      key === keyOf(0) && now < NOW + 20 * MINUTE_MS ? down() : undefined,
    );
    const { slicesSeen, overrides } = observed((slice) => slice === 1);
    const t = startEngine(overrides);
    await insertOrgs(t, 2);
    await settle(t.action(runFullEventSync, {}));
    await passTimeUntil(isRunOver);
    expect((slicesSeen[2]?.begin ?? 0) - (slicesSeen[1]?.begin ?? 0)).toBe(12 * MINUTE_MS);
    expect(runLog().at(-1)).toContain("2 synced, 0 failed");
  });
});
