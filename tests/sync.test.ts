import { describe, expect, vi } from "vitest";
import { api, internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import * as eventMutations from "../convex/events/mutations";
import * as eventQueries from "../convex/events/queries";
import * as queue from "../convex/events/queue";
import * as orgQueries from "../convex/orgs/queries";
import {
  aMirroredEvent,
  aWireEvent,
  beginSync,
  getOrg,
  HOUR_MS,
  insertOrg,
  storedEvents,
  wireEvents,
} from "./support/builders";
import { passTimeUntil, setTime, settle } from "./support/clock";
import { startEngine, withHandler, type Engine } from "./support/engine";
import { failureOf, NOW, reasonOf, syncOrg, test } from "./support/fixtures";
import { failure, OLDER_PATH, status, type Answer, type LumaServer } from "./support/lumaServer";

const MINUTE_MS = 60_000;
/** 150 kB. */
const LARGE = "語".repeat(50_000);
const KEY = "secret-4711";

async function connectedOrg(t: Engine, name = "Acme", lumaApiKey = KEY) {
  return await insertOrg(t, { name, lumaApiKey });
}

async function start(overrides: Record<string, object> = {}) {
  const t = startEngine(overrides);
  return { t, orgId: await connectedOrg(t) };
}

function at(ms: number): string {
  return new Date(ms).toISOString();
}

function logged(): string[] {
  return vi.mocked(console.log).mock.calls.map(([line]) => String(line));
}

/** Has the queue's worker do nothing, where a test sets a key that it does not want to be synced with. */
const IDLE = {
  "events/queue": { ...queue, takeNext: withHandler(queue.takeNext, () => () => null) },
};

/** A function that throws (a plain error, which may quote anything) when it is told to. */
function failing(registered: object, isFailing: () => boolean): object {
  return withHandler(registered, (handler) => (...args) => {
    if (isFailing()) throw new Error(`Uncaught Error: conflict near ${KEY}\n    at stack`);
    return handler(...args);
  });
}

describe("a sync", () => {
  test("mirrors a calendar, and again finds nothing to do", async ({ luma }) => {
    const { t, orgId } = await start();
    luma.setCalendar(KEY, wireEvents(250));
    expect(await syncOrg(t, luma, orgId)).toEqual({
      fetched: 250,
      inserted: 250,
      updated: 0,
      unchanged: 0,
      removed: 0,
      invalid: 0,
      described: 100,
    });
    const before = await storedEvents(t);
    expect(before.size).toBe(250);
    // What is left of the descriptions is asked for now; then there is nothing to do at all.
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ unchanged: 250, described: 100 });
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ unchanged: 250, described: 50 });
    const all = await storedEvents(t);
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ unchanged: 250, described: 0 });
    expect(await storedEvents(t)).toEqual(all);
  });

  test("on a morning on the older address shows cities instead of addresses, and nothing else changes", async ({
    luma,
  }) => {
    const { t, orgId } = await start();
    luma.setCalendar(KEY, [aWireEvent(), aWireEvent({ id: "evt-2", geo_address_json: null })]);
    await syncOrg(t, luma, orgId);
    const before = (await storedEvents(t)).get("evt-1");
    vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ updated: 1, unchanged: 1, described: 0 });
    const after = (await storedEvents(t)).get("evt-1");
    expect(after).toEqual({
      ...before,
      location: "Berlin, Germany",
      syncedAt: after?.syncedAt,
    });
  });

  test("stamps when it began, and clears the error of the one before", async ({ luma }) => {
    const t = startEngine();
    const orgId = await insertOrg(t, { lumaApiKey: KEY, eventsSyncError: "rejected" });
    luma.setCalendar(KEY, wireEvents(150));
    await syncOrg(t, luma, orgId);
    expect(Date.now()).toBeGreaterThan(NOW);
    const org = await getOrg(t, orgId);
    expect(org.eventsLastSynced).toBe(NOW);
    expect(org).not.toHaveProperty("eventsSyncError");
  });

  test("writes what was renamed, and hides what was made private", async ({ luma }) => {
    const { t, orgId } = await start();
    luma.setCalendar(KEY, wireEvents(3));
    await syncOrg(t, luma, orgId);
    luma.setCalendar(
      KEY,
      wireEvents(3, (i) => [{ name: "Renamed" }, { visibility: "private" }, {}][i] ?? {}),
    );
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ updated: 2, unchanged: 1 });
    const page = await t.query(api.events.queries.getOrgEvents, { orgId, now: NOW });
    expect(page?.upcoming.map((event) => event.title)).toEqual(["Renamed", "Event evt-2"]);
  });

  test("of an event that two calendars manage shows it on both pages, without a write a day", async ({
    luma,
  }) => {
    const t = startEngine();
    const orgIds = [await connectedOrg(t), await connectedOrg(t, "Other", "key-2")];
    for (const key of [KEY, "key-2"]) luma.setCalendar(key, [aWireEvent()]);
    for (const orgId of orgIds) await syncOrg(t, luma, orgId);
    for (const orgId of orgIds) {
      expect(await syncOrg(t, luma, orgId)).toMatchObject({ unchanged: 1, described: 0 });
      const page = await t.query(api.events.queries.getOrgEvents, { orgId, now: NOW });
      expect(page?.upcoming).toMatchObject([{ orgId, description: "What happens at evt-1" }]);
    }
  });

  test("writes a list or an object that is mirrored only when its value differs", async () => {
    const { isSameEvent } = await import("../convex/events/changes");
    const event = aMirroredEvent();
    const withTags = (...tags: string[]) => ({ ...event, location: { tags } as never });
    expect(isSameEvent(withTags("a", "b"), withTags("a", "b"))).toBe(true);
    expect(isSameEvent(withTags("a", "b"), withTags("b", "a"))).toBe(false);
  });
});

