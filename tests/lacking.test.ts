/** Events that lu.ma's list lacks: the list is a rumour, and what lu.ma says of an event itself is its word. */
import { describe, expect, vi } from "vitest";
import type { Doc, Id } from "../convex/_generated/dataModel";
import {
  aStoredEvent,
  aWireEvent,
  beginSync,
  DAY_MS,
  getOrg,
  HOUR_MS,
  insertOrg,
  storedEvents,
  wireEvents,
} from "./support/builders";
import { passTime, setTime } from "./support/clock";
import { startEngine, type Engine } from "./support/engine";
import { failureOf, NOW, routeLumaHosts, syncOrg, test } from "./support/fixtures";
import {
  failure,
  OLDER_PATH,
  reset,
  silence,
  status,
  type Answer,
  type LumaServer,
  type WireEvent,
} from "./support/lumaServer";

const KEY = "secret-4711";
const MINUTE_MS = 60_000;

type Start = { t: Engine; orgId: Id<"organizations"> };

function at(ms: number): string {
  return new Date(ms).toISOString();
}

/** An engine with a connected organization, and events that are stored. */
async function start(stored: Partial<Doc<"events">>[] = [], org = {}): Promise<Start> {
  const t = startEngine();
  // The engine gives no two transactions the same time, and the sync is to begin at NOW.
  setTime(NOW - 1_000);
  const orgId = await insertOrg(t, { lumaApiKey: KEY, ...org });
  await t.run(async (ctx) => {
    for (const event of stored) await ctx.db.insert("events", aStoredEvent(orgId, event));
  });
  setTime(NOW);
  return { t, orgId };
}

/** The same, and a calendar that was synced when lu.ma's list was right. */
async function synced(luma: LumaServer, events: WireEvent[]): Promise<Start> {
  const started = await start();
  luma.setCalendar(KEY, events);
  await syncOrg(started.t, luma, started.orgId);
  luma.requests.length = 0;
  return started;
}

/** The ids that lu.ma was asked for since last time. */
function askedFor(luma: LumaServer): (string | null)[] {
  const ids = luma.requestsOf("event").map(({ query }) => query.get("event_id"));
  luma.requests.length = 0;
  return ids;
}

async function statuses(t: Engine): Promise<string[]> {
  return [...(await storedEvents(t)).values()].map(({ status }) => status);
}

/** Events that are over, so that nobody asks for their descriptions. */
function over(count: number, overrides: (index: number) => Partial<WireEvent> = () => ({})) {
  return wireEvents(count, (i) => ({
    start_at: at(NOW - 10 * DAY_MS + i * HOUR_MS),
    ...overrides(i),
  }));
}

describe("a list that lies removes nothing:", () => {
  test.for<[string, (luma: LumaServer, events: WireEvent[]) => Answer]>([
    ["one that is empty", () => status(200, { entries: [], has_more: false })],
    [
      "one that ends a page early",
      (_, events) => status(200, { entries: events.slice(0, 100), has_more: false }),
    ],
    [
      "one of which an entry slips to a page that was read already",
      (luma) => (response, request) => {
        luma.answer(response, request);
        luma.dropEvent("evt-0");
      },
    ],
  ])("%s", async ([, lie], { luma }) => {
    const events = wireEvents(150);
    const { t, orgId } = await synced(luma, events);
    luma.answerNext(lie(luma, events), { kind: "list" });
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ removed: 0 });
    expect(new Set(await statuses(t))).toEqual(new Set(["listed"]));
    expect((await getOrg(t, orgId)).eventsLastSynced).toBeGreaterThan(NOW);
  });
});

describe("an event that no list has any more", () => {
  const privately = { visibility: "private" };
  const hide: Record<string, (luma: LumaServer, event: WireEvent) => void> = {
    removed: (luma) => luma.dropEvent("evt-1"),
    unlisted: (luma, event) => luma.setCalendar(KEY, [{ ...event, ...privately }]),
  };
  test.for<[string, number, number, string]>([
    ["goes on for 60 days", -40, 20, "removed"],
    ["goes on for 60 days", -40, 20, "unlisted"],
    ["was moved beyond 90 days", 120, 121, "removed"],
    ["was moved beyond 90 days", 120, 121, "unlisted"],
  ])("and that %s from %i is shown until it is $3", async ([, from, to, expected], { luma }) => {
    const [startAt, endAt] = [NOW + from * DAY_MS, NOW + to * DAY_MS];
    const event = aWireEvent({ start_at: at(startAt), end_at: at(endAt) });
    const { t, orgId } = await start([{ startAt, endAt }]);
    luma.setCalendar(KEY, [event]);
    await syncOrg(t, luma, orgId);
    expect(await statuses(t)).toEqual(["listed"]);
    hide[expected]?.(luma, event);
    await syncOrg(t, luma, orgId);
    expect(await statuses(t)).toEqual([expected]);
  });
});

