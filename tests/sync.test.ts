import { describe, expect, vi } from "vitest";
import { api, internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import * as eventMutations from "../convex/events/mutations";
import {
  aWireEvent,
  DAY_MS,
  getOrg,
  HOUR_MS,
  insertOrg,
  storedEvents,
  wireEvents,
} from "./support/builders";
import { settle } from "./support/clock";
import { startEngine, withHandler, type Engine } from "./support/engine";
import { NOW, reasonOf, syncOrg, test } from "./support/fixtures";
import { OLDER_PATH, status, type LumaServer } from "./support/lumaServer";

const KEY = "secret-4711";

async function connectedOrg(t: Engine, name = "Acme", lumaApiKey = KEY) {
  return await insertOrg(t, { name, lumaApiKey });
}

function at(ms: number): string {
  return new Date(ms).toISOString();
}

/** Whatever happens to an organization while lu.ma is taking its time. */
function whileFetching(luma: LumaServer, happen: () => Promise<unknown>): void {
  luma.answerNext((response, request) => {
    void luma.waitFor(happen()).then(() => luma.answer(response, request));
  });
}

function logged(): string[] {
  return vi.mocked(console.log).mock.calls.map(([line]) => String(line));
}

/** A function that throws (a plain error, which may quote anything) when it is told to. */
function failing(registered: object, isFailing: () => boolean): object {
  return withHandler(registered, (handler) => (...args) => {
    if (isFailing()) throw new Error(`Uncaught Error: conflict near ${KEY}\n    at stack`);
    return handler(...args);
  });
}

describe("a sync", () => {
  test("mirrors a calendar, and again finds nothing to do", async ({ luma }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, wireEvents(250));
    expect(await syncOrg(t, luma, orgId)).toEqual({
      fetched: 250,
      inserted: 250,
      updated: 0,
      unchanged: 0,
      removed: 0,
      invalid: 0,
    });
    const before = await storedEvents(t);
    expect(before.size).toBe(250);
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ inserted: 0, unchanged: 250 });
    expect(await storedEvents(t)).toEqual(before);
  });

  test("finds nothing to do when lu.ma changes its wire format", async ({ luma }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, wireEvents(5));
    await syncOrg(t, luma, orgId);
    vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ fetched: 5, unchanged: 5 });
  });

  test("asks for 30 days back to 90 ahead", async ({ luma }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, []);
    await syncOrg(t, luma, orgId);
    const [request] = luma.requests;
    expect(request?.query.get("after")).toBe(at(NOW - 30 * DAY_MS));
    expect(request?.query.get("before")).toBe(at(NOW + 90 * DAY_MS));
  });

  test("stamps when it began, and clears the error of the one before", async ({ luma }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    await t.run((ctx) => ctx.db.patch("organizations", orgId, { eventsSyncError: "rejected" }));
    luma.setCalendar(KEY, wireEvents(150));
    await syncOrg(t, luma, orgId);
    expect(Date.now()).toBeGreaterThan(NOW);
    const org = await getOrg(t, orgId);
    expect(org.eventsLastSynced).toBe(NOW);
    expect(org).not.toHaveProperty("eventsSyncError");
  });

  test("writes what was renamed, and hides what was made private", async ({ luma }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
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

  test("removes what lu.ma no longer lists in the window, and what comes back is the same document", async ({
    luma,
  }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, wireEvents(3));
    await syncOrg(t, luma, orgId);
    const before = await storedEvents(t);
    luma.setCalendar(KEY, wireEvents(2));
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ fetched: 2, unchanged: 2, removed: 1 });
    expect((await storedEvents(t)).get("evt-2")).toMatchObject({ status: "removed" });
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ unchanged: 2, removed: 0 });
    luma.setCalendar(KEY, wireEvents(3));
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ updated: 1, unchanged: 2 });
    expect((await storedEvents(t)).get("evt-2")).toMatchObject({
      _id: before.get("evt-2")?._id,
      status: "listed",
    });
  });

  test("an empty calendar removes what was there", async ({ luma }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, wireEvents(250));
    await syncOrg(t, luma, orgId);
    luma.setCalendar(KEY, []);
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ fetched: 0, removed: 250 });
  });

  test("leaves events outside the window and other organizations' events alone", async ({
    luma,
  }) => {
    const t = startEngine();
    const [orgId, otherId] = [await connectedOrg(t), await connectedOrg(t, "Other", "key-2")];
    luma.setCalendar(KEY, [
      aWireEvent({ id: "evt-old", start_at: at(NOW - 29 * DAY_MS), end_at: undefined }),
      aWireEvent({ id: "evt-new" }),
    ]);
    luma.setCalendar("key-2", [aWireEvent({ id: "evt-theirs" })]);
    await syncOrg(t, luma, orgId);
    await syncOrg(t, luma, otherId);
    vi.setSystemTime(NOW + 2 * DAY_MS);
    luma.setCalendar(KEY, [aWireEvent({ id: "evt-new" })]);
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ fetched: 1, removed: 0 });
    const statuses = [...(await storedEvents(t)).values()].map((event) => event.status);
    expect(statuses).toEqual(["listed", "listed", "listed"]);
  });

  test("moves an event to the organization whose calendar manages it now", async ({ luma }) => {
    const t = startEngine();
    const [orgId, otherId] = [await connectedOrg(t), await connectedOrg(t, "Other", "key-2")];
    const event = aWireEvent();
    luma.setCalendar(KEY, [event]);
    luma.setCalendar("key-2", []);
    await syncOrg(t, luma, orgId);
    luma.setCalendar(KEY, []);
    luma.setCalendar("key-2", [event]);
    expect(await syncOrg(t, luma, otherId)).toMatchObject({ updated: 1 });
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ removed: 0 });
    const stored = await storedEvents(t);
    expect(stored.get("evt-1")).toMatchObject({ orgId: otherId, status: "listed" });
    expect(stored.size).toBe(1);
  });

  test("takes the same id twice for one event, as it was listed last", async ({ luma }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, [
      aWireEvent({ name: "Earlier" }),
      aWireEvent({ id: "evt-2" }),
      aWireEvent({ name: "Later" }),
    ]);
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ fetched: 2, inserted: 2 });
    expect((await storedEvents(t)).get("evt-1")?.title).toBe("Later");
  });
});

