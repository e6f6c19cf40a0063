import { expect, vi } from "vitest";
import type { Id } from "../convex/_generated/dataModel";
import {
  aWireEvent,
  beginSync,
  getOrg,
  HOUR_MS,
  insertOrg,
  storedDescriptions,
  storedEvents,
} from "./support/builders";
import { setTime } from "./support/clock";
import { startEngine, type Engine } from "./support/engine";
import { NOW, routeLumaHosts, syncOrg, test } from "./support/fixtures";
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

/** An event that starts so many hours from now. */
function inHours(hours: number, overrides: Partial<WireEvent> = {}): WireEvent {
  return aWireEvent({
    id: `evt-${hours}`,
    start_at: new Date(NOW + hours * HOUR_MS).toISOString(),
    end_at: undefined,
    ...overrides,
  });
}

function hoursFrom(first: number, count: number): WireEvent[] {
  return Array.from({ length: count }, (_, i) => inHours(first + i));
}

let luma: LumaServer;
let t: Engine;
let orgId: Id<"organizations">;
test.beforeEach(async ({ luma: given }) => {
  luma = given;
  vi.spyOn(console, "log").mockReturnValue();
  await start();
});

async function start(): Promise<void> {
  t = startEngine();
  orgId = await insertOrg(t, { lumaApiKey: KEY });
}

const sync = () => syncOrg(t, luma, orgId);

/** The ids that lu.ma was asked for since last time. */
function askedFor(): string[] {
  const asked = luma.requestsOf("event").map(({ query }) => query.get("event_id") ?? "");
  luma.requests.length = 0;
  return asked;
}

async function descriptionOf(id: string): Promise<string | undefined> {
  return (await storedDescriptions(t)).get(id);
}

/** The part of the last log line that is about single events. */
function lastNote(): string {
  const line = String(vi.mocked(console.log).mock.calls.at(-1)?.[0]);
  return line.slice(line.indexOf("Single events fetched"));
}

test("Descriptions are asked for one by one, 300 ms apart, after the list is written and stamped", async () => {
  luma.setCalendar(KEY, [inHours(1), inHours(2), inHours(3)]);
  const seen: unknown[] = [];
  luma.answerNext(
    (response, request) => {
      const looking = t.run(async (ctx) => {
        seen.push((await ctx.db.get("organizations", orgId))?.eventsLastSynced);
        seen.push((await ctx.db.query("events").collect()).length);
      });
      void luma.waitFor(looking).then(() => luma.answer(response, request));
    },
    { kind: "event" },
  );
  expect(await sync()).toMatchObject({ inserted: 3, described: 3 });
  expect(lastNote()).toBe("Single events fetched: 3.");
  expect(seen).toEqual([NOW, 3]);
  const times = luma.requestsOf("event").map(({ at }) => at);
  expect(times.slice(1).map((at, i) => at - (times[i] ?? 0))).toEqual([300, 300]);
  expect(await descriptionOf("evt-2")).toBe("What happens at evt-2");
});

test("Descriptions in the list itself are ignored", async () => {
  const event = inHours(1, { description: "from the list" });
  luma.answerNext(status(200, { entries: [event], has_more: false }));
  luma.setCalendar(KEY, [inHours(1, { description: "of the event" })]);
  await sync();
  expect(await descriptionOf("evt-1")).toBe("of the event");
});

test("Descriptions come from lu.ma's older address on a morning on which that gave the list", async () => {
  const hosts = routeLumaHosts(luma);
  luma.setCalendar(KEY, [inHours(1)]);
  luma.answerNext(failure(404, "Not found."));
  await sync();
  expect(hosts).toEqual(["public-api.luma.com", "public-api.lu.ma", "public-api.lu.ma"]);
  const paths = luma.requests.map(({ path }) => path);
  expect(paths.slice(1)).toEqual([OLDER_PATH, "/public/v1/event/get"]);
  expect(await descriptionOf("evt-1")).toBe("What happens at evt-1");
});

test("Descriptions are asked for of listed events that have not ended, and of no others", async () => {
  luma.setCalendar(KEY, [
    inHours(-3, { id: "over", end_at: new Date(NOW).toISOString() }),
    inHours(-2, { id: "over, without an end" }),
    inHours(-1, { id: "running", end_at: new Date(NOW + HOUR_MS).toISOString() }),
    inHours(1, { id: "private", visibility: "private" }),
    inHours(2, { id: "to come" }),
  ]);
  await sync();
  expect(askedFor()).toEqual(["running", "to come"]);
  // For what is stored no less than for what is new, but not for what is removed.
  await sync();
  expect(askedFor()).toEqual(["running", "to come"]);
  luma.dropEvent("running");
  await sync();
  askedFor();
  await sync();
  expect(askedFor()).toEqual(["to come"]);
});

test("Descriptions are asked for of what is public from today on, and no more of what is private from today on", async () => {
  luma.setCalendar(KEY, [
    inHours(1, { visibility: "private" }),
    inHours(2),
    inHours(-3, { id: "postponed" }),
  ]);
  await sync();
  askedFor();
  luma.setCalendar(KEY, [
    inHours(1),
    inHours(2, { visibility: "private" }),
    inHours(3, { id: "postponed" }),
  ]);
  expect(await sync()).toMatchObject({ updated: 3, described: 2 });
  expect(askedFor()).toEqual(["evt-1", "postponed"]);
});