describe("an event that the list lacks", () => {
  test("is asked for when it may be seen, by those who are its visitors or will be", async ({
    luma,
  }) => {
    const [after, before] = [NOW - 30 * DAY_MS, NOW + 90 * DAY_MS];
    type Status = Doc<"events">["status"];
    const event = (lumaEventId: string, status: Status, startAt: number, endAt?: number) => ({
      lumaEventId,
      status,
      startAt,
      endAt,
    });
    const long = [NOW - 40 * DAY_MS, NOW + DAY_MS] as const;
    const { t, orgId } = await start([
      event("over, in the window", "listed", after),
      event("at the end of the window", "listed", before),
      event("to come", "listed", NOW + 1),
      event("on", "listed", ...long),
      event("on, hidden", "unlisted", ...long),
      event("far ahead", "listed", before + 1),
      event("far ahead, hidden", "unlisted", before + 1),
      // What nobody sees, and a list will say when somebody may.
      event("hidden at the window's start", "unlisted", after, NOW + DAY_MS),
      event("hidden at its end", "unlisted", before),
      // What is over and no list has any more, and what was removed.
      event("over before", "listed", after - 2, after - 1),
      event("over since", "listed", ...([NOW - 40 * DAY_MS, NOW] as const)),
      event("removed, on", "removed", ...long),
      event("removed, to come", "removed", NOW + DAY_MS),
    ]);
    setTime(NOW - 500);
    const theirs = aStoredEvent(await insertOrg(t, { name: "Other" }), { startAt: NOW + 5 });
    await t.run((ctx) => ctx.db.insert("events", theirs));
    setTime(NOW);
    luma.setCalendar(KEY, []);
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ removed: 7 });
    // First what is not over, the soonest first.
    expect(askedFor(luma)).toEqual([
      "on",
      "on, hidden",
      "to come",
      "at the end of the window",
      "far ahead",
      "far ahead, hidden",
      "over, in the window",
    ]);
    const unlisted = (await statuses(t)).filter((status) => status === "unlisted");
    expect(unlisted).toHaveLength(2);
  });

  test("waits for the next sync, the 100 soonest being asked for 300 ms apart", async ({
    luma,
  }) => {
    vi.spyOn(console, "log");
    const { t, orgId } = await synced(luma, wireEvents(130));
    await t.run((ctx) => ctx.db.insert("events", aStoredEvent(orgId, { startAt: NOW - DAY_MS })));
    luma.setCalendar(KEY, []);
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ removed: 100 });
    const times = luma.requestsOf("event").map((request) => request.at);
    expect(new Set(times.slice(1).map((time, i) => time - (times[i] ?? NaN)))).toEqual(
      new Set([300]),
    );
    expect(askedFor(luma)).toEqual(wireEvents(100).map(({ id }) => id));
    expect(vi.mocked(console.log).mock.calls.join()).toContain("Not in the list: 100");
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ removed: 31 });
    expect(askedFor(luma).at(-1)).toBe("evt-1");
    expect((await getOrg(t, orgId)).eventsLastSynced).toBeGreaterThan(NOW);
  });

  test.for<[string, number, number]>([
    // The 47th has 6 s left.
    ["answers slowly", 47, 46],
    ["took all of the 7 minutes for its list", 0, 0],
  ])("waits for the next sync, too, when lu.ma %s", async ([, asked, removed], { luma }) => {
    const stored = wireEvents(60).map(({ id }) => ({ lumaEventId: id, startAt: NOW + DAY_MS }));
    const { t, orgId } = await start(stored);
    luma.setCalendar(KEY, []);
    if (asked > 0) luma.answerMs = ({ kind }) => (kind === "event" ? 9_000 : 0);
    else {
      luma.answerNext((response, request) => {
        setTime(NOW + 7 * MINUTE_MS);
        luma.answer(response, request);
      });
    }
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ removed });
    expect(askedFor(luma)).toHaveLength(asked);
    expect(await getOrg(t, orgId)).toMatchObject({ eventsLastSynced: NOW });
    luma.answerMs = 0;
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ removed: 60 - removed });
  });

  const given = (fields: object = {}) => status(200, { ...over(1)[0], ...fields });
  const renamed = { name: "Renamed", description: "new" };
  const secret = { visibility: "private", description: "secret" };
  /** What is stored then of the event, and by which answers. */
  const answers: [Partial<Doc<"events">>, Record<string, Answer>][] = [
    [
      { status: "removed" },
      {
        "400 in JSON": failure(400, "No."),
        "403 in JSON": failure(403, "No."),
        "404 in JSON": failure(404, "No."),
        "410 in JSON": failure(410, "No."),
      },
    ],
    [
      {},
      {
        "another event": given({ id: "evt-2" }),
        "what cannot be read": given({ ...secret, name: "" }),
        "no event": status(200, { message: "internal" }),
        "a redirect": status(302, "", { location: "/" }),
        "422 in JSON": failure(422, "No."),
        "the event without a description": given({
          description: undefined,
          description_md: undefined,
        }),
      },
    ],
    [
      { title: "Renamed", description: "new" },
      {
        "the event, bare": given(renamed),
        "the event in `event`": status(200, { event: { ...over(1)[0], ...renamed }, hosts: [] }),
      },
    ],
    [
      { status: "unlisted" },
      { "a private event": given(secret), "a strange one": given({ ...secret, access: "none" }) },
    ],
    [
      { status: "unlisted", description: "new" },
      { "an event without visibility": given({ visibility: null, description: "new" }) },
    ],
  ];
  test.for(answers.flatMap(([stored, by]) => Object.entries(by).map((one) => [...one, stored])))(
    "and that lu.ma answers with %s is stored as that says, and asking goes on",
    async (row, { luma }) => {
      const [, answer, expected] = row as [string, Answer, Partial<Doc<"events">>];
      const { t, orgId } = await synced(luma, [...over(2), aWireEvent({ id: "other" })]);
      await t.run(async (ctx) => {
        for (const { _id } of await ctx.db.query("events").collect()) {
          await ctx.db.patch("events", _id, { description: "old" });
        }
      });
      const before = (await storedEvents(t)).get("evt-0");
      luma.setCalendar(KEY, [aWireEvent({ id: "other" })]);
      luma.answerNext(answer, { kind: "event" });
      const { updated, removed } = await syncOrg(t, luma, orgId);
      const after = await storedEvents(t);
      const syncedAt = after.get("evt-0")?.syncedAt;
      expect(after.get("evt-0")).toEqual({ ...before, ...expected, syncedAt });
      const isRemoved = expected.status === "removed";
      expect(updated).toBe(Object.keys(expected).length > 0 && !isRemoved ? 1 : 0);
      expect(removed).toBe(isRemoved ? 2 : 1);
      expect(after.get("evt-1")?.status).toBe("removed");
      expect((await getOrg(t, orgId)).eventsLastSynced).toBeGreaterThan(NOW);
      // Each once; the description of what is listed comes after them.
      expect(askedFor(luma)).toEqual(["evt-0", "evt-1", "other"]);
    },
  );

  test("and that is found has its description, and is not asked for again", async ({ luma }) => {
    vi.spyOn(console, "log");
    const { t, orgId } = await synced(luma, wireEvents(2));
    const startAt = NOW + 99 * DAY_MS;
    const moved = aWireEvent({ id: "evt-0", start_at: at(startAt), description: "moved" });
    luma.setCalendar(KEY, [moved, aWireEvent({ id: "evt-1" })]);
    await syncOrg(t, luma, orgId);
    expect(askedFor(luma)).toEqual(["evt-0", "evt-1"]);
    const stored = { startAt, description: "moved", status: "listed" };
    expect((await storedEvents(t)).get("evt-0")).toMatchObject(stored);
    expect(vi.mocked(console.log).mock.calls.at(-1)?.[0]).toContain("Not in the list: 1.");
  });

  test("is asked for at the older address on a morning on which that gave the list", async ({
    luma,
  }) => {
    const { t, orgId } = await synced(luma, over(2));
    vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
    luma.setCalendar(KEY, over(1), []);
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ removed: 1 });
    const ids = luma.requestsOf("event").map(({ query }) => query.get("api_id"));
    expect(ids).toEqual(["evt-0", "evt-1"]);
    expect(await statuses(t)).toEqual(["listed", "removed"]);
  });

  const again = (code: number, name: string): [string, Answer, number, RegExp] => [
    name,
    status(code, "", { "retry-after": "1" }),
    4,
    new RegExp(`answered ${code} for one event \\(4 attempts\\)`),
  ];
  test.for<[string, Answer, number, RegExp]>([
    again(503, "503"),
    again(408, "408"),
    again(425, "425"),
    again(429, "429"),
    ["a lost connection", reset, 4, /no connection to 127\.0\.0\.1.*one event \(4 attempts\)/],
    ["no answer", silence, 4, /no answer within 30 s for one event \(4 attempts\)/],
    ["a page in HTML", status(200, "<h1>Hi</h1>"), 4, /not JSON for one event \(4 attempts\)/],
    ["404 in HTML", status(404, "<h1>No</h1>"), 1, /answered 404 for one event \(1 attempt\)/],
    ["403 in HTML", status(403, "<h1>No</h1>"), 1, /answered 403 for one event \(1 attempt\)/],
    ["401", failure(401, "No."), 1, /answered 401 for one event \(1 attempt\)/],
  ])(
    "and that lu.ma answers with %s ends the asking; the rest is written, and the sync is soon tried again",
    async ([, answer, attempts, why], { luma }) => {
      const { t, orgId } = await synced(luma, [...over(5), aWireEvent({ id: "other" })]);
      setTime(NOW + HOUR_MS);
      luma.setCalendar(KEY, [aWireEvent({ id: "other", name: "Renamed" })]);
      luma.answerNext(luma.answer, { kind: "event" });
      luma.answerNext(status(200, { ...over(2)[1], name: "Found" }), { kind: "event" });
      for (let i = 0; i < attempts; i += 1) luma.answerNext(answer, { kind: "event" });
      const { message, kind } = await failureOf(syncOrg(t, luma, orgId));
      expect(kind).toBe("passing");
      expect(message).toContain(
        "was not synced: 3 events that lu.ma no longer lists could not be checked: ",
      );
      expect(message).toMatch(why);
      expect(message).toMatch(/ It is synced again by itself\.$/);
      expect(await getOrg(t, orgId)).toMatchObject({
        eventsLastSynced: NOW,
        eventsSyncError: message,
      });
      expect(await statuses(t)).toEqual([
        "removed",
        "listed",
        "listed",
        "listed",
        "listed",
        "listed",
      ]);
      const titles = [...(await storedEvents(t)).values()].map(({ title }) => title);
      expect([titles[1], titles[5]]).toEqual(["Found", "Renamed"]);
      expect(askedFor(luma)).toEqual([
        "evt-0",
        "evt-1",
        ...Array.from({ length: attempts }, () => "evt-2"),
      ]);

      await passTime(31 * MINUTE_MS, luma.activity);
      expect(await statuses(t)).toEqual([...Array.from({ length: 5 }, () => "removed"), "listed"]);
      const org = await getOrg(t, orgId);
      expect(org.eventsLastSynced).toBeGreaterThan(NOW + HOUR_MS + 30 * MINUTE_MS);
      expect(org).not.toHaveProperty("eventsSyncError");
    },
  );

  test("and that alone could not be checked is one event", async ({ luma }) => {
    const { t, orgId } = await synced(luma, over(1));
    luma.setCalendar(KEY, []);
    luma.answerNext(status(404), { kind: "event" });
    const { message } = await failureOf(syncOrg(t, luma, orgId));
    expect(message).toContain(": 1 event that lu.ma no longer lists could not be checked: ");
  });

  test("stays as it is when a later sync begins while it is asked for", async ({ luma }) => {
    const { t, orgId } = await synced(luma, over(2));
    luma.setCalendar(KEY, []);
    const answer: Answer = (response, request) => {
      void luma.waitFor(beginSync(t, orgId)).then(() => luma.answer(response, request));
    };
    luma.answerNext(answer, { kind: "event" });
    expect((await failureOf(syncOrg(t, luma, orgId))).kind).toBe("overtaken");
    expect(await statuses(t)).toEqual(["listed", "listed"]);
  });
});