describe("an entry that cannot be read", () => {
  test("is counted, neither written nor removed, and the others go on", async ({ luma }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
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
    });
    const stored = await storedEvents(t);
    expect(stored.get("evt-1")).toMatchObject({ status: "listed", title: "Event evt-1" });
    expect(stored.get("evt-2")).toMatchObject({ status: "removed" });
    expect((await getOrg(t, orgId)).eventsLastSynced).toBeGreaterThan(NOW - 1);
  });

  test("is known by its id as lu.ma wrote it, however odd", async ({ luma }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    const ids = ["evt-two  spaces", `evt-${KEY}`];
    luma.setCalendar(
      KEY,
      ids.map((id) => aWireEvent({ id })),
    );
    await syncOrg(t, luma, orgId);
    luma.setCalendar(
      KEY,
      ids.map((id) => aWireEvent({ id, name: "" })),
    );
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ fetched: 0, removed: 0, invalid: 2 });
  });

  test("and whose id cannot be read either keeps everything from being removed", async ({
    luma,
  }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, wireEvents(3));
    await syncOrg(t, luma, orgId);
    luma.setCalendar(KEY, [{ ...aWireEvent(), id: "" }]);
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ fetched: 0, removed: 0, invalid: 1 });
  });

  test("is named in the log, the first 20 with reasons, on one line", async ({ luma }) => {
    const t = startEngine();
    vi.spyOn(console, "log");
    const orgId = await connectedOrg(t);
    luma.setCalendar(
      KEY,
      wireEvents(25, (i) => ({ name: "", start_at: at(NOW + (i + 1) * HOUR_MS) })),
    );
    await syncOrg(t, luma, orgId);
    expect(logged()).toHaveLength(1);
    const [line] = logged();
    expect(line).toContain("fetched 0, inserted 0, updated 0, unchanged 0, removed 0, invalid 25");
    expect(line).toContain("evt-19 (name: ");
    expect(line).not.toContain("evt-20 ");
    expect(line).toContain("and 5 more");
    expect(line).not.toContain("\n");
    expect(new TextEncoder().encode(line).length).toBeLessThan(4_096);
  });
});

