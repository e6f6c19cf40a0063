/** Events that lu.ma's list lacks: the list is a rumour, and what lu.ma says of an event itself is its word. */
import { expect, vi } from "vitest";
import type { Doc, Id } from "../convex/_generated/dataModel";
import {
  aStoredEvent,
  aWireEvent,
  beginSync,
  DAY_MS,
  getOrg as getOrgOf,
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

test("An event that the list lacks is asked for when it may be seen, by its visitors now or later", async () => {
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

test("Of events that the list lacks the 100 soonest are asked for 300 ms apart, and the others by the next sync", async () => {
  vi.spyOn(console, "log");
  await startSynced(wireEvents(130));
  await t.run((ctx) => ctx.db.insert("events", aStoredEvent(orgId, { startAt: NOW - DAY_MS })));
  luma.setCalendar(KEY, []);
  expect(await sync()).toMatchObject({ removed: 100 });
  const times = luma.requestsOf("event").map((request) => request.at);
  const waits = times.slice(1).map((time, i) => time - times[i]!);
  expect(new Set(waits)).toEqual(new Set([300]));
  expect(askedFor()).toEqual(wireEvents(100).map(({ id }) => id));
  expect(vi.mocked(console.log).mock.calls.join()).toContain("Not in the list: 100");
  expect(await sync()).toMatchObject({ removed: 31 });
  expect(askedFor().at(-1)).toBe("evt-1");
  expect((await getOrg()).eventsLastSynced).toBeGreaterThan(NOW);
});

test.for<[string, number, number]>([
  // The 47th has 6 s left.
  ["answers slowly", 47, 46],
  ["took all of the 7 minutes for its list", 0, 0],
])("Events that the list lacks wait for the next sync when lu.ma %s", async (row) => {
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
const again = (code: number) => status(code, "", { "retry-after": "1" });
const silent = { description: undefined, description_md: undefined };
const edited = { description: "new" };
const renamed = { ...edited, name: "Renamed" };
const secret = { visibility: "private", description: "secret" };
/** What is stored of the event then. */
const unlisted = { status: "unlisted" as const };
test.for<[string, Answer, Partial<Doc<"events">>]>([
  ["400 in JSON", failure(400, "No."), { status: "removed" }],
  ["403 in JSON", failure(403, "No."), { status: "removed" }],
  ["404 in JSON", failure(404, "No."), { status: "removed" }],
  ["another event", given({ id: "evt-2" }), {}],
  ["what cannot be read", given({ ...secret, name: "" }), {}],
  ["a redirect", status(302, "", { location: "/" }), {}],
  ["422 in JSON", failure(422, "No."), {}],
  ["the event without a description", given(silent), {}],
  ["the event", given(renamed), { ...edited, title: "Renamed" }],
  ["a private event", given(secret), unlisted],
  ["a strange one", given({ ...secret, access: "none" }), unlisted],
  ["one without visibility", given({ ...edited, visibility: null }), { ...unlisted, ...edited }],
])("An event missing from the list is stored as lu.ma's answer says: %s", async (row) => {
  const [, answer, said] = row;
  await startSynced([...over(2), aWireEvent({ id: "other" })]);
  await t.run(async (ctx) => {
    for (const { _id } of await ctx.db.query("events").collect()) {
      await ctx.db.patch("events", _id, { description: "old" });
    }
  });
  const before = (await storedEvents(t)).get("evt-0");
  luma.setCalendar(KEY, [aWireEvent({ id: "other" })]);
  luma.answerNext(answer, { kind: "event" });
  const { updated, removed } = await sync();
  const after = await storedEvents(t);
  const syncedAt = after.get("evt-0")?.syncedAt;
  expect(after.get("evt-0")).toEqual({ ...before, ...said, syncedAt });
  const isRemoved = said.status === "removed";
  expect(updated).toBe(Object.keys(said).length > 0 && !isRemoved ? 1 : 0);
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
  const stored = { startAt, description: "moved", status: "listed" };
  expect((await storedEvents(t)).get("evt-0")).toMatchObject(stored);
  expect(vi.mocked(console.log).mock.calls.at(-1)?.[0]).toContain("Not in the list: 1.");
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

test.for<[string, Answer, number, RegExp]>([
  ["429", again(429), 4, /answered 429 for one event \(4 attempts\)/],
  ["503", again(503), 4, /answered 503 for one event \(4 attempts\)/],
  ["a lost connection", reset, 4, /no connection to 127\.0\.0\.1.*one event \(4 attempts\)/],
  ["no answer", silence, 4, /no answer within 30 s for one event \(4 attempts\)/],
  ["404 in HTML", status(404, "<h1>No</h1>"), 1, /answered 404 for one event \(1 attempt\)/],
  ["401", failure(401, "No."), 1, /answered 401 for one event \(1 attempt\)/],
])("A sync fails and is soon repeated when lu.ma says of a missing event: %s", async (row) => {
  const [, answer, attempts, why] = row;
  await startSynced([...over(5), aWireEvent({ id: "other" })]);
  setTime(NOW + HOUR_MS);
  luma.setCalendar(KEY, [aWireEvent({ id: "other", name: "Renamed" })]);
  luma.answerNext(luma.answer, { kind: "event" });
  luma.answerNext(status(200, { ...over(2)[1], name: "Found" }), { kind: "event" });
  for (let i = 0; i < attempts; i += 1) luma.answerNext(answer, { kind: "event" });
  const { message, kind } = await failureOf(sync());
  expect(kind).toBe("passing");
  expect(message).toContain(
    "was not synced: 3 events that lu.ma no longer lists could not be checked: ",
  );
  expect(message).toMatch(why);
  expect(message).toMatch(/ It is synced again by itself\.$/);
  const failed = { eventsLastSynced: NOW, eventsSyncError: message };
  expect(await getOrg()).toMatchObject(failed);
  // The rest is written.
  const stored = [...(await storedEvents(t)).values()];
  const listed = Array<string>(5).fill("listed");
  expect(stored.map(({ status }) => status)).toEqual(["removed", ...listed]);
  expect([stored[1]?.title, stored[5]?.title]).toEqual(["Found", "Renamed"]);
  expect(askedFor()).toEqual(["evt-0", "evt-1", ...Array<string>(attempts).fill("evt-2")]);

  await passTime(31 * MINUTE_MS, luma.activity);
  expect(await statuses()).toEqual([...Array<string>(5).fill("removed"), "listed"]);
  const org = await getOrg();
  expect(org.eventsLastSynced).toBeGreaterThan(NOW + HOUR_MS + 30 * MINUTE_MS);
  expect(org).not.toHaveProperty("eventsSyncError");
});

test("A sync that could not check one event missing from the list says so in the singular", async () => {
  await startSynced(over(1));
  luma.setCalendar(KEY, []);
  luma.answerNext(status(404), { kind: "event" });
  const { message } = await failureOf(sync());
  expect(message).toContain(": 1 event that lu.ma no longer lists could not be checked: ");
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

test("A list of which no entry can be read fails the sync for good, when what must be hidden is", async () => {
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
  expect(kind).toBe("lasting");
  expect(message).toBe(
    'Organization "Acme" was not synced: of 118 entries of lu.ma\'s list, not one could be read: evt- ]0;x ' +
      "(start_at: no possible time). lu.ma may have changed its API: look for a newer version of this module.",
  );
  expect(hosts).toEqual(["public-api.luma.com", "public-api.luma.com"]);
  expect(luma.requests.map(({ kind }) => kind)).toEqual(["list", "list"]);
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