describe("an entry that cannot be read", () => {
  test("is counted, neither written nor removed, and the others go on", async ({ luma }) => {
    const { t, orgId } = await start();
    luma.setCalendar(KEY, wireEvents(3));
    await syncOrg(t, luma, orgId);
    luma.setCalendar(KEY, [
      ...wireEvents(1, () => ({ name: "Renamed" })),
      aWireEvent({ id: "evt-1", start_at: "some day" }),
    ]);
    expect(await syncOrg(t, luma, orgId)).toEqual({
      fetched: 1,
      inserted: 0,
      updated: 1,
      unchanged: 0,
      removed: 1,
      invalid: 1,
      described: 0,
    });
    const stored = await storedEvents(t);
    expect(stored.get("evt-1")).toMatchObject({ status: "listed", title: "Event evt-1" });
    expect(stored.get("evt-2")).toMatchObject({ status: "removed" });
    expect((await getOrg(t, orgId)).eventsLastSynced).toBeGreaterThan(NOW - 1);
  });

  test("is known by its id as lu.ma wrote it, however odd", async ({ luma }) => {
    const { t, orgId } = await start();
    const ids = ["evt-two  spaces", `evt-${KEY}`];
    luma.setCalendar(
      KEY,
      ids.map((id) => aWireEvent({ id })),
    );
    await syncOrg(t, luma, orgId);
    luma.setCalendar(KEY, [
      aWireEvent({ id: "valid" }),
      ...ids.map((id) => aWireEvent({ id, name: "" })),
    ]);
    luma.requests.length = 0;
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ fetched: 1, removed: 0, invalid: 2 });
    // For their descriptions, that is, and after the new one.
    expect(luma.requestsOf("event").map(({ query }) => query.get("event_id"))).toEqual([
      "valid",
      ...ids,
    ]);
  });

  test("is named in the log, the first 20 with reasons, on one line", async ({ luma }) => {
    const t = startEngine();
    vi.spyOn(console, "log");
    const orgId = await connectedOrg(t);
    const unreadable = wireEvents(25, (i) => ({
      id: i === 0 ? "" : `evt-${i}\u001b[2J`,
      name: "",
      start_at: at(NOW + (i + 1) * HOUR_MS),
    }));
    luma.setCalendar(KEY, [aWireEvent(), ...unreadable]);
    await syncOrg(t, luma, orgId);
    expect(logged()).toHaveLength(1);
    const [line] = logged();
    expect(line).toContain(
      "fetched 1, inserted 1, updated 0, unchanged 0, removed 0, invalid 25, described 1",
    );
    expect(line).toContain(`lu.ma sync of "Acme" (${orgId}): `);
    expect(line).toContain(" Invalid: (no id) (no readable id); evt-1 [2J (name: ");
    expect(line).toContain("evt-19 [2J (name: ");
    expect(line).not.toContain("evt-20 ");
    expect(line).toContain("and 5 more");
    expect(line).not.toMatch(/\p{Cc}/u);
    expect(new TextEncoder().encode(line).length).toBeLessThan(4_096);
  });
});