describe("an entry that cannot be read", () => {
  const unreadable = (fields: object = {}) => ({ ...over(1)[0], name: "", ...fields }) as WireEvent;
  const noId = unreadable({ id: "" });

  test.for<[string, WireEvent[], "listed" | "unlisted"]>([
    ["leaves its event as it is, without asking for it", [unreadable()], "listed"],
    ["without an id holds up no removal", [noId, ...over(1)], "listed"],
    ["that is private hides its event", [unreadable({ visibility: "private" })], "unlisted"],
    ["of an odd visibility does so, too", [unreadable({ visibility: "odd" })], "unlisted"],
    ["without a visibility, too", [unreadable({ visibility: null })], "unlisted"],
    ["of another's, too", [unreadable({ access: "view" })], "unlisted"],
    ["that is not approved, too", [unreadable({ status: "pending" })], "unlisted"],
  ])("%s", async ([, entries, expected], { luma }) => {
    const { t, orgId } = await synced(luma, [...over(2), aWireEvent({ id: "other" })]);
    luma.setCalendar(KEY, [aWireEvent({ id: "other" }), ...entries]);
    for (let i = 0; i < 2; i += 1) {
      const updated = i === 0 && expected === "unlisted" ? 1 : 0;
      expect(await syncOrg(t, luma, orgId)).toMatchObject({ updated });
      expect(await statuses(t)).toEqual([expected, "removed", "listed"]);
      expect(askedFor(luma)).toEqual(i === 0 ? ["evt-1", "other"] : ["other"]);
    }
  });

  test("among none that can be read fails the sync for good, when what must be hidden is", async ({
    luma,
  }) => {
    const { t, orgId } = await synced(luma, over(120));
    setTime(NOW + HOUR_MS);
    const hosts = routeLumaHosts(luma);
    // Over both pages: the first one hidden, the second one public, the third to last ones lacking.
    const entries = over(117, (i) => ({
      id: i > 1 ? "" : `evt-${i}`,
      name: i === 0 ? "\u001b[2J" : "",
      start_at: `\u0007some\u001b[2J day`,
      ...(i === 0 && { visibility: "private" }),
    }));
    luma.setCalendar(KEY, [{ ...entries[0], id: "evt-\u001b]0;x\u0007" } as WireEvent, ...entries]);
    const { message, kind } = await failureOf(syncOrg(t, luma, orgId));
    expect(kind).toBe("lasting");
    expect(message).toBe(
      'Organization "Acme" was not synced: of 118 entries of lu.ma\'s list, not one could be read: evt- ]0;x ' +
        "(start_at: no possible time). lu.ma may have changed its API: look for a newer version of this module.",
    );
    expect(hosts).toEqual(["public-api.luma.com", "public-api.luma.com"]);
    expect(luma.requests.map(({ kind }) => kind)).toEqual(["list", "list"]);
    const [first, ...others] = await statuses(t);
    expect([first, new Set(others)]).toEqual(["unlisted", new Set(["listed"])]);
    expect(await getOrg(t, orgId)).toMatchObject({
      eventsLastSynced: NOW,
      eventsSyncError: message,
    });
  });
});

