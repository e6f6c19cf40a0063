import { expect, vi } from "vitest";
import type { Id } from "../convex/_generated/dataModel";
import {
  aWireEvent,
  beginSync,
  getOrg,
  HOUR_MS,
  insertOrg,
  MINUTE_MS,
  storedDescriptions,
  storedEvents,
} from "./support/builders";
import { setTime } from "./support/clock";
import { startEngine, type Engine } from "./support/engine";
import { NOW, routeLumaHosts, syncOrg, takeEventIds, test } from "./support/fixtures";
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

/** An event that starts this many hours from now. */
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

const askedFor = () => takeEventIds(luma);

async function descriptionOf(id: string): Promise<string | undefined> {
  return (await storedDescriptions(t)).get(id);
}

/** The part of the last log line that is about single events. */
function lastNote(): string {
  const line = String(vi.mocked(console.log).mock.calls.at(-1)?.[0]);
  return line.slice(line.indexOf("Single events requested"));
}

test("Descriptions are fetched one by one, 300 ms apart, after the list is stored", async () => {
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
  expect(lastNote()).toBe("Single events requested: 3.");
  expect(seen).toEqual([NOW, 3]);
  const times = luma.requestsOf("event").map(({ at }) => at);
  expect(times.slice(1).map((at, i) => at - (times[i] ?? 0))).toEqual([300, 300]);
  expect(await descriptionOf("evt-2")).toBe("What happens at evt-2");
});

test("A description in the list itself is ignored", async () => {
  const event = inHours(1, { description: "from the list" });
  luma.answerNext(status(200, { entries: [event], has_more: false }));
  luma.setCalendar(KEY, [inHours(1, { description: "of the event" })]);
  await sync();
  expect(await descriptionOf("evt-1")).toBe("of the event");
});

test("Descriptions come from the older address if the list came from there", async () => {
  const hosts = routeLumaHosts(luma);
  luma.setCalendar(KEY, [inHours(1)]);
  luma.answerNext(failure(404, "Not found."));
  await sync();
  expect(hosts).toEqual(["public-api.luma.com", "public-api.lu.ma", "public-api.lu.ma"]);
  const paths = luma.requests.map(({ path }) => path);
  expect(paths.slice(1)).toEqual([OLDER_PATH, "/public/v1/event/get"]);
  expect(await descriptionOf("evt-1")).toBe("What happens at evt-1");
});

test("Descriptions are fetched only for public events that are not over", async () => {
  luma.setCalendar(KEY, [
    inHours(-3, { id: "over", end_at: new Date(NOW).toISOString() }),
    inHours(-2, { id: "over, without an end" }),
    inHours(-1, { id: "running", end_at: new Date(NOW + HOUR_MS).toISOString() }),
    inHours(1, { id: "private", visibility: "private" }),
    inHours(2, { id: "to come" }),
  ]);
  await sync();
  expect(askedFor()).toEqual(["running", "to come"]);
  // Stored events are no different from new ones, unless they were removed.
  await sync();
  expect(askedFor()).toEqual(["running", "to come"]);
  luma.dropEvent("running");
  await sync();
  askedFor();
  await sync();
  expect(askedFor()).toEqual(["to come"]);
});

