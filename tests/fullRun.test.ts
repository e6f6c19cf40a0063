import { beforeEach, describe, expect, vi } from "vitest";
import { internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import * as fullRun from "../convex/events/fullRun";
import * as sync from "../convex/events/sync";
import { aWireEvent, getOrg, insertOrg, storedEvents, wireEvents } from "./support/builders";
import { passTimeUntil, settle, useSimulatedTime } from "./support/clock";
import { loadModules, startEngine, withHandler, type Engine } from "./support/engine";
import { NOW, test } from "./support/fixtures";
import { status } from "./support/lumaServer";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
/** A page of lu.ma's takes about so long. */
const ANSWER_MS = 300;

const { runFullEventSync } = internal.events.sync;

beforeEach(async () => {
  vi.spyOn(console, "log");
  vi.spyOn(console, "error");
  await loadModules();
});

function logged(method: "log" | "error" = "log"): string[] {
  return vi.mocked(console[method]).mock.calls.map(([line]) => String(line));
}

const isRunOver = () =>
  logged().some((line) => line.includes("sync done")) ||
  logged("error").some((line) => line.includes("given up"));

/** A lu.ma that answers with an empty calendar after a while; `spans` are its requests, in order. */
type Span = { key: string; begin: number; end: number };
function stubLuma(answerMs: (key: string) => number = () => ANSWER_MS): Span[] {
  useSimulatedTime(NOW);
  const spans: Span[] = [];
  vi.stubGlobal("fetch", async (_url: string, init: { headers: Record<string, string> }) => {
    const key = init.headers["x-luma-api-key"] ?? "";
    const span = { key, begin: Date.now(), end: NaN };
    spans.push(span);
    await new Promise((resolve) => setTimeout(resolve, answerMs(key)));
    span.end = Date.now();
    return new Response(JSON.stringify({ entries: [], has_more: false }));
  });
  return spans;
}

/** ms from the end of each request to the beginning of the next. */
function pauses(spans: Span[]): number[] {
  return spans.slice(1).map((span, index) => span.begin - (spans[index]?.end ?? NaN));
}

async function insertOrgs(t: Engine, count: number): Promise<Id<"organizations">[]> {
  return await t.run(async (ctx) => {
    const orgIds: Id<"organizations">[] = [];
    for (let i = 0; i < count; i += 1) {
      const org = { name: `Org ${i}`, lumaApiKey: `key-${String(i).padStart(5, "0")}` };
      orgIds.push(await ctx.db.insert("organizations", org));
    }
    return orgIds;
  });
}

async function jobs(t: Engine) {
  return await t.run((ctx) => ctx.db.system.query("_scheduled_functions").collect());
}

type Slice = { begin: number; end: number };

type Call = (...args: unknown[]) => Promise<unknown>;

/**
 * The sync module with its slices observed. `lose` is asked before each organization: if it throws, nothing works
 * any more in that slice, and a promise of its that never settles is a machine that died.
 */
function observed(lose: (slice: number, orgInSlice: number) => Promise<void> | void = () => {}): {
  slicesSeen: Slice[];
  overrides: Record<string, object>;
} {
  const slicesSeen: Slice[] = [];
  const runSlice = withHandler(sync.runFullEventSync, (handler) => {
    const run = handler as (ctx: object, args: object) => Promise<unknown>;
    return (async (ctx: { runAction: Call; runQuery: Call }, args: object) => {
      const slice = { begin: Date.now(), end: NaN };
      const index = slicesSeen.push(slice) - 1;
      let orgs = 0;
      let isLost = false;
      const runAction: Call = async (...call) => {
        isLost = true;
        await lose(index, orgs++);
        isLost = false;
        return await ctx.runAction(...call);
      };
      const runQuery: Call = async (...call) => {
        if (isLost) throw new Error("lost");
        return await ctx.runQuery(...call);
      };
      try {
        return await run({ ...ctx, runQuery, runAction }, args);
      } finally {
        slice.end = Date.now();
      }
    }) as never;
  });
  return { slicesSeen, overrides: { "events/sync": { ...sync, runFullEventSync: runSlice } } };
}

/** An exception outside any organization's sync. */
function breakSlice(): never {
  throw new Error("lost");
}

describe("a full run", () => {
  test("syncs every organization with a key, one after another, 1 s apart, also after a failed one", async ({
    luma,
  }) => {
    const t = startEngine();
    for (const name of ["a", "b", "c", "d"]) {
      await insertOrg(t, { name, lumaApiKey: `key-${name}` });
      if (name !== "b") luma.setCalendar(`key-${name}`, wireEvents(name === "a" ? 150 : 0));
    }
    await insertOrg(t, { name: "embed only", lumaApiKey: undefined });
    const result = await settle(t.action(runFullEventSync, {}), luma.activity);
    expect(luma.requests.map(({ key, at }) => [key, at - NOW])).toEqual([
      ["key-a", 0],
      ["key-a", 200],
      ["key-b", 1_200],
      ["key-c", 2_200],
      ["key-d", 3_200],
    ]);
    expect(result).toMatchObject({ synced: 3, isDone: true, failed: [{ name: "b" }] });
    const orgs = await t.run((ctx) => ctx.db.query("organizations").collect());
    expect(orgs.map((org) => org.eventsLastSynced)).toEqual([
      NOW,
      undefined,
      NOW + 2_200,
      NOW + 3_200,
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
    expect(reason).toContain('Organization "Acme" was not synced: lu.ma rejected the API key');
    expect(failed).toEqual([{ orgId, name: "Acme", reason }]);
  });

  test("writes down that an organization's action was killed, and goes on", async ({ luma }) => {
    const key = "key-1";
    const t = startEngine({
      "events/sync": {
        ...sync,
        syncOrgEvents: withHandler(sync.syncOrgEvents, (handler) => {
          let calls = 0;
          return (...args) => {
            if (calls++ === 0) throw new Error(`out of memory near ${key}\nat stack`);
            return handler(...args);
          };
        }),
      },
    });
    const orgId = await insertOrg(t, { name: "Acme", lumaApiKey: key });
    await insertOrg(t, { name: "Next", lumaApiKey: "key-2" });
    luma.setCalendar("key-2", []);
    const result = await settle(t.action(runFullEventSync, {}), luma.activity);
    expect(result).toMatchObject({ synced: 1, failed: [{ name: "Acme" }] });
    const reason = (await getOrg(t, orgId)).eventsSyncError;
    expect(reason).toContain('"Acme" was not synced: Convex did not let it finish (out of memory');
    expect(reason).not.toMatch(/key-1|stack/);
  });

  test("counts an organization that is deleted or disconnected meanwhile neither way", async ({
    luma,
  }) => {
    const t = startEngine();
    const orgIds: Id<"organizations">[] = [];
    for (const name of ["a", "b", "c", "d", "e"]) {
      orgIds.push(await insertOrg(t, { name, lumaApiKey: `key-${name}` }));
      luma.setCalendar(
        `key-${name}`,
        wireEvents(name === "a" ? 0 : 1, () => ({ id: `evt-${name}` })),
      );
    }
    const [, b, c, d] = orgIds;
    if (!b || !c || !d) throw new Error("unreachable");
    const disconnect = (orgId: Id<"organizations">) =>
      t.mutation(internal.orgs.mutations.setLumaConfig, { orgId, lumaApiKey: null });
    luma.answerNext((response, request) => {
      const leaving = t.run((ctx) => ctx.db.delete("organizations", b)).then(() => disconnect(c));
      void luma.waitFor(leaving).then(() => luma.answer(response, request));
    }, "key-a");
    luma.answerNext((response, request) => {
      void luma.waitFor(disconnect(d)).then(() => luma.answer(response, request));
    }, "key-d");
    const result = await settle(t.action(runFullEventSync, {}), luma.activity);
    expect(result).toEqual({ synced: 2, failed: [], isDone: true });
    expect([...(await storedEvents(t)).keys()]).toEqual(["evt-e"]);
  });

  test("logs one line a slice with the first 20 failures, and one for the whole run", async () => {
    stubLuma();
    vi.stubGlobal("fetch", () => Promise.resolve(new Response("", { status: 401 })));
    const t = startEngine();
    await insertOrgs(t, 25);
    await settle(t.action(runFullEventSync, {}));
    const [slice, run, ...more] = logged();
    expect(slice).toContain("slice 1: 0 synced, 25 failed, 0 left");
    expect(slice?.match(/was not synced/g)).toHaveLength(20);
    expect(slice).toContain("and 5 more");
    expect(slice).not.toContain("\n");
    expect(new TextEncoder().encode(slice).length).toBeLessThan(4_096);
    expect(run).toBe("Full lu.ma sync done: 0 synced, 25 failed, in 1 slice(s) and 24 s.");
    expect(more).toEqual([]);
  });

  test("twice at once leaves what one would", async ({ luma }) => {
    const t = startEngine();
    for (const name of ["a", "b"]) {
      await insertOrg(t, { name, lumaApiKey: `key-${name}` });
      luma.setCalendar(
        `key-${name}`,
        wireEvents(150, (i) => ({ id: `evt-${name}-${i}` })),
      );
    }
    const run = () => t.action(runFullEventSync, {});
    const results = await settle(Promise.all([run(), run()]), luma.activity);
    expect(results).toMatchObject([{ synced: 2 }, { synced: 2 }]);
    expect(await t.run((ctx) => ctx.db.query("events").collect())).toHaveLength(300);
    expect((await storedEvents(t)).size).toBe(300);
  });
});

describe("a run of many organizations", () => {
  test("1,500 are synced each once, in order, 1 s apart, in actions far below 10 minutes", async () => {
    const spans = stubLuma();
    const { slicesSeen, overrides } = observed();
    const t = startEngine(overrides);
    await insertOrgs(t, 1_500);
    await settle(t.action(runFullEventSync, {}));
    await passTimeUntil(isRunOver);
    expect(spans.map((span) => span.key)).toEqual(
      Array.from({ length: 1_500 }, (_, i) => `key-${String(i).padStart(5, "0")}`),
    );
    expect(new Set(pauses(spans))).toEqual(new Set([SECOND_MS]));
    expect(slicesSeen.length).toBeGreaterThan(10);
    const longest = Math.max(...slicesSeen.map(({ begin, end }) => end - begin));
    expect(longest).toBeLessThan(2 * MINUTE_MS + SECOND_MS);
    expect(logged().at(-1)).toContain("1500 synced, 0 failed");
    const kinds = (await jobs(t)).map((job) => `${job.name} ${job.state.kind}`);
    expect(new Set(kinds)).toEqual(
      new Set(["events/sync:runFullEventSync success", "events/fullRun:resumeLostSlice canceled"]),
    );
  });

  test("and one lost action goes on from where that action began, and none is left out", async () => {
    const spans = stubLuma();
    const LOST_SLICE = 3;
    const { slicesSeen, overrides } = observed((slice, org) => {
      if (slice === LOST_SLICE && org === 40) return new Promise(() => undefined);
    });
    const t = startEngine(overrides);
    await insertOrgs(t, 1_500);
    await settle(t.action(runFullEventSync, {}));
    await passTimeUntil(isRunOver);

    const lost = slicesSeen[LOST_SLICE];
    const resumed = slicesSeen[LOST_SLICE + 1];
    if (!lost || !resumed) throw new Error("no slice was lost");
    expect(resumed.begin).toBe(lost.begin + 12 * MINUTE_MS);
    const keys = spans.map((span) => span.key);
    expect(new Set(keys).size).toBe(1_500);
    // The 40 that the lost slice had synced are synced again, and no other.
    expect(keys).toHaveLength(1_540);
    const firstOfLost = spans.findIndex((span) => span.begin >= lost.begin);
    expect(keys.slice(firstOfLost + 40, firstOfLost + 80)).toEqual(
      keys.slice(firstOfLost, firstOfLost + 40),
    );
    expect(keys.slice(firstOfLost + 40)).toEqual(keys.slice(firstOfLost + 40).toSorted());
  });

  test("with a lu.ma as slow as it may be works no action longer than 10 minutes", async () => {
    // The fifth organization is taken on just before the 2 minutes are over, and its listing never ends.
    const ENDLESS_KEY = "key-00004";
    stubLuma(() => 25 * SECOND_MS);
    const answer = globalThis.fetch;
    let pages = 0;
    vi.stubGlobal("fetch", async (url: string, init: { headers: Record<string, string> }) => {
      const response = await answer(url, init);
      if (init.headers["x-luma-api-key"] !== ENDLESS_KEY) return response;
      pages += 1;
      const page = { entries: [], has_more: true, next_cursor: `page-${pages}` };
      return new Response(JSON.stringify(page));
    });
    const { slicesSeen, overrides } = observed();
    const t = startEngine(overrides);
    await insertOrgs(t, 8);
    await settle(t.action(runFullEventSync, {}));
    await passTimeUntil(isRunOver);
    const [longest] = slicesSeen.map(({ begin, end }) => end - begin);
    expect(longest).toBeGreaterThan(8 * MINUTE_MS);
    expect(longest).toBeLessThan(10 * MINUTE_MS);
    expect(logged().at(-1)).toContain("7 synced, 1 failed, in 2 slice(s)");
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
        scheduledTime: Date.now() + SECOND_MS + 12 * MINUTE_MS,
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

  test("that ends with an exception is resumed from where it began", async () => {
    const spans = stubLuma();
    const { overrides } = observed((slice, org) => {
      if (slice === 0 && org === 2) breakSlice();
    });
    const t = startEngine(overrides);
    await insertOrgs(t, 3);
    await expect(settle(t.action(runFullEventSync, {}))).rejects.toThrow("lost");
    await passTimeUntil(isRunOver);
    expect(spans.map((span) => span.key)).toEqual([0, 1, 0, 1, 2].map((i) => `key-0000${i}`));
    expect(logged()).toContain("Full lu.ma sync: slice 1 was lost and is resumed.");
  });

  test("that cannot hand over loses nothing", async () => {
    const spans = stubLuma(() => 29 * SECOND_MS);
    const { overrides } = observed();
    let failures = 1;
    const handOver = withHandler(fullRun.handOver, (handler) => async (...args) => {
      await handler(...args);
      // After its work: the transaction as a whole must not count.
      if (failures-- > 0) throw new Error("conflict");
    });
    const t = startEngine({ ...overrides, "events/fullRun": { ...fullRun, handOver } });
    await insertOrgs(t, 6);
    await expect(settle(t.action(runFullEventSync, {}))).rejects.toThrow("conflict");
    await passTimeUntil(isRunOver);
    const synced = spans.map((span) => Number(span.key.slice(4)));
    expect(synced).toEqual([0, 1, 2, 3, 0, 1, 2, 3, 4, 5]);
    expect(logged().at(-1)).toContain("6 synced");
  });

  test("is tried three times, then the run is given up, and the log says where", async () => {
    const spans = stubLuma(() => 29 * SECOND_MS);
    const { slicesSeen, overrides } = observed((slice) => {
      if (slice > 0) breakSlice();
    });
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
    const { slicesSeen, overrides } = observed(breakSlice);
    const t = startEngine(overrides);
    await insertOrgs(t, 2);
    await expect(settle(t.action(runFullEventSync, {}))).rejects.toThrow("lost");
    await passTimeUntil(isRunOver);
    expect(slicesSeen).toHaveLength(3);
    expect(logged("error").join()).toContain("at the start of the run");
  });

  test("that turns out to be alive after it was resumed does not fork the run", async () => {
    const spans = stubLuma(() => 29 * SECOND_MS);
    let revive: () => void = () => {};
    const { slicesSeen, overrides } = observed((slice, org) => {
      if (slice === 0 && org === 3) return new Promise<void>((resolve) => (revive = resolve));
    });
    const t = startEngine(overrides);
    await insertOrgs(t, 6);
    const stuck = t.action(runFullEventSync, {});
    await passTimeUntil(() => slicesSeen.length === 2);
    revive();
    await settle(stuck);
    await passTimeUntil(isRunOver);
    expect(logged()).toContain(
      "Full lu.ma sync: a slice took so long that it was resumed; it ends here.",
    );
    expect(slicesSeen).toHaveLength(3);
    expect(spans.filter((span) => span.key === "key-00005")).toHaveLength(1);
  });
});

describe("the organizations of a run", () => {
  test("are those there were when it began, also when keys change meanwhile", async ({ luma }) => {
    const t = startEngine();
    const orgIds = await insertOrgs(t, 3);
    const [first, , third] = orgIds;
    if (!first || !third) throw new Error("unreachable");
    for (const key of ["key-00000", "key-00001", "key-00002", "a-key", "z-key"]) {
      luma.setCalendar(key, [aWireEvent({ id: `evt-of-${key}` })]);
    }
    luma.answerNext((response, request) => {
      // One already synced moves to the end of the index, one still to come to its beginning.
      const rotating = t.run(async (ctx) => {
        await ctx.db.patch("organizations", first, { lumaApiKey: "z-key" });
        await ctx.db.patch("organizations", third, { lumaApiKey: "a-key" });
      });
      void luma.waitFor(rotating).then(() => luma.answer(response, request));
    }, "key-00001");
    const result = await settle(t.action(runFullEventSync, {}), luma.activity);
    expect(result).toEqual({ synced: 3, failed: [], isDone: true });
    expect(luma.requests.map(({ key }) => key)).toEqual(["key-00000", "key-00001", "a-key"]);
  });

  test("a calendar that fails for all does not stop the run", async ({ luma }) => {
    const t = startEngine();
    await insertOrgs(t, 3);
    for (let i = 0; i < 3; i += 1) luma.answerNext(status(400, { message: "no" }));
    const result = await settle(t.action(runFullEventSync, {}), luma.activity);
    expect(result.failed).toHaveLength(3);
  });
});