test("Descriptions are asked for also of an event whose entry cannot be read today", async () => {
  luma.setCalendar(KEY, [inHours(1), inHours(2)]);
  await sync();
  askedFor();
  luma.setCalendar(
    KEY,
    [inHours(1, { description: "edited" }), inHours(2)],
    [inHours(1, { name: "" }), inHours(2)],
  );
  expect(await sync()).toMatchObject({ invalid: 1, described: 1 });
  expect(await descriptionOf("evt-1")).toBe("edited");
});

test("Descriptions are asked for at most 100 a sync: first the ones not asked for yet, the soonest first", async () => {
  const calendar = hoursFrom(1, 130);
  luma.setCalendar(KEY, calendar);
  expect(await sync()).toMatchObject({ inserted: 130, described: 100 });
  expect(askedFor()).toEqual(calendar.slice(0, 100).map(({ id }) => id));
  expect(lastNote()).toBe("Single events fetched: 100.");

  // The 30 that are left come before the soonest ones, which come again.
  expect(await sync()).toMatchObject({ unchanged: 130, described: 30 });
  expect(askedFor()).toEqual(
    [...calendar.slice(100), ...calendar.slice(0, 70)].map(({ id }) => id),
  );

  // A new one comes first, though it is the last to start.
  luma.setCalendar(KEY, [...calendar, inHours(200)]);
  expect(await sync()).toMatchObject({ inserted: 1, described: 1 });
  expect(askedFor()).toEqual(["evt-200", ...calendar.slice(0, 99).map(({ id }) => id)]);
});

test("Descriptions that are edited come with the next sync, among the 100 soonest", async () => {
  const calendar = hoursFrom(1, 101);
  luma.setCalendar(KEY, calendar);
  await sync();
  await sync();
  luma.setCalendar(
    KEY,
    calendar.map((event) => ({ ...event, description: "edited" })),
  );
  expect(await sync()).toMatchObject({ unchanged: 101, described: 100 });
  expect(await descriptionOf("evt-100")).toBe("edited");
  expect(await descriptionOf("evt-101")).toBe("What happens at evt-101");
});

test("Descriptions are kept when the listing changes, when an event is removed, and when it returns", async () => {
  luma.setCalendar(KEY, [inHours(1)]);
  await sync();
  luma.setCalendar(KEY, [inHours(1, { name: "Renamed" })]);
  expect(await sync()).toMatchObject({ updated: 1, described: 0 });
  luma.setCalendar(KEY, []);
  await sync();
  luma.setCalendar(KEY, [inHours(1)]);
  expect(await sync()).toMatchObject({ updated: 1, described: 0 });
  expect(await descriptionOf("evt-1")).toBe("What happens at evt-1");
});

test("Descriptions that lu.ma cleared are cleared here, and ones that it never had are written once", async () => {
  const without = { description: null, description_md: null };
  luma.setCalendar(KEY, [inHours(1), inHours(2, without)]);
  expect(await sync()).toMatchObject({ described: 1 });
  luma.setCalendar(KEY, [inHours(1, without), inHours(2, without)]);
  expect(await sync()).toMatchObject({ described: 1 });
  expect(await storedDescriptions(t)).toEqual(new Map());
  expect(await sync()).toMatchObject({ described: 0 });
});

const ofThatEvent: [string, Answer][] = [
  ["404", failure(404, "Not found.")],
  ["422", failure(422, "No.")],
  ["a redirect", status(302, "", { location: "/" })],
  ["with no event", status(200, { message: "internal" })],
  ["with another event", status(200, inHours(7, { description: "of another" }))],
  ["with what cannot be read", status(200, inHours(1, { name: "", description: "new" }))],
  ...[
    { visibility: "private" },
    { access: "none" },
    { platform: "other" },
    { status: "pending" },
  ].map((said): [string, Answer] => [
    `with what is not public: ${JSON.stringify(said)}`,
    status(200, inHours(1, { ...said, description: "secret" })),
  ]),
];
test.for(ofThatEvent)(
  "An event keeps its description when lu.ma answers %s",
  async ([, answer]) => {
    luma.setCalendar(KEY, [inHours(1), inHours(2)]);
    await sync();
    luma.setCalendar(KEY, [inHours(1), inHours(2, { description: "edited" })]);
    luma.answerNext(answer, { kind: "event" });
    // It costs only itself.
    expect(await sync()).toMatchObject({ unchanged: 2, described: 1 });
    expect(await descriptionOf("evt-1")).toBe("What happens at evt-1");
    expect(await descriptionOf("evt-2")).toBe("edited");
    // The first time it counts as asked for, so that others have their turn.
    await start();
    luma.setCalendar(KEY, hoursFrom(1, 101));
    luma.answerNext(answer, { kind: "event" });
    expect(await sync()).toMatchObject({ described: 99 });
    expect((await storedEvents(t)).get("evt-1")?.isDescribed).toBe(true);
    expect(await descriptionOf("evt-1")).toBeUndefined();
    askedFor();
    expect(await sync()).toMatchObject({ described: 2 });
    expect(askedFor().slice(0, 2)).toEqual(["evt-101", "evt-1"]);
  },
);