describe("a sync that fails", () => {
  test("changes nothing but eventsSyncError, which says what the administrator is told", async ({
    luma,
  }) => {
    const { t, orgId } = await start();
    luma.setCalendar(KEY, wireEvents(250));
    await syncOrg(t, luma, orgId);
    const [org, events] = [await getOrg(t, orgId), await storedEvents(t)];

    luma.setCalendar(
      KEY,
      wireEvents(250, () => ({ name: "Renamed" })),
    );
    luma.answerNext(luma.answer);
    luma.answerNext(luma.answer);
    luma.answerNext(status(401, { message: `\u0007no such\u001b[2J key ${KEY}` }));
    const { message: reason, ...rest } = await failureOf(syncOrg(t, luma, orgId));
    expect(rest).toEqual({ kind: "lasting" });
    expect(reason).toContain('Organization "Acme" was not synced: 127.0.0.1:');
    expect(reason).toContain('answered 401 for page 3 (1 attempt): "no such [2J key [API key]"');
    expect(reason).not.toContain(KEY);
    expect(await getOrg(t, orgId)).toEqual({ ...org, eventsSyncError: reason });
    expect(await storedEvents(t)).toEqual(events);
  });

  test("because there is no such organization says which", async ({ luma }) => {
    const { t, orgId } = await start();
    await t.run((ctx) => ctx.db.delete("organizations", orgId));
    const failure = await failureOf(syncOrg(t, luma, orgId));
    expect(failure.kind).toBe("lasting");
    expect(failure.message).toContain(`no organization with the id ${orgId}`);
  });

  test("because there is no key says what to do", async ({ luma }) => {
    const t = startEngine();
    for (const lumaApiKey of [undefined, " "]) {
      const orgId = await insertOrg(t, { name: "Acme", lumaApiKey });
      const { message, kind } = await failureOf(syncOrg(t, luma, orgId));
      expect(kind).toBe("lasting");
      expect(message).toContain('"Acme" has no lu.ma API key');
      expect(message).toContain("setLumaConfig");
      expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
    }
    expect(luma.requests).toEqual([]);
  });

  test("because of the key names the variable that it came from", async ({ luma }) => {
    const t = startEngine();
    vi.stubEnv("LUMA_API_KEY_ACME", "wrong");
    const stored = await connectedOrg(t, "Stored", "wrong");
    const inVariable = await connectedOrg(t, "Variable", "env:LUMA_API_KEY_ACME");
    expect(await reasonOf(syncOrg(t, luma, stored))).toContain(
      "The key in its lumaApiKey is wrong, or its calendar has no Luma Plus: take the key from the calendar's " +
        "settings on lu.ma, and set it with orgs/mutations:setLumaConfig.",
    );
    expect(await reasonOf(syncOrg(t, luma, inVariable))).toContain(
      "The key in the environment variable LUMA_API_KEY_ACME is wrong",
    );
  });

  test("writes its reason down at the third try, and otherwise tells it all the same", async ({
    luma,
  }) => {
    vi.spyOn(console, "error").mockReturnValue();
    for (const times of [2, 3]) {
      let failures = times;
      const endSync = failing(queue.endSync, () => failures-- > 0);
      const { t, orgId } = await start({ "events/queue": { ...queue, endSync } });
      const reason = await reasonOf(syncOrg(t, luma, orgId));
      expect(reason).toContain("answered 401");
      expect((await getOrg(t, orgId)).eventsSyncError).toBe(times === 2 ? reason : undefined);
    }
    expect(vi.mocked(console.error).mock.calls.join()).toContain("answered 401");
  });

  test("names the organization no longer than a log line can bear", async ({ luma }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t, `\u001b[2J${"long ".repeat(1_000)}`);
    const reason = await reasonOf(syncOrg(t, luma, orgId));
    expect(reason).toMatch(/^Organization " ?\[2Jlong .*answered 401/);
    expect(reason.length).toBeLessThan(1_000);
  });
});