describe("a sync that fails", () => {
  test("changes nothing but eventsSyncError, which says what the administrator is told", async ({
    luma,
  }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, wireEvents(250));
    await syncOrg(t, luma, orgId);
    const [org, events] = [await getOrg(t, orgId), await storedEvents(t)];

    luma.setCalendar(
      KEY,
      wireEvents(250, () => ({ name: "Renamed" })),
    );
    luma.answerNext(luma.answer);
    luma.answerNext(luma.answer);
    luma.answerNext(status(400, { message: `no such cursor for ${KEY}` }));
    const reason = await reasonOf(syncOrg(t, luma, orgId));
    expect(reason).toContain('Organization "Acme" was not synced: lu.ma answered 400');
    expect(reason).toContain("page 3 (1 attempt)");
    expect(reason).not.toContain(KEY);
    expect(await getOrg(t, orgId)).toEqual({ ...org, eventsSyncError: reason });
    expect(await storedEvents(t)).toEqual(events);
  });

  test("succeeds the next time, as if it had not failed", async ({ luma }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    luma.answerNext(status(403));
    await reasonOf(syncOrg(t, luma, orgId));
    luma.setCalendar(KEY, wireEvents(3));
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ inserted: 3 });
    expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
  });

  test("because there is no such organization says which", async ({ luma }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    await t.run((ctx) => ctx.db.delete("organizations", orgId));
    expect(await reasonOf(syncOrg(t, luma, orgId))).toContain(
      `no organization with the id ${orgId}`,
    );
  });

  test("because there is no key says what to do", async ({ luma }) => {
    const t = startEngine();
    for (const lumaApiKey of [undefined, " "]) {
      const orgId = await insertOrg(t, { name: "Acme", lumaApiKey });
      const reason = await reasonOf(syncOrg(t, luma, orgId));
      expect(reason).toContain('"Acme" has no lu.ma API key');
      expect(reason).toContain("setLumaConfig");
      expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
    }
    expect(luma.requests).toEqual([]);
  });

  test("because Convex did not let it write says so, and the next one completes it", async ({
    luma,
  }) => {
    let failures = 1;
    const t = startEngine({
      "events/mutations": {
        ...eventMutations,
        upsertEvents: failing(eventMutations.upsertEvents, () => failures-- > 0),
      },
    });
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, wireEvents(3));
    const reason = await reasonOf(syncOrg(t, luma, orgId));
    expect(reason).toContain('Organization "Acme" was not synced: Convex did not let it finish');
    expect(reason).toContain("The next sync completes it.");
    expect(reason).not.toContain(KEY);
    const org = await getOrg(t, orgId);
    expect(org.eventsSyncError).toBe(reason);
    expect(org).not.toHaveProperty("eventsLastSynced");
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ inserted: 3 });
  });

  test("tells its reason also when that cannot be written down", async ({ luma }) => {
    const t = startEngine({
      "events/mutations": {
        ...eventMutations,
        recordSyncError: failing(eventMutations.recordSyncError, () => true),
      },
    });
    const orgId = await connectedOrg(t);
    expect(await reasonOf(syncOrg(t, luma, orgId))).toContain("rejected the API key");
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
    ["that is not set", "env:LUMA_API_KEY_ACME", "LUMA_API_KEY_ACME is not set"],
    ["of another name", "env:AWS_SECRET", "does not start with LUMA_API_KEY"],
  ])("%s is a clear error, and nothing is sent", async ([, lumaApiKey, expected], { luma }) => {
    vi.stubEnv("AWS_SECRET", "other-secret");
    const t = startEngine();
    const orgId = await connectedOrg(t, "Acme", lumaApiKey);
    const reason = await reasonOf(syncOrg(t, luma, orgId));
    expect(reason).toContain('Organization "Acme"');
    expect(reason).toContain(expected);
    expect((await getOrg(t, orgId)).eventsSyncError).toBe(reason);
    expect(luma.requests).toEqual([]);
  });

  test("with a character that no header may hold is a clear error without the key", async ({
    luma,
  }) => {
    const t = startEngine();
    vi.stubEnv("LUMA_API_KEY_ACME", `${KEY}\nsecond-line`);
    const orgId = await connectedOrg(t, "Acme", "env:LUMA_API_KEY_ACME");
    const reason = await reasonOf(syncOrg(t, luma, orgId));
    expect(reason).toContain("LUMA_API_KEY_ACME contains spaces or other characters");
    expect(reason).not.toContain(KEY);
    expect(luma.requests).toEqual([]);
  });
});