test("Descriptions are fetched once an event is public, and no longer once it is private", async () => {
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

test("An event's description is fetched even if its entry can't be read", async () => {
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

test("A sync fetches 100 descriptions: those that were never requested come first", async () => {
  const calendar = hoursFrom(1, 130);
  luma.setCalendar(KEY, calendar);
  expect(await sync()).toMatchObject({ inserted: 130, described: 100 });
  expect(askedFor()).toEqual(calendar.slice(0, 100).map(({ id }) => id));
  expect(lastNote()).toBe("Single events requested: 100.");

  // The 30 that are left come before the soonest ones, which are requested again.
  expect(await sync()).toMatchObject({ unchanged: 130, described: 30 });
  expect(askedFor()).toEqual(
    [...calendar.slice(100), ...calendar.slice(0, 70)].map(({ id }) => id),
  );

  // A new event comes first, although it is the last to start.
  luma.setCalendar(KEY, [...calendar, inHours(200)]);
  expect(await sync()).toMatchObject({ inserted: 1, described: 1 });
  expect(askedFor()).toEqual(["evt-200", ...calendar.slice(0, 99).map(({ id }) => id)]);
});

test("The next sync updates edited descriptions of the 100 soonest events", async () => {
  const calendar = hoursFrom(1, 101);
  luma.setCalendar(KEY, calendar);
  await sync();
  await sync();
  const edited = calendar.map((event) => ({ ...event, description: "edited" }));
  luma.setCalendar(KEY, edited);
  expect(await sync()).toMatchObject({ unchanged: 101, described: 100 });
  expect(await descriptionOf("evt-100")).toBe("edited");
  expect(await descriptionOf("evt-101")).toBe("What happens at evt-101");
});

test("A description is kept if its event changes, is removed, or comes back", async () => {
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

test("A description that lu.ma cleared is cleared, and an absent one isn't written again", async () => {
  const without = { description: null, description_md: null };
  luma.setCalendar(KEY, [inHours(1), inHours(2, without)]);
  expect(await sync()).toMatchObject({ described: 1 });
  luma.setCalendar(KEY, [inHours(1, without), inHours(2, without)]);
  expect(await sync()).toMatchObject({ described: 1 });
  expect(await storedDescriptions(t)).toEqual(new Map());
  expect(await sync()).toMatchObject({ described: 0 });
});

const UNUSABLE: [string, Answer][] = [
  ["404", failure(404, "Not found.")],
  ["422", failure(422, "No.")],
  ["with a redirect", status(302, "", { location: "/" })],
  ["without an event", status(200, { message: "internal" })],
  ["with another event", status(200, inHours(7, { description: "of another" }))],
  ["with an unreadable event", status(200, inHours(1, { name: "", description: "new" }))],
  ...[
    { visibility: "private" },
    { access: "none" },
    { platform: "other" },
    { status: "pending" },
  ].map((said): [string, Answer] => [
    `with an event that isn't public: ${JSON.stringify(said)}`,
    status(200, inHours(1, { ...said, description: "secret" })),
  ]),
];
test.for(UNUSABLE)("An event keeps its description if lu.ma answers %s", async ([, answer]) => {
  luma.setCalendar(KEY, [inHours(1), inHours(2)]);
  await sync();
  luma.setCalendar(KEY, [inHours(1), inHours(2, { description: "edited" })]);
  luma.answerNext(answer, { kind: "event" });
  // The next event is described.
  expect(await sync()).toMatchObject({ unchanged: 2, described: 1 });
  expect(await descriptionOf("evt-1")).toBe("What happens at evt-1");
  expect(await descriptionOf("evt-2")).toBe("edited");
  // A first answer like this counts as a request, so that others get their turn.
  await start();
  luma.setCalendar(KEY, hoursFrom(1, 101));
  luma.answerNext(answer, { kind: "event" });
  expect(await sync()).toMatchObject({ described: 99 });
  expect((await storedEvents(t)).get("evt-1")?.isDescribed).toBe(true);
  expect(await descriptionOf("evt-1")).toBeUndefined();
  askedFor();
  expect(await sync()).toMatchObject({ described: 2 });
  expect(askedFor().slice(0, 2)).toEqual(["evt-101", "evt-1"]);
});

test.for<[what: string, Answer, why: string, tookMs?: number]>([
  ["401", failure(401, "No."), "answered 401 for one event"],
  ["503", status(503), "answered 503 for one event"],
  ["404 in HTML", status(404), "answered 404 for one event"],
  ["HTML", status(200, "<h1>Hi</h1>"), "that is not JSON for one event"],
  ["no connection", reset, "no connection to 127.0.0.1"],
  ["no answer in 10 s", silence, "gave no answer within 10 s", 10_000],
])(
  "An event whose request fails (%s) is skipped, and the next one is fetched",
  async ([, answer, why, tookMs = 0]) => {
    luma.setCalendar(KEY, hoursFrom(1, 5));
    luma.answerNext(answer, { eventId: "evt-2" });
    expect(await sync()).toMatchObject({ inserted: 5, described: 4 });
    expect(Date.now() - NOW).toBeGreaterThanOrEqual(tookMs);
    expect(Date.now() - NOW).toBeLessThan(tookMs + 3_000);
    expect(askedFor()).toEqual(["evt-1", "evt-2", "evt-3", "evt-4", "evt-5"]);
    expect(lastNote()).toMatch(/^Single events requested: 5; last failure: /);
    expect(lastNote()).toContain(why);
    // A missing description doesn't make a sync fail.
    expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
    expect(await sync()).toMatchObject({ described: 1 });
  },
);

test.for<[string, failing: string[], Answer, asked: string[]]>([
  ["two events in a row fail", ["evt-2", "evt-3"], status(503), ["evt-1", "evt-2", "evt-3"]],
  ["lu.ma answers 429", ["evt-2"], status(429, "", { "retry-after": "60" }), ["evt-1", "evt-2"]],
])("Descriptions wait for the next sync if %s", async ([, failing, answer, asked]) => {
  luma.setCalendar(KEY, hoursFrom(1, 5));
  for (const eventId of failing) luma.answerNext(answer, { eventId });
  expect(await sync()).toMatchObject({ inserted: 5, described: 1 });
  expect(askedFor()).toEqual(asked);
  expect(lastNote()).toMatch(/^Single events requested: \d; gave up after a failure: .*[^.]\.$/);
  expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
  // Those that weren't requested come first.
  expect(await sync()).toMatchObject({ described: 4 });
  expect(askedFor()[0]).toBe(asked.length === 3 ? "evt-4" : "evt-3");
});

test("An event that fails in every sync doesn't keep others from being described", async () => {
  for (const eventId of ["evt-1", "evt-3"]) {
    luma.failBetween(-Infinity, Infinity, status(503), { eventId });
  }
  for (const description of ["first", "second", "third"]) {
    const events = hoursFrom(1, 4).map((event) => ({ ...event, description }));
    luma.setCalendar(KEY, events);
    expect(await sync()).toMatchObject({ described: 2 });
    for (const id of ["evt-2", "evt-4"]) expect(await descriptionOf(id)).toBe(description);
  }
});

test("No description is fetched if the list took all of the 7 minutes", async () => {
  luma.setCalendar(KEY, [inHours(1)]);
  luma.answerNext((response, request) => {
    setTime(NOW + 7 * MINUTE_MS);
    luma.answer(response, request);
  });
  expect(await sync()).toMatchObject({ inserted: 1, described: 0 });
  expect(luma.requestsOf("event")).toEqual([]);
  expect(lastNote()).toBe("Single events requested: 0.");
});

test("Descriptions that can't be fetched within the 7 minutes wait for the next sync", async () => {
  luma.setCalendar(KEY, hoursFrom(1, 100));
  luma.answerMs = ({ kind }) => (kind === "event" ? 9_000 : 0);
  // The 47th request had only 6 s left.
  expect(await sync()).toMatchObject({ described: 46 });
  expect(askedFor()).toHaveLength(47);
  expect(Date.now() - NOW).toBeLessThan(7 * MINUTE_MS + 5_000);
  luma.answerMs = 0;
  expect(await sync()).toMatchObject({ described: 54 });
});

test("A sync that is overtaken while it fetches descriptions succeeds without them", async () => {
  luma.setCalendar(KEY, [inHours(1)]);
  luma.answerNext(
    (response, request) => {
      void luma.waitFor(beginSync(t, orgId)).then(() => luma.answer(response, request));
    },
    { kind: "event" },
  );
  expect(await sync()).toMatchObject({ inserted: 1, described: 0 });
  expect(lastNote()).toMatch(
    / Not all descriptions were written: This sync of .* was overtaken.*\.$/,
  );
  expect(await descriptionOf("evt-1")).toBeUndefined();
});