describe("what Convex refuses", () => {
  const steps: [string, object, string][] = [
    ["events/queue", queue, "beginSync"],
    ["orgs/queries", orgQueries, "getById"],
    ["events/queries", eventQueries, "getStoredEvents"],
    ["events/mutations", eventMutations, "upsertEvents"],
    ["events/mutations", eventMutations, "markEventsRemoved"],
    ["events/mutations", eventMutations, "updateOrgSyncTimestamp"],
    ["events/mutations", eventMutations, "describeEvents"],
  ];
  /** An engine on which one function fails so many times, after as many times as it works. */
  function startRefusing([path, module, name]: [string, object, string], times: number) {
    let left = 0;
    const registered = (module as Record<string, object>)[name];
    if (registered === undefined) throw new Error(`there is no ${name}`);
    const t = startEngine({
      [path]: { ...module, [name]: failing(registered, () => left-- > 0) },
    });
    return { t, refuse: () => (left = times) };
  }

  async function startWithChanges(luma: LumaServer, step: [string, object, string], times: number) {
    const { t, refuse } = startRefusing(step, times);
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, wireEvents(2));
    await syncOrg(t, luma, orgId);
    luma.setCalendar(KEY, [
      aWireEvent({ id: "evt-0", name: "Renamed" }),
      aWireEvent({ id: "new" }),
    ]);
    refuse();
    return { t, orgId };
  }

  test.for(steps)("twice in %s is tried again after 1 and 3 s: $2", async (step, { luma }) => {
    const { t, orgId } = await startWithChanges(luma, step, 2);
    const startedAt = Date.now();
    expect(await syncOrg(t, luma, orgId)).toMatchObject({
      inserted: 1,
      updated: 1,
      removed: 1,
      described: 1,
    });
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(4_000);
    expect(Date.now() - startedAt).toBeLessThan(6_000);
  });

  test.for(steps.slice(2, 6))(
    "three times in %s fails in passing, and the next sync completes it: $2",
    async (step, { luma }) => {
      const { t, orgId } = await startWithChanges(luma, step, 3);
      const { message, kind } = await failureOf(syncOrg(t, luma, orgId));
      expect(kind).toBe("passing");
      expect(message).toBe(
        'Organization "Acme" was not synced: Convex refused a step of it ' +
          "(Uncaught Error: conflict near [API key]). It is synced again by itself.",
      );
      expect((await getOrg(t, orgId)).eventsSyncError).toBe(message);
      const result = await syncOrg(t, luma, orgId);
      expect(result.fetched).toBe(2);
      expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
    },
  );

  test.for(steps.slice(0, 2))(
    "three times before the key is known is not quoted, for it may hold the key: %s",
    async (step, { luma }) => {
      const { t, orgId } = await startWithChanges(luma, step, 3);
      const { message, kind } = await failureOf(syncOrg(t, luma, orgId));
      expect(kind).toBe("passing");
      expect(message).toContain(
        " was not synced: Convex refused a step of it. It is synced again by itself.",
      );
    },
  );

  test("of the descriptions ends that step, and not the sync", async ({ luma }) => {
    vi.spyOn(console, "log");
    const { t, orgId } = await startWithChanges(luma, steps[6] ?? ["", {}, ""], 3);
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ inserted: 1, described: 0 });
    expect(logged().at(-1)).toMatch(
      /2 asked for, ended by Convex, which refused to write them \(Uncaught Error: conflict near \[API key\]\)\.$/,
    );
    expect((await storedEvents(t)).get("new")).not.toHaveProperty("description");
  });
});

