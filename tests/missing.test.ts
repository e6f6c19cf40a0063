/** Missing events: they are stored, but not on lu.ma's list, so each one is checked by itself. */
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
  MINUTE_MS,
  storedDescriptions,
  storedEvents,
  wireEvents,
} from "./support/builders";
import { passTime, setTime } from "./support/clock";
import { startEngine, type Engine } from "./support/engine";
import { failureOf, NOW, routeLumaHosts, syncOrg, takeEventIds, test } from "./support/fixtures";
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

let luma: LumaServer;
let t: Engine;
let orgId: Id<"organizations">;
test.beforeEach(({ luma: given }) => void (luma = given));

function at(ms: number): string {
  return new Date(ms).toISOString();
}

/** Starts with a connected organization and stored events. */
async function start(stored: Partial<Doc<"events">>[] = [], org = {}): Promise<void> {
  t = startEngine();
  // The engine gives each transaction a later time, and the sync should begin at NOW.
  setTime(NOW - 1_000);
  orgId = await insertOrg(t, { lumaApiKey: KEY, ...org });
  await t.run(async (ctx) => {
    for (const event of stored) await ctx.db.insert("events", aStoredEvent(orgId, event));
  });
  setTime(NOW);
}

/** Starts with a connected organization whose calendar has been synced. */
async function startSynced(events: WireEvent[]): Promise<void> {
  await start();
  luma.setCalendar(KEY, events);
  await sync();
  luma.requests.length = 0;
}

const sync = () => syncOrg(t, luma, orgId);
const getOrg = () => getOrgOf(t, orgId);
const upcoming = (count: number) => wireEvents(count, (i) => ({ id: `next-${i}` }));
const stampAt = (eventsLastSynced: number) =>
  t.run((ctx) => ctx.db.patch("organizations", orgId, { eventsLastSynced }));
const statuses = async () => [...(await storedEvents(t)).values()].map(({ status }) => status);

const askedFor = () => takeEventIds(luma);

/** Events that are over, so their descriptions aren't requested. */
function over(count: number, overrides: (index: number) => Partial<WireEvent> = () => ({})) {
  return wireEvents(count, (i) => ({
    start_at: at(NOW - 10 * DAY_MS + i * HOUR_MS),
    ...overrides(i),
  }));
}

