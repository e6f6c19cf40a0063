/** Events that are missing from lu.ma's list: what lu.ma says about each of them counts, not that they are missing. */
import { expect, vi } from "vitest";
import { internal } from "../convex/_generated/api";
import type { Doc, Id } from "../convex/_generated/dataModel";
import {
  aStoredEvent,
  aWireEvent,
  beginSync,
  DAY_MS,
  getOrg as getOrgOf,
  HOUR_MS,
  insertOrg,
  storedDescriptions,
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

let luma: LumaServer;
let t: Engine;
let orgId: Id<"organizations">;
test.beforeEach(({ luma: given }) => void (luma = given));

function at(ms: number): string {
  return new Date(ms).toISOString();
}

/** Begins with a connected organization, and events that are stored. */
async function start(stored: Partial<Doc<"events">>[] = [], org = {}): Promise<void> {
  t = startEngine();
  // The engine gives no two transactions the same time, and the sync is to begin at NOW.
  setTime(NOW - 1_000);
  orgId = await insertOrg(t, { lumaApiKey: KEY, ...org });
  await t.run(async (ctx) => {
    for (const event of stored) await ctx.db.insert("events", aStoredEvent(orgId, event));
  });
  setTime(NOW);
}

/** The same, and a calendar that was synced when lu.ma's list was right. */
async function startSynced(events: WireEvent[]): Promise<void> {
  await start();
  luma.setCalendar(KEY, events);
  await sync();
  luma.requests.length = 0;
}

const sync = () => syncOrg(t, luma, orgId);
const getOrg = () => getOrgOf(t, orgId);
const stampAt = (eventsLastSynced: number) =>
  t.run((ctx) => ctx.db.patch("organizations", orgId, { eventsLastSynced }));
const statuses = async () => [...(await storedEvents(t)).values()].map(({ status }) => status);

/** The ids that lu.ma was asked for since last time. */
function askedFor(): (string | null)[] {
  const ids = luma.requestsOf("event").map(({ query }) => query.get("event_id"));
  luma.requests.length = 0;
  return ids;
}

/** Events that are over, so that nobody asks for their descriptions. */
function over(count: number, overrides: (index: number) => Partial<WireEvent> = () => ({})) {
  return wireEvents(count, (i) => ({
    start_at: at(NOW - 10 * DAY_MS + i * HOUR_MS),
    ...overrides(i),
  }));
}

test.for<[string, (events: WireEvent[]) => Answer]>([
  ["that is empty", () => status(200, { entries: [], has_more: false })],
  [
    "that ends a page early",
    (events) => status(200, { entries: events.slice(0, 100), has_more: false }),
  ],
  [
    "of which an entry slips to a page that was read already",
    () => (response, request) => {
      luma.answer(response, request);
      luma.dropEvent("evt-0");
    },
  ],
])("A list %s removes nothing", async ([, lie]) => {
  const events = wireEvents(150);
  await startSynced(events);
  luma.answerNext(lie(events), { kind: "list" });
  expect(await sync()).toMatchObject({ removed: 0 });
  expect(new Set(await statuses())).toEqual(new Set(["listed"]));
  expect((await getOrg()).eventsLastSynced).toBeGreaterThan(NOW);
});

test.for<[string, number, number, "removed" | "unlisted"]>([
  ["goes on for 60 days", -40, 20, "removed"],
  ["goes on for 60 days", -40, 20, "unlisted"],
  ["was moved beyond 90 days", 120, 121, "removed"],
  ["was moved beyond 90 days", 120, 121, "unlisted"],
])("An event that %s and is in no list is shown until it is $3", async ([, from, to, hidden]) => {
  const [startAt, endAt] = [NOW + from * DAY_MS, NOW + to * DAY_MS];
  const event = aWireEvent({ start_at: at(startAt), end_at: at(endAt) });
  await start([{ startAt, endAt }]);
  luma.setCalendar(KEY, [event]);
  await sync();
  expect(await statuses()).toEqual(["listed"]);
  if (hidden === "removed") luma.dropEvent("evt-1");
  else luma.setCalendar(KEY, [{ ...event, visibility: "private" }]);
  await sync();
  expect(await statuses()).toEqual([hidden]);
});

test("An event that is missing from the list is asked for when it may be seen, by its visitors now or later", async () => {
  const [after, before] = [NOW - 30 * DAY_MS, NOW + 90 * DAY_MS];
  type Row = [id: string, status: Doc<"events">["status"], startAt: number, endAt?: number];
  const event = (...[lumaEventId, status, startAt, endAt]: Row) => ({
    lumaEventId,
    status,
    startAt,
    endAt,
  });
  const long = [NOW - 40 * DAY_MS, NOW + DAY_MS] as const;
  await start([
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
    event("over since", "listed", NOW - 40 * DAY_MS, NOW),
    event("removed, on", "removed", ...long),
    event("removed, to come", "removed", NOW + DAY_MS),
  ]);
  setTime(NOW - 500);
  const theirs = aStoredEvent(await insertOrg(t, { name: "Other" }), { startAt: NOW + 5 });
  await t.run((ctx) => ctx.db.insert("events", theirs));
  setTime(NOW);
  luma.setCalendar(KEY, []);
  expect(await sync()).toMatchObject({ removed: 7 });
  // First what is not over, the soonest first.
  expect(askedFor()).toEqual([
    "on",
    "on, hidden",
    "to come",
    "at the end of the window",
    "far ahead",
    "far ahead, hidden",
    "over, in the window",
  ]);
  const unlisted = (await statuses()).filter((status) => status === "unlisted");
  expect(unlisted).toHaveLength(2);
});

test("Of events that are missing from the list the 100 soonest are asked for 300 ms apart, and the others by the next sync", async () => {
  vi.spyOn(console, "log");
  await startSynced(wireEvents(130));
  await t.run((ctx) => ctx.db.insert("events", aStoredEvent(orgId, { startAt: NOW - DAY_MS })));
  luma.setCalendar(KEY, []);
  expect(await sync()).toMatchObject({ removed: 100 });
  const times = luma.requestsOf("event").map((request) => request.at);
  const waits = times.slice(1).map((time, i) => time - times[i]!);
  expect(new Set(waits)).toEqual(new Set([300]));
  expect(askedFor()).toEqual(wireEvents(100).map(({ id }) => id));
  expect(vi.mocked(console.log).mock.calls.join()).toContain("Missing from the list: 100");
  expect(await sync()).toMatchObject({ removed: 31 });
  expect(askedFor().at(-1)).toBe("evt-1");
  expect((await getOrg()).eventsLastSynced).toBeGreaterThan(NOW);
});

test.for<[string, number, number]>([
  // The 47th has 6 s left.
  ["answers slowly", 47, 46],
  ["took all of the 7 minutes for its list", 0, 0],
])("Events that are missing from the list wait for the next sync when lu.ma %s", async (row) => {
  const [, asked, removed] = row;
  await start(wireEvents(60).map(({ id }) => ({ lumaEventId: id, startAt: NOW + DAY_MS })));
  luma.setCalendar(KEY, []);
  if (asked > 0) luma.answerMs = ({ kind }) => (kind === "event" ? 9_000 : 0);
  else {
    luma.answerNext((response, request) => {
      setTime(NOW + 7 * MINUTE_MS);
      luma.answer(response, request);
    });
  }
  expect(await sync()).toMatchObject({ removed });
  expect(askedFor()).toHaveLength(asked);
  expect(await getOrg()).toMatchObject({ eventsLastSynced: NOW });
  luma.answerMs = 0;
  expect(await sync()).toMatchObject({ removed: 60 - removed });
});

const given = (fields: object = {}) => status(200, { ...over(1)[0], ...fields });
const silent = { description: undefined, description_md: undefined };
const edited = { description: "new" };
const secret = { visibility: "private", description: "secret" };
type Stored = { status?: Doc<"events">["status"]; title?: string; description?: string };
test.for<{ what: string; answer: Answer; stored: Stored }>([
  { what: "400 in JSON", answer: failure(400, "No."), stored: { status: "removed" } },
  { what: "403 in JSON", answer: failure(403, "No."), stored: { status: "removed" } },
  { what: "404 in JSON", answer: failure(404, "No."), stored: { status: "removed" } },
  { what: "another event", answer: given({ id: "evt-2" }), stored: {} },
  { what: "what cannot be read", answer: given({ ...secret, name: "" }), stored: {} },
  { what: "a redirect", answer: status(302, "", { location: "/" }), stored: {} },
  { what: "422 in JSON", answer: failure(422, "No."), stored: {} },
  { what: "the event without a description", answer: given(silent), stored: {} },
  {
    what: "the event",
    answer: given({ ...edited, name: "Renamed" }),
    stored: { ...edited, title: "Renamed" },
  },
  { what: "a private event", answer: given(secret), stored: { status: "unlisted" } },
  {
    what: "a strange one",
    answer: given({ ...secret, access: "none" }),
    stored: { status: "unlisted" },
  },
  {
    what: "one without visibility",
    answer: given({ ...edited, visibility: null }),
    stored: { status: "unlisted" },
  },
  {
    what: "an event of another calendar, which it has moved to",
    answer: given({ ...edited, calendar_id: "cal-9", access: null }),
    stored: { status: "unlisted" },
  },
  {
    what: "an event of another calendar that this one manages, too",
    answer: given({ ...edited, calendar_id: "cal-9" }),
    stored: edited,
  },
])("An event missing from the list is stored as lu.ma's answer says: $what", async (row) => {
  await startSynced([...over(2), aWireEvent({ id: "other" })]);
  await t.run(async (ctx) => {
    const events = await ctx.db.query("events").collect();
    for (const { _id: eventId, lumaEventId } of events) {
      await ctx.db.patch("events", eventId, { isDescribed: true });
      if (lumaEventId === "evt-0") {
        await ctx.db.insert("eventDescriptions", { eventId, orgId, text: "old" });
      }
    }
  });
  const before = (await storedEvents(t)).get("evt-0");
  luma.setCalendar(KEY, [aWireEvent({ id: "other" })]);
  luma.answerNext(row.answer, { kind: "event" });
  const { updated, removed } = await sync();
  const { description = "old", ...fields } = row.stored;
  const after = await storedEvents(t);
  const syncedAt = after.get("evt-0")?.syncedAt;
  expect(after.get("evt-0")).toEqual({ ...before, ...fields, syncedAt });
  expect((await storedDescriptions(t)).get("evt-0")).toBe(description);
  const isRemoved = fields.status === "removed";
  expect(updated).toBe(Object.keys(fields).length > 0 && !isRemoved ? 1 : 0);
  // And asking goes on.
  expect(removed).toBe(isRemoved ? 2 : 1);
  expect(after.get("evt-1")?.status).toBe("removed");
  expect((await getOrg()).eventsLastSynced).toBeGreaterThan(NOW);
  // Each once; the description of what is listed comes after them.
  expect(askedFor()).toEqual(["evt-0", "evt-1", "other"]);
});

test("An event missing from the list that is found has its description, and is not asked for again", async () => {
  vi.spyOn(console, "log");
  await startSynced(wireEvents(2));
  const startAt = NOW + 99 * DAY_MS;
  const moved = aWireEvent({ id: "evt-0", start_at: at(startAt), description: "moved" });
  luma.setCalendar(KEY, [moved, aWireEvent({ id: "evt-1" })]);
  await sync();
  expect(askedFor()).toEqual(["evt-0", "evt-1"]);
  expect((await storedEvents(t)).get("evt-0")).toMatchObject({ startAt, status: "listed" });
  expect((await storedDescriptions(t)).get("evt-0")).toBe("moved");
  expect(vi.mocked(console.log).mock.calls.at(-1)?.[0]).toContain("Missing from the list: 1.");
});

test("An event missing from the list is asked for at the older address on a morning on which that gave the list", async () => {
  await startSynced(over(2));
  vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
  luma.setCalendar(KEY, over(1), []);
  expect(await sync()).toMatchObject({ removed: 1 });
  const ids = luma.requestsOf("event").map(({ query }) => query.get("api_id"));
  expect(ids).toEqual(["evt-0", "evt-1"]);
  expect(await statuses()).toEqual(["listed", "removed"]);
});

const again = (code: number) => status(code, "", { "retry-after": "1" });
/** Answers requests for one event alike, for ever. */
const failFor = (eventId: string, answer: Answer) =>
  luma.failBetween(-Infinity, Infinity, answer, { eventId });
const NOT_CHECKED = "that lu.ma no longer lists could not be checked: ";
const RETRIED = / It will be retried automatically\.$/;

test.for<{ what: string; answer: Answer; why: string }>([
  { what: "503", answer: again(503), why: "answered 503 for one event (4 attempts)" },
  { what: "a lost connection", answer: reset, why: "for one event (4 attempts)" },
  {
    what: "nothing",
    answer: silence,
    why: "gave no answer within 30 s for one event (4 attempts)",
  },
  {
    what: "HTML",
    answer: status(404, "<h1>No</h1>"),
    why: "answered 404 for one event (1 attempt)",
  },
  { what: "401", answer: failure(401, "No."), why: "answered 401 for one event (1 attempt)" },
])(
  "An event for which lu.ma always answers $what is skipped, and its sync is stamped, described and retried",
  async ({ answer, why }) => {
    await startSynced([...over(3), aWireEvent({ id: "other" })]);
    setTime(NOW + HOUR_MS);
    luma.setCalendar(KEY, [aWireEvent({ id: "other", description: "edited" })]);
    failFor("evt-0", answer);
    const { message, kind } = await failureOf(sync());
    expect(kind).toBe("transient");
    expect(message).toContain(`Organization "Acme" was synced, but 1 event ${NOT_CHECKED}`);
    expect(message).toContain(why);
    expect(message).toMatch(RETRIED);
    // Those behind it were checked.
    expect(await statuses()).toEqual(["listed", "removed", "removed", "listed"]);
    const stamped = { eventsLastSynced: NOW + HOUR_MS, eventsSyncError: message };
    expect(await getOrg()).toMatchObject(stamped);
    expect((await storedDescriptions(t)).get("other")).toBe("edited");

    luma.dropEvent("evt-0");
    luma.clearFailures();
    await passTime(31 * MINUTE_MS, luma.activity);
    expect(await statuses()).toEqual(["removed", "removed", "removed", "listed"]);
    const retriedAt = NOW + HOUR_MS + 30 * MINUTE_MS;
    expect((await getOrg()).eventsLastSynced).toBeGreaterThanOrEqual(retriedAt);
    expect(await getOrg()).not.toHaveProperty("eventsSyncError");
  },
);

test("Three mornings with one event that always answers 503 are stamped, described and retried", async () => {
  await startSynced([...over(3), aWireEvent({ id: "other" })]);
  failFor("evt-0", status(503));
  for (const day of [1, 2, 3]) {
    const morning = NOW + day * DAY_MS;
    const edited = `edited on day ${day}`;
    luma.setCalendar(KEY, [
      aWireEvent({ id: "other", description: edited, start_at: at(morning + DAY_MS) }),
    ]);
    setTime(morning);
    await t.mutation(internal.events.sync.runFullEventSync, {});
    await passTime(29 * MINUTE_MS, luma.activity);
    const org = await getOrg();
    expect(org.eventsLastSynced).toBeGreaterThanOrEqual(morning);
    expect(org.eventsSyncError).toContain(NOT_CHECKED);
    expect((await storedDescriptions(t)).get("other")).toBe(edited);
    expect(await statuses()).toEqual(["listed", "removed", "removed", "listed"]);
    const { length } = luma.requestsOf("list");
    await passTime(2 * MINUTE_MS, luma.activity);
    expect(luma.requestsOf("list").length).toBe(length + 1);
  }
});

test.for<{ what: string; failing: string[]; answer: Answer; unchecked: number; asked: string[] }>([
  {
    what: "two that fail in a row",
    failing: ["evt-1", "evt-2"],
    answer: status(404),
    unchecked: 4,
    asked: ["evt-0", "evt-1", "evt-2"],
  },
  {
    what: "two that fail, one between them answered",
    failing: ["evt-1", "evt-3"],
    answer: status(404),
    unchecked: 2,
    asked: ["evt-0", "evt-1", "evt-2", "evt-3", "evt-4", "other"],
  },
  {
    what: "a 429 that is given up",
    failing: ["evt-1"],
    answer: again(429),
    unchecked: 4,
    asked: ["evt-0", ...Array<string>(4).fill("evt-1")],
  },
])("Events missing from the list of which there are $what", async (row) => {
  await startSynced([...over(5), aWireEvent({ id: "other" })]);
  luma.setCalendar(KEY, [aWireEvent({ id: "other" })]);
  for (const id of row.failing) failFor(id, row.answer);
  const { message } = await failureOf(sync());
  expect(message).toContain(`but ${row.unchecked} events ${NOT_CHECKED}`);
  // Nothing more is asked for, descriptions included.
  expect(askedFor()).toEqual(row.asked);
  const all = row.asked.includes("other") ? ["removed", "listed"] : ["listed", "listed"];
  const [evt0, , ...others] = await statuses();
  expect([evt0, others.at(0), others.at(-1)]).toEqual(["removed", ...all]);
});

test("A check and a description that fail in a row end all asking, too", async () => {
  await startSynced([...over(1), ...wireEvents(3, (i) => ({ id: `next-${i}` }))]);
  luma.setCalendar(
    KEY,
    wireEvents(3, (i) => ({ id: `next-${i}` })),
  );
  for (const id of ["evt-0", "next-0"]) failFor(id, status(404));
  const { message } = await failureOf(sync());
  expect(message).toContain(`but 1 event ${NOT_CHECKED}`);
  expect(askedFor()).toEqual(["evt-0", "next-0"]);
});

test("An answer that can't be used neither ends the asking nor makes up for a failure", async () => {
  await startSynced([...over(4), aWireEvent({ id: "other" })]);
  luma.setCalendar(KEY, [aWireEvent({ id: "other" })]);
  for (const id of ["evt-0", "evt-2"]) failFor(id, status(404));
  failFor("evt-1", failure(422, "No."));
  const { message } = await failureOf(sync());
  expect(message).toContain(`but 3 events ${NOT_CHECKED}`);
  expect(askedFor()).toEqual(["evt-0", "evt-1", "evt-2"]);
});

test("A sync asks for 100 single events: checks first, descriptions with what is left", async () => {
  await startSynced([...over(70), ...wireEvents(60, (i) => ({ id: `next-${i}` }))]);
  luma.setCalendar(
    KEY,
    wireEvents(60, (i) => ({ id: `next-${i}` })),
  );
  expect(await sync()).toMatchObject({ removed: 70 });
  const asked = askedFor();
  expect(asked).toHaveLength(100);
  expect(asked.slice(70)).toEqual(Array.from({ length: 30 }, (_, i) => `next-${i}`));
  expect(await getOrg()).not.toHaveProperty("eventsSyncError");
});

test("An event that moved to another calendar is hidden only if the key's calendar is known", async () => {
  await startSynced(over(1));
  vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
  luma.setCalendar(
    KEY,
    over(1, () => ({ calendar_id: "cal-9", access: null })),
    [],
  );
  await sync();
  expect(await statuses()).toEqual(["listed"]);
});

test("An event missing from the list stays as it is when a later sync begins while it is asked for", async () => {
  await startSynced(over(2));
  luma.setCalendar(KEY, []);
  const answer: Answer = (response, request) => {
    void luma.waitFor(beginSync(t, orgId)).then(() => luma.answer(response, request));
  };
  luma.answerNext(answer, { kind: "event" });
  expect((await failureOf(sync())).kind).toBe("overtaken");
  expect(await statuses()).toEqual(["listed", "listed"]);
});

const unreadable = (fields: object = {}) => ({ ...over(1)[0], name: "", ...fields }) as WireEvent;
test.for<[string, WireEvent[], "listed" | "unlisted"]>([
  ["leaves its event as it is, without asking for it", [unreadable()], "listed"],
  ["without an id holds up no removal", [unreadable({ id: "" }), ...over(1)], "listed"],
  ["that is private hides its event", [unreadable({ visibility: "private" })], "unlisted"],
  ["of an odd visibility hides its event", [unreadable({ visibility: "odd" })], "unlisted"],
  ["without a visibility hides its event", [unreadable({ visibility: null })], "unlisted"],
  ["of another's event hides it", [unreadable({ access: "view" })], "unlisted"],
  ["that is not approved hides its event", [unreadable({ status: "pending" })], "unlisted"],
])("An entry that cannot be read %s", async ([, entries, expected]) => {
  await startSynced([...over(2), aWireEvent({ id: "other" })]);
  luma.setCalendar(KEY, [aWireEvent({ id: "other" }), ...entries]);
  for (let i = 0; i < 2; i += 1) {
    const updated = i === 0 && expected === "unlisted" ? 1 : 0;
    expect(await sync()).toMatchObject({ updated });
    expect(await statuses()).toEqual([expected, "removed", "listed"]);
    expect(askedFor()).toEqual(i === 0 ? ["evt-1", "other"] : ["other"]);
  }
});

test("A removed event stays removed when lu.ma lists a private entry of it that cannot be read", async () => {
  await startSynced([aWireEvent({ id: "evt-0" }), aWireEvent({ id: "other" })]);
  luma.dropEvent("evt-0");
  await sync();
  const unreadable = aWireEvent({ id: "evt-0", name: "", visibility: "private" });
  luma.setCalendar(KEY, [unreadable, aWireEvent({ id: "other" })]);
  expect(await sync()).toMatchObject({ invalid: 1, updated: 0 });
  expect(await statuses()).toEqual(["removed", "listed"]);
});

test("A list of which no entry can be read is a permanent failure, once what must be hidden is", async () => {
  await startSynced(over(120));
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
  const { message, kind } = await failureOf(sync());
  expect(kind).toBe("permanent");
  expect(message).toBe(
    'Organization "Acme" was not synced: none of the 118 entries in lu.ma\'s list could be read: evt- ]0;x ' +
      "(start_at: missing or invalid time). lu.ma may have changed its API: look for a newer version of this module.",
  );
  expect(new Set(hosts)).toEqual(new Set(["public-api.luma.com"]));
  expect(luma.requests.map(({ kind }) => kind)).toEqual(["list", "list", "calendar"]);
  const [first, ...others] = await statuses();
  expect([first, new Set(others)]).toEqual(["unlisted", new Set(["listed"])]);
  const failed = { eventsLastSynced: NOW, eventsSyncError: message };
  expect(await getOrg()).toMatchObject(failed);
});

test.for<[string, number | undefined, number]>([
  ["was never synced", undefined, 30],
  ["was synced yesterday", 1, 31],
  ["was synced 100 days ago", 100, 130],
  ["was synced two years ago", 730, 365],
  ["has a stamp from the future", -10, 30],
])("The list of an organization that %s is asked for from $2 days back", async ([, days, back]) => {
  const eventsLastSynced = days === undefined ? undefined : NOW - days * DAY_MS;
  await start([], { eventsLastSynced });
  luma.setCalendar(KEY, []);
  await sync();
  const query = luma.requests[0]?.query;
  expect([query?.get("after"), query?.get("before")]).toEqual([
    at(NOW - back * DAY_MS),
    at(NOW + 90 * DAY_MS),
  ]);
  expect((await getOrg()).eventsLastSynced).toBe(NOW);
});

test("An event that was hidden in a pause, or on the last day of the window, is noticed, and none older", async () => {
  const events = over(2, (i) => ({ start_at: at(NOW - (29 + i / 2) * DAY_MS) }));
  await startSynced(events);
  setTime(NOW + 40 * DAY_MS);
  luma.setCalendar(KEY, [{ ...events[0], visibility: "private" } as WireEvent]);
  await sync();
  expect(await statuses()).toEqual(["removed", "unlisted"]);

  luma.setCalendar(KEY, events);
  setTime(NOW);
  await stampAt(NOW);
  await sync();
  setTime(NOW + 2 * DAY_MS);
  await stampAt(NOW + 2 * DAY_MS);
  luma.setCalendar(KEY, []);
  expect(await sync()).toMatchObject({ removed: 0 });
  expect(await statuses()).toEqual(["listed", "listed"]);
});