describe("a key in an environment variable", () => {
  test("is read at sync time, trimmed", async ({ luma }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t, "Acme", "env:LUMA_API_KEY_ACME");
    luma.setCalendar(KEY, wireEvents(1));
    vi.stubEnv("LUMA_API_KEY_ACME", ` ${KEY}\n`);
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ inserted: 1 });
    expect(luma.requests[0]?.key).toBe(KEY);
    expect(JSON.stringify(await getOrg(t, orgId))).not.toContain(KEY);
  });

  test.for<[string, string, string]>([
    [
      "that is not set",
      "env:LUMA_API_KEY_ACME",
      "LUMA_API_KEY_ACME is not set on this deployment. Set it with npx convex env set LUMA_API_KEY_ACME.",
    ],
    [
      "of another name",
      "env:AWS_SECRET",
      "at most 40 in all). Set it with orgs/mutations:setLumaConfig.",
    ],
    [
      "of more than 200 characters",
      "x".repeat(201),
      "the lu.ma API key has more than 200 characters, or contains",
    ],
  ])("%s is a clear error, and nothing is sent", async ([, lumaApiKey, expected], { luma }) => {
    vi.stubEnv("AWS_SECRET", "other-secret");
    const t = startEngine();
    const orgId = await connectedOrg(t, "Acme", lumaApiKey);
    const { message, kind } = await failureOf(syncOrg(t, luma, orgId));
    expect(kind).toBe("lasting");
    expect(message).toContain('Organization "Acme"');
    expect(message).toContain(expected);
    expect((await getOrg(t, orgId)).eventsSyncError).toBe(message);
    expect(luma.requests).toEqual([]);
  });

  test("that is too long, or has a character that no header may hold, is a clear error without the key", async ({
    luma,
  }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t, "Acme", "env:LUMA_API_KEY_ACME");
    for (const value of [`${KEY}\nsecond-line`, KEY.padEnd(201, "x")]) {
      vi.stubEnv("LUMA_API_KEY_ACME", value);
      const reason = await reasonOf(syncOrg(t, luma, orgId));
      expect(reason).toContain("LUMA_API_KEY_ACME has more than 200 characters, or contains");
      expect(reason).not.toContain(KEY);
    }
    expect(luma.requests).toEqual([]);
  });
});

/** `happen` comes to pass in the middle of a sync, whose listing was fetched already. */
async function syncWhile(
  t: Engine,
  luma: LumaServer,
  orgId: Id<"organizations">,
  happen: () => Promise<unknown>,
  answer = luma.answer,
) {
  luma.answerNext((response, request) => {
    void luma.waitFor(happen()).then(() => answer(response, request));
  });
  return await syncOrg(t, luma, orgId);
}

describe("a sync that is ended", () => {
  const { setLumaConfig } = internal.orgs.mutations;
  const ends: [string, string, (t: Engine, orgId: Id<"organizations">) => Promise<unknown>][] = [
    [
      "by another key",
      '"Acme" was ended: its lu.ma API key was set meanwhile',
      (t, orgId) => t.mutation(setLumaConfig, { orgId, lumaApiKey: "key-2" }),
    ],
    [
      "by the same key once more",
      '"Acme" was ended: its lu.ma API key was set meanwhile',
      (t, orgId) => t.mutation(setLumaConfig, { orgId, lumaApiKey: KEY }),
    ],
    [
      "by disconnecting",
      '"Acme" was disconnected',
      (t, orgId) => t.mutation(setLumaConfig, { orgId, lumaApiKey: null }),
    ],
    [
      "by a key that is cleared by hand",
      '"Acme" was disconnected',
      (t, orgId) => t.run((ctx) => ctx.db.patch("organizations", orgId, { lumaApiKey: undefined })),
    ],
    [
      "by deleting the organization",
      "was deleted while",
      (t, orgId) => t.run((ctx) => ctx.db.delete("organizations", orgId)),
    ],
  ];

  test.for(ends)(
    "%s says so, whatever lu.ma answers, and writes nothing: no event, no stamp, no error",
    async ([, sentence, happen], { luma }) => {
      for (const answer of [luma.answer, failure(401, "No.")]) {
        const { t, orgId } = await start(IDLE);
        luma.setCalendar(KEY, wireEvents(3));
        const ended = syncWhile(t, luma, orgId, () => happen(t, orgId), answer);
        const { kind, message } = await failureOf(ended);
        expect(kind).toBe("ended");
        expect(message).toContain(sentence);
        expect((await storedEvents(t)).size).toBe(0);
        const org = await t.query(internal.orgs.queries.getById, { orgId });
        expect(org?.eventsLastSynced).toBeUndefined();
        expect(org?.eventsSyncError).toBeUndefined();
      }
    },
  );

  test.for(ends)(
    "%s after its stamp ends well: only descriptions were left",
    async (end, { luma }) => {
      const { t, orgId } = await start(IDLE);
      luma.setCalendar(KEY, wireEvents(3));
      luma.answerNext(
        (response, request) => {
          void luma.waitFor(end[2](t, orgId)).then(() => luma.answer(response, request));
        },
        { kind: "event" },
      );
      expect(await syncOrg(t, luma, orgId)).toMatchObject({ inserted: 3, described: 0 });
      for (const event of (await storedEvents(t)).values()) {
        expect(event).not.toHaveProperty("description");
      }
    },
  );
});