test.for<{ what: string; answer: Answer; why: string; tookMs?: number }>([
  { what: "401", answer: failure(401, "No."), why: "answered 401 for one event" },
  { what: "503", answer: status(503), why: "answered 503 for one event" },
  { what: "404 in HTML", answer: status(404), why: "answered 404 for one event" },
  { what: "HTML", answer: status(200, "<h1>Hi</h1>"), why: "that is not JSON for one event" },
  { what: "by hanging up", answer: reset, why: "no connection to 127.0.0.1" },
  { what: "nothing in 10 s", answer: silence, why: "gave no answer within 10 s", tookMs: 10_000 },
])(
  "An event for which lu.ma answers $what is skipped once, and the next one is asked for",
  async ({ answer, why, tookMs = 0 }) => {
    luma.setCalendar(KEY, hoursFrom(1, 5));
    luma.answerNext(answer, { eventId: "evt-2" });
    expect(await sync()).toMatchObject({ inserted: 5, described: 4 });
    expect(Date.now() - NOW).toBeGreaterThanOrEqual(tookMs);
    expect(Date.now() - NOW).toBeLessThan(tookMs + 3_000);
    expect(askedFor()).toEqual(["evt-1", "evt-2", "evt-3", "evt-4", "evt-5"]);
    expect(lastNote()).toMatch(/^Single events fetched: 5; continued after a failure: /);
    expect(lastNote()).toContain(why);
    // What is only a description makes no sync fail.
    expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
    expect(await sync()).toMatchObject({ described: 1 });
  },
);

test.for<{ what: string; failing: string[]; answer: Answer; asked: string[] }>([
  {
    what: "two events in a row fail",
    failing: ["evt-2", "evt-3"],
    answer: status(503),
    asked: ["evt-1", "evt-2", "evt-3"],
  },
  {
    what: "lu.ma answers 429",
    failing: ["evt-2"],
    answer: status(429, "", { "retry-after": "60" }),
    asked: ["evt-1", "evt-2"],
  },
])("Descriptions wait for the next sync when $what", async ({ failing, answer, asked }) => {
  luma.setCalendar(KEY, hoursFrom(1, 5));
  for (const eventId of failing) luma.answerNext(answer, { eventId });
  expect(await sync()).toMatchObject({ inserted: 5, described: 1 });
  expect(askedFor()).toEqual(asked);
  expect(lastNote()).toMatch(/^Single events fetched: \d; gave up after a failure: .*[^.]\.$/);
  expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
  // Those that were not asked for come first.
  expect(await sync()).toMatchObject({ described: 4 });
  expect(askedFor()[0]).toBe(asked.length === 3 ? "evt-4" : "evt-3");
});

test("Three mornings with one event that always fails describe the events behind it", async () => {
  luma.failBetween(-Infinity, Infinity, status(503), { eventId: "evt-1" });
  for (const text of ["first", "second", "third"]) {
    luma.setCalendar(
      KEY,
      hoursFrom(1, 3).map((event) => ({ ...event, description: text })),
    );
    expect(await sync()).toMatchObject({ described: 2 });
    expect([await descriptionOf("evt-2"), await descriptionOf("evt-3")]).toEqual([text, text]);
  }
});

test("No description is asked for when the listing took all of the 7 minutes", async () => {
  luma.setCalendar(KEY, [inHours(1)]);
  luma.answerNext((response, request) => {
    setTime(NOW + 7 * MINUTE_MS);
    luma.answer(response, request);
  });
  expect(await sync()).toMatchObject({ inserted: 1, described: 0 });
  expect(luma.requestsOf("event")).toEqual([]);
  expect(lastNote()).toBe("Single events fetched: 0.");
});

test("Descriptions that do not come within the 7 minutes are left for the next sync", async () => {
  luma.setCalendar(KEY, hoursFrom(1, 100));
  luma.answerMs = ({ kind }) => (kind === "event" ? 9_000 : 0);
  // One more had 6 s left.
  expect(await sync()).toMatchObject({ described: 46 });
  expect(askedFor()).toHaveLength(47);
  expect(Date.now() - NOW).toBeLessThan(7 * MINUTE_MS + 5_000);
  luma.answerMs = 0;
  expect(await sync()).toMatchObject({ described: 54 });
});

test("Descriptions are not written once a later sync has begun, and the earlier one ends well all the same", async () => {
  luma.setCalendar(KEY, [inHours(1)]);
  luma.answerNext(
    (response, request) => {
      void luma.waitFor(beginSync(t, orgId)).then(() => luma.answer(response, request));
    },
    { kind: "event" },
  );
  expect(await sync()).toMatchObject({ inserted: 1, described: 0 });
  expect(lastNote()).toMatch(
    / Not all descriptions were written: A later sync of .* nothing more\.$/,
  );
  expect(await descriptionOf("evt-1")).toBeUndefined();
});