describe("the list is asked for", () => {
  test.for<[string, number | undefined, number]>([
    ["was never synced", undefined, 30],
    ["was synced yesterday", 1, 31],
    ["was synced 100 days ago", 100, 130],
    ["was synced two years ago", 730, 365],
    ["has a stamp from the future", -10, 30],
  ])("from so many days back when the organization %s", async ([, days, back], { luma }) => {
    const eventsLastSynced = days === undefined ? undefined : NOW - days * DAY_MS;
    const { t, orgId } = await start([], { eventsLastSynced });
    luma.setCalendar(KEY, []);
    await syncOrg(t, luma, orgId);
    const query = luma.requests[0]?.query;
    expect([query?.get("after"), query?.get("before")]).toEqual([
      at(NOW - back * DAY_MS),
      at(NOW + 90 * DAY_MS),
    ]);
    expect((await getOrg(t, orgId)).eventsLastSynced).toBe(NOW);
  });

  test("so that what was hidden in a pause, or on the last day of the window, is noticed, and nothing older", async ({
    luma,
  }) => {
    const events = over(2, (i) => ({ start_at: at(NOW - (29 + i / 2) * DAY_MS) }));
    const { t, orgId } = await synced(luma, events);
    setTime(NOW + 40 * DAY_MS);
    luma.setCalendar(KEY, [{ ...events[0], visibility: "private" } as WireEvent]);
    await syncOrg(t, luma, orgId);
    expect(await statuses(t)).toEqual(["removed", "unlisted"]);

    luma.setCalendar(KEY, events);
    setTime(NOW);
    await t.run((ctx) => ctx.db.patch("organizations", orgId, { eventsLastSynced: NOW }));
    await syncOrg(t, luma, orgId);
    setTime(NOW + 2 * DAY_MS);
    await t.run((ctx) =>
      ctx.db.patch("organizations", orgId, { eventsLastSynced: NOW + 2 * DAY_MS }),
    );
    luma.setCalendar(KEY, []);
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ removed: 0 });
    expect(await statuses(t)).toEqual(["listed", "listed"]);
  });
});