/** Overtakes a sync when it has begun its first write, and tells how it ends and how often it wrote. */
async function overtakeAtWrite(
  luma: LumaServer,
  start: (t: Engine) => Promise<Id<"organizations">>,
) {
  let calls = -Infinity;
  const counted = withHandler(eventMutations.upsertEvents, (handler) => (...args) => {
    calls += 1;
    return handler(...args);
  });
  const t = startEngine({ "events/mutations": { ...eventMutations, upsertEvents: counted } });
  const orgId = await start(t);
  calls = 0;
  const earlier = failureOf(t.action(internal.events.sync.syncOrgEvents, { orgId }));
  await passTimeUntil(() => calls === 1, luma.activity);
  await beginSync(t, orgId);
  const { kind } = await settle(earlier, luma.activity);
  return { t, orgId, kind, calls };
}

describe("two syncs of one organization at once", () => {
  test("leave what the later one found, and the earlier one says that it was overtaken", async ({
    luma,
  }) => {
    const { t, orgId } = await start();
    luma.setCalendar(KEY, wireEvents(250));
    const sync = () => t.action(internal.events.sync.syncOrgEvents, { orgId });
    const both = Promise.all([failureOf(sync()), sync()]);
    const [earlier, later] = await settle(both, luma.activity);
    expect(earlier.kind).toBe("overtaken");
    expect(earlier.message).toContain('A later sync of the organization "Acme" has begun');
    expect(later).toMatchObject({ fetched: 250, inserted: 250 });
    expect(await t.run((ctx) => ctx.db.query("events").collect())).toHaveLength(250);
    expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
  });

  test.for<[string, Answer]>([
    ["list", status(200, { entries: wireEvents(2, () => ({ name: "Old" })), has_more: false })],
    ["failure", failure(403, "No.")],
  ])(
    "the earlier one's %s counts no more once the later one has begun, although that fetches for long",
    async ([, answer], { luma }) => {
      const { t, orgId } = await start();
      luma.setCalendar(KEY, wireEvents(2));
      await syncOrg(t, luma, orgId);
      luma.setCalendar(KEY, [aWireEvent({ id: "evt-0", visibility: "private" })]);
      let later: Promise<unknown> = Promise.resolve();
      const begin = async () => {
        luma.answerNext((response, request) => {
          setTimeout(() => luma.answer(response, request), 20_000);
        });
        const requests = luma.requests.length;
        later = t.action(internal.events.sync.syncOrgEvents, { orgId });
        await vi.waitUntil(() => luma.requests.length > requests);
      };
      const earlier = await failureOf(syncWhile(t, luma, orgId, begin, answer));
      expect(earlier.kind).toBe("overtaken");
      expect((await getOrg(t, orgId)).eventsLastSynced).toBe(NOW);
      await settle(later, luma.activity);
      const statuses = [...(await storedEvents(t))].map(([id, event]) => `${id} ${event.status}`);
      expect(statuses).toEqual(["evt-0 unlisted", "evt-1 removed"]);
      const org = await getOrg(t, orgId);
      expect(org.eventsLastSynced).toBeGreaterThan(NOW);
      expect(org).not.toHaveProperty("eventsSyncError");
    },
  );

  test("the earlier one that was overtaken between its writes is refused once, and stamps nothing", async ({
    luma,
  }) => {
    luma.setCalendar(KEY, wireEvents(250));
    const { t, orgId, kind, calls } = await overtakeAtWrite(luma, connectedOrg);
    expect([kind, calls]).toEqual(["overtaken", 2]);
    expect((await storedEvents(t)).size).toBe(100);
    expect(await getOrg(t, orgId)).not.toHaveProperty("eventsLastSynced");
  });

  test("the earlier one that was overtaken between its writes and its removals removes nothing", async ({
    luma,
  }) => {
    luma.setCalendar(KEY, wireEvents(3));
    const { t, kind } = await overtakeAtWrite(luma, async (t) => {
      const orgId = await connectedOrg(t);
      await syncOrg(t, luma, orgId);
      luma.setCalendar(KEY, [aWireEvent({ id: "evt-0", name: "Renamed" })]);
      return orgId;
    });
    expect(kind).toBe("overtaken");
    const stored = [...(await storedEvents(t)).values()];
    expect(stored.map(({ title }) => title)).toEqual(["Renamed", "Event evt-1", "Event evt-2"]);
    expect(stored.map(({ status }) => status)).toEqual(["listed", "listed", "listed"]);
  });
});