describe("an organization that goes away while it is synced", () => {
  async function goingAway(
    luma: LumaServer,
    leave: (t: Engine, orgId: Id<"organizations">) => Promise<void>,
  ) {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, wireEvents(3));
    whileFetching(luma, () => leave(t, orgId));
    const reason = await reasonOf(syncOrg(t, luma, orgId));
    expect((await storedEvents(t)).size).toBe(0);
    return reason;
  }

  test("because it is deleted leaves no events", async ({ luma }) => {
    const reason = await goingAway(luma, async (t, orgId) => {
      await t.run((ctx) => ctx.db.delete("organizations", orgId));
    });
    expect(reason).toContain("no organization with the id");
  });

  test("because it is disconnected leaves no events and no error", async ({ luma }) => {
    const reason = await goingAway(luma, async (t, orgId) => {
      await t.mutation(internal.orgs.mutations.setLumaConfig, { orgId, lumaApiKey: null });
    });
    expect(reason).toContain('"Acme" was disconnected');
  });
});

describe("two syncs of one organization at once", () => {
  test("leave what one would: no event twice, none lost", async ({ luma }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, wireEvents(250));
    const sync = () => t.action(internal.events.sync.syncOrgEvents, { orgId });
    const both = await settle(Promise.all([sync(), sync()]), luma.activity);
    expect(both.map((counts) => counts.fetched)).toEqual([250, 250]);
    expect(both[0].inserted + both[1].inserted).toBe(250);
    const events = await t.run((ctx) => ctx.db.query("events").collect());
    expect(events).toHaveLength(250);
    expect(new Set(events.map((event) => event.lumaEventId)).size).toBe(250);
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ unchanged: 250 });
  });

  test("the older one writes nothing once the newer one has finished", async ({ luma }) => {
    const t = startEngine();
    vi.spyOn(console, "log");
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, wireEvents(3));
    await syncOrg(t, luma, orgId);

    // The older one's answer is already on its way when an event is hidden, one cancelled and one announced.
    const listing = { entries: wireEvents(3), has_more: false };
    luma.answerNext((response, request) => {
      luma.setCalendar(KEY, [
        aWireEvent({ id: "evt-0", visibility: "private" }),
        aWireEvent({ id: "evt-1" }),
        aWireEvent({ id: "evt-9" }),
      ]);
      vi.setSystemTime(Date.now() + 1_000);
      const newer = t.action(internal.events.sync.syncOrgEvents, { orgId });
      void luma.waitFor(newer).then(() => status(200, listing)(response, request));
    });
    const older = await syncOrg(t, luma, orgId);
    expect(older).toMatchObject({ fetched: 3, inserted: 0, updated: 0, removed: 0 });
    expect(logged().at(-1)).toContain("Overtaken");
    const statuses = [...(await storedEvents(t))].map(([id, event]) => `${id} ${event.status}`);
    expect(statuses).toEqual(["evt-0 unlisted", "evt-1 listed", "evt-2 removed", "evt-9 listed"]);
    expect((await getOrg(t, orgId)).eventsLastSynced).toBe(NOW + 1_000);
  });

  test("the older one's failure does not count once the newer one has finished", async ({
    luma,
  }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, wireEvents(3));
    luma.answerNext((response, request) => {
      vi.setSystemTime(Date.now() + 1_000);
      const newer = t.action(internal.events.sync.syncOrgEvents, { orgId });
      void luma.waitFor(newer).then(() => status(403)(response, request));
    });
    expect(await reasonOf(syncOrg(t, luma, orgId))).toContain("rejected the API key");
    expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
  });

  test("the newer one writes what it found although the older one has finished meanwhile", async ({
    luma,
  }) => {
    const t = startEngine();
    const orgId = await connectedOrg(t);
    luma.setCalendar(KEY, wireEvents(2));
    let newer: Promise<unknown> = Promise.resolve();
    luma.answerNext((response, request) => {
      vi.setSystemTime(Date.now() + 1_000);
      luma.answerNext((lateResponse, lateRequest) => {
        const renamed = wireEvents(2, () => ({ name: "Renamed" }));
        status(200, { entries: wireEvents(2), has_more: false })(response, request);
        setTimeout(() => {
          status(200, { entries: renamed, has_more: false })(lateResponse, lateRequest);
        }, 5_000);
      });
      newer = t.action(internal.events.sync.syncOrgEvents, { orgId });
    });
    await syncOrg(t, luma, orgId);
    await settle(newer);
    expect((await storedEvents(t)).get("evt-0")?.title).toBe("Renamed");
    expect((await getOrg(t, orgId)).eventsLastSynced).toBe(NOW + 1_000);
  });
});