test.for<[string, (events: WireEvent[]) => Answer]>([
  ["that is wrongly empty", () => status(200, { entries: [], has_more: false })],
  ["that ends early", (all) => status(200, { entries: all.slice(0, 100), has_more: false })],
  [
    "with an entry that moves to a page that was already read",
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

test.for<[string, "removed" | "unlisted", number, number]>([
  ["lasts 60 days", "removed", -40, 20],
  ["lasts 60 days", "unlisted", -40, 20],
  ["was moved beyond 90 days", "removed", 120, 121],
  ["was moved beyond 90 days", "unlisted", 120, 121],
])("A missing event that %s is shown until it is %s", async ([, hidden, from, to]) => {
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

test("Missing events are checked if public in the window, or outside it and not over", async () => {
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
    // Nobody can see these, and the list will say when that changes.
    event("hidden, at the start of the window", "unlisted", after, NOW + DAY_MS),
    event("hidden, at the end of the window", "unlisted", before),
    // These are over and outside the window, or removed.
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
  // Upcoming events come first, in order of start.
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

test("A sync checks the 100 soonest missing events, and the next sync checks the rest", async () => {
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
  // The 47th request has only 6 s left.
  ["answers slowly", 47, 46],
  ["took all of the 7 minutes for the list", 0, 0],
])("Missing events wait for the next sync if lu.ma %s", async (row) => {
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
const undescribed = { description: undefined, description_md: undefined };
const edited = { description: "new" };
const secret = { visibility: "private", description: "secret" };
type Stored = { status?: Doc<"events">["status"]; title?: string; description?: string };
test.for<[string, Answer, Stored]>([
  ["400 in JSON", failure(400, "No."), { status: "removed" }],
  ["403 in JSON", failure(403, "No."), { status: "removed" }],
  ["404 in JSON", failure(404, "No."), { status: "removed" }],
  ["another event", given({ id: "evt-2" }), {}],
  ["an unreadable event", given({ ...secret, name: "" }), {}],
  ["a redirect", status(302, "", { location: "/" }), {}],
  ["422 in JSON", failure(422, "No."), {}],
  ["the event without a description", given(undescribed), {}],
  ["the event", given({ ...edited, name: "Renamed" }), { ...edited, title: "Renamed" }],
  ["a private event", given(secret), { status: "unlisted" }],
  [
    "a private event of unknown access",
    given({ ...secret, access: "none" }),
    { status: "unlisted" },
  ],
  ["an event without visibility", given({ ...edited, visibility: null }), { status: "unlisted" }],
  [
    "an event that moved to another calendar",
    given({ ...edited, calendar_id: "cal-9", access: null }),
    { status: "unlisted" },
  ],
  [
    "another calendar's event that this one manages, too",
    given({ ...edited, calendar_id: "cal-9" }),
    edited,
  ],
])("A missing event is stored as lu.ma's answer to its check says: %s", async (row) => {
  const [, answer, stored] = row;
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
  luma.answerNext(answer, { kind: "event" });
  const { updated, removed } = await sync();
  const { description = "old", ...fields } = stored;
  const after = await storedEvents(t);
  const syncedAt = after.get("evt-0")?.syncedAt;
  expect(after.get("evt-0")).toEqual({ ...before, ...fields, syncedAt });
  expect((await storedDescriptions(t)).get("evt-0")).toBe(description);
  const isRemoved = fields.status === "removed";
  expect(updated).toBe(Object.keys(fields).length > 0 && !isRemoved ? 1 : 0);
  // The next event is still checked.
  expect(removed).toBe(isRemoved ? 2 : 1);
  expect(after.get("evt-1")?.status).toBe("removed");
  expect((await getOrg()).eventsLastSynced).toBeGreaterThan(NOW);
  // Each is requested once, before the descriptions of listed events.
  expect(askedFor()).toEqual(["evt-0", "evt-1", "other"]);
});

test("A missing event that still exists is fetched once, with its description", async () => {
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

test("A missing event is checked at the older address if the list came from there", async () => {
  await startSynced(over(2));
  vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
  luma.setCalendar(KEY, over(1), []);
  expect(await sync()).toMatchObject({ removed: 1 });
  const ids = luma.requestsOf("event").map(({ query }) => query.get("api_id"));
  expect(ids).toEqual(["evt-0", "evt-1"]);
  expect(await statuses()).toEqual(["listed", "removed"]);
});

const again = (code: number) => status(code, "", { "retry-after": "1" });
/** Answers all requests for an event like this. */
const failFor = (eventId: string, answer: Answer) =>
  luma.failBetween(-Infinity, Infinity, answer, { eventId });
const NOT_CHECKED = "that lu.ma no longer lists could not be checked: ";
const RETRIED = / It will be retried automatically\.$/;

test.for<[string, Answer, why: string]>([
  ["503", again(503), "answered 503 for one event (4 attempts)"],
  ["a lost connection", reset, "for one event (4 attempts)"],
  ["no answer", silence, "gave no answer within 30 s for one event (4 attempts)"],
  ["HTML", status(404, "<h1>No</h1>"), "answered 404 for one event (1 attempt)"],
  ["401", failure(401, "No."), "answered 401 for one event (1 attempt)"],
])(
  "An event whose check fails (%s) is skipped, and its sync is stamped, described and retried",
  async ([, answer, why]) => {
    await startSynced([...over(3), aWireEvent({ id: "other" })]);
    setTime(NOW + HOUR_MS);
    luma.setCalendar(KEY, [aWireEvent({ id: "other", description: "edited" })]);
    luma.describeCalendar(KEY, { name: "Renamed" });
    failFor("evt-0", answer);
    // The description is fetched after the stamp, and before the sync ends.
    let meanwhile: Promise<unknown> = Promise.resolve();
    luma.answerNext(
      (response, request) => {
        meanwhile = getOrg();
        void luma.waitFor(meanwhile).then(() => luma.answer(response, request));
      },
      { eventId: "other" },
    );
    const { message, kind } = await failureOf(sync());
    expect(kind).toBe("transient");
    expect(message).toContain(`Organization "Acme" was synced, but 1 event ${NOT_CHECKED}`);
    expect(message).toContain(why);
    expect(message).toMatch(RETRIED);
    // The events after it were checked.
    expect(await statuses()).toEqual(["listed", "removed", "removed", "listed"]);
    const stamped = { eventsLastSynced: NOW + HOUR_MS, eventsSyncError: message };
    expect([await meanwhile, await getOrg()]).toMatchObject([stamped, stamped]);
    expect((await storedDescriptions(t)).get("other")).toBe("edited");
    const syncState = await t.run((ctx) => ctx.db.query("eventSyncs").first());
    expect(syncState?.calendar?.name).toBe("Renamed");

    luma.dropEvent("evt-0");
    luma.clearFailures();
    await passTime(31 * MINUTE_MS, luma.activity);
    expect(await statuses()).toEqual(["removed", "removed", "removed", "listed"]);
    const retriedAt = NOW + HOUR_MS + 30 * MINUTE_MS;
    expect((await getOrg()).eventsLastSynced).toBeGreaterThanOrEqual(retriedAt);
    expect(await getOrg()).not.toHaveProperty("eventsSyncError");
  },
);

test("Three mornings on which one event answers 503 are stamped, described and retried", async () => {
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

const IDS = over(5).map(({ id }) => id);
test.for<[string, failing: string[], Answer, unchecked: number, asked: string[]]>([
  ["stop after two failures in a row", ["evt-1", "evt-2"], status(404), 4, IDS.slice(0, 3)],
  ["go on after two separate failures", ["evt-1", "evt-3"], status(404), 2, [...IDS, "other"]],
  [
    "stop after a 429 that outlasts its retries",
    ["evt-1"],
    again(429),
    4,
    ["evt-0", ...Array<string>(4).fill("evt-1")],
  ],
])("The checks of missing events %s", async ([, failing, answer, unchecked, asked]) => {
  await startSynced([...over(5), aWireEvent({ id: "other" })]);
  luma.setCalendar(KEY, [aWireEvent({ id: "other" })]);
  for (const id of failing) failFor(id, answer);
  const { message } = await failureOf(sync());
  expect(message).toContain(`but ${unchecked} events ${NOT_CHECKED}`);
  // If the checks stop, descriptions aren't requested either.
  expect(askedFor()).toEqual(asked);
  const all = asked.includes("other") ? ["removed", "listed"] : ["listed", "listed"];
  const [evt0, , ...others] = await statuses();
  expect([evt0, others.at(0), others.at(-1)]).toEqual(["removed", ...all]);
});

test("A check and a description that fail in a row end all requests, too", async () => {
  await startSynced([...over(1), ...upcoming(3)]);
  luma.setCalendar(KEY, upcoming(3));
  for (const id of ["evt-0", "next-0"]) failFor(id, status(404));
  const { message } = await failureOf(sync());
  expect(message).toContain(`but 1 event ${NOT_CHECKED}`);
  expect(askedFor()).toEqual(["evt-0", "next-0"]);
});

test("An unusable answer doesn't end the checks, and doesn't make up for a failure", async () => {
  await startSynced([...over(4), aWireEvent({ id: "other" })]);
  luma.setCalendar(KEY, [aWireEvent({ id: "other" })]);
  failFor("evt-0", status(404));
  failFor("evt-1", failure(422, "No."));
  failFor("evt-2", failure(401, "No."));
  const { message } = await failureOf(sync());
  // Quotes the last failure.
  expect(message).toMatch(RegExp(`but 3 events ${NOT_CHECKED}\\S+ answered 401`));
  expect(askedFor()).toEqual(["evt-0", "evt-1", "evt-2"]);
});

test("A sync fetches 100 single events: first the missing ones, then descriptions", async () => {
  await startSynced([...over(70), ...upcoming(60)]);
  luma.setCalendar(KEY, upcoming(60));
  expect(await sync()).toMatchObject({ removed: 70 });
  const asked = askedFor();
  expect(asked).toHaveLength(100);
  expect(asked.slice(70)).toEqual(upcoming(30).map(({ id }) => id));
  expect(await getOrg()).not.toHaveProperty("eventsSyncError");
});

test("An event of another calendar isn't hidden if the key's own calendar is unknown", async () => {
  await startSynced(over(1));
  vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
  const moved = over(1, () => ({ calendar_id: "cal-9", access: null }));
  luma.setCalendar(KEY, moved, []);
  await sync();
  expect(await statuses()).toEqual(["listed"]);
});

test("A missing event stays as it is if a later sync begins during its check", async () => {
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
  ["leaves its event as it is, and doesn't have it fetched", [unreadable()], "listed"],
  ["without an id delays no removal", [unreadable({ id: "" }), ...over(1)], "listed"],
  ["that is private hides its event", [unreadable({ visibility: "private" })], "unlisted"],
  ["with an unknown visibility hides its event", [unreadable({ visibility: "odd" })], "unlisted"],
  ["without a visibility hides its event", [unreadable({ visibility: null })], "unlisted"],
  ["of another calendar hides its event", [unreadable({ access: "view" })], "unlisted"],
  ["that is not approved hides its event", [unreadable({ status: "pending" })], "unlisted"],
])("An unreadable entry %s", async ([, entries, expected]) => {
  await startSynced([...over(2), aWireEvent({ id: "other" })]);
  luma.setCalendar(KEY, [aWireEvent({ id: "other" }), ...entries]);
  for (let i = 0; i < 2; i += 1) {
    const updated = i === 0 && expected === "unlisted" ? 1 : 0;
    expect(await sync()).toMatchObject({ updated });
    expect(await statuses()).toEqual([expected, "removed", "listed"]);
    expect(askedFor()).toEqual(i === 0 ? ["evt-1", "other"] : ["other"]);
  }
});

test("A removed event stays removed if its entry is private and unreadable", async () => {
  await startSynced([aWireEvent({ id: "evt-0" }), aWireEvent({ id: "other" })]);
  luma.dropEvent("evt-0");
  await sync();
  const unreadable = aWireEvent({ id: "evt-0", name: "", visibility: "private" });
  luma.setCalendar(KEY, [unreadable, aWireEvent({ id: "other" })]);
  expect(await sync()).toMatchObject({ invalid: 1, updated: 0 });
  expect(await statuses()).toEqual(["removed", "listed"]);
});

test("If no entry can be read, private ones hide their events, and the sync fails", async () => {
  await startSynced(over(120));
  setTime(NOW + HOUR_MS);
  const hosts = routeLumaHosts(luma);
  // On two pages: the first entry is private, the second public, and the others have no id.
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
  expect(await getOrg()).toMatchObject({ eventsLastSynced: NOW, eventsSyncError: message });
});

test.for<[string, number | undefined, number]>([
  ["has never been synced", undefined, 30],
  ["was synced yesterday", 1, 31],
  ["was synced 100 days ago", 100, 130],
  ["was synced two years ago", 730, 365],
  ["was synced in the future", -10, 30],
])("The list of an organization that %s goes back $2 days", async ([, days, back]) => {
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

test("Events that were hidden while syncs paused are noticed, and older ones are kept", async () => {
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