describe("a sync's writes", () => {
  test("take at most 1 MiB each, and as much time as at 1 MiB a second", async ({ luma }) => {
    const MIB = 1024 * 1024;
    const written: { bytes: number; at: number }[] = [];
    type Result = { written: { bytes: number } };
    const weigh = (registered: object) =>
      withHandler(registered, (handler) => {
        return (async (...args: never[]) => {
          const result = (await handler(...args)) as Result;
          written.push({ bytes: result.written.bytes, at: Date.now() });
          return result;
        }) as never;
      });
    const { upsertEvents, markEventsRemoved, describeEvents } = eventMutations;
    const weighed = {
      upsertEvents: weigh(upsertEvents),
      markEventsRemoved: weigh(markEventsRemoved),
      describeEvents: weigh(describeEvents),
    };
    const { t, orgId } = await start({ "events/mutations": { ...eventMutations, ...weighed } });
    const long = (fields: object) => wireEvents(30, () => ({ description: LARGE, ...fields }));
    for (const calendar of [long({}), long({ name: "Renamed" }), []]) {
      luma.setCalendar(KEY, calendar);
      await syncOrg(t, luma, orgId);
    }
    // 30 events inserted at once; 30 descriptions; 30 renamed and 30 removed, which writes the descriptions again.
    expect(written).toHaveLength(1 + 30 + 5 + 5);
    expect(Math.max(...written.map(({ bytes }) => bytes))).toBeLessThanOrEqual(MIB);
    for (const { at } of written) {
      const inSecond = written.filter((other) => other.at >= at && other.at < at + 1_000);
      expect(inSecond.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(2 * MIB);
    }
  });

  test("are given up when events are left to write 7 minutes 30 after it began", async ({
    luma,
  }) => {
    // When the first write ends, there is a second left for the next one; when that ends, there is none.
    const ends = [NOW + 7.5 * MINUTE_MS - 1_000, NOW + 7.5 * MINUTE_MS];
    const slow = withHandler(eventMutations.upsertEvents, (handler) => {
      return (async (...args: never[]) => {
        setTime(ends.shift() ?? NaN);
        return (await handler(...args)) as unknown;
      }) as never;
    });
    const { t, orgId } = await start({
      "events/mutations": { ...eventMutations, upsertEvents: slow },
    });
    luma.setCalendar(KEY, wireEvents(250));
    const { message, kind } = await failureOf(syncOrg(t, luma, orgId));
    expect(kind).toBe("passing");
    expect(message).toContain('"Acme" was not synced: 7 minutes 30 after it began');
    expect((await storedEvents(t)).size).toBe(200);
    expect(await getOrg(t, orgId)).not.toHaveProperty("eventsLastSynced");
  });
});
