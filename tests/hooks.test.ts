/** What an app fills in (lumaApp.ts), and which calendar a key belongs to, tested through syncs and public queries. */
import { ConvexError } from "convex/values";
import { expect, vi } from "vitest";
import { api, internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import { readSyncStatus } from "../convex/events/settings";
import * as app from "../convex/lumaApp";
import {
  aStoredEvent,
  aWireEvent,
  beginSync,
  getOrg,
  HOUR_MS,
  insertOrg,
  storedEvents,
  wireEvents,
} from "./support/builders";
import { passTime, setTime } from "./support/clock";
import { startEngine, type Engine } from "./support/engine";
import { jobs, startFaultyEngine, type FaultyEngine } from "./support/faults";
import { failureOf, NOW, syncOrg, test } from "./support/fixtures";
import { endlessBody, failure, OLDER_PATH, silence, status } from "./support/lumaServer";
import type { Answer, LumaServer, WireEvent } from "./support/lumaServer";
import { ownFieldsSchema } from "./support/ownFields";

vi.mock(import("../convex/lumaApp"), { spy: true });
const { toShownOrg, onEventsPublished } = vi.mocked(app);

const KEY = "secret-4711";
const BAISH = { id: "cal-0oFA", name: "BAISH" };
const { setLumaConfig } = internal.orgs.mutations;
const { upsertEvents } = internal.events.mutations;

/** The lu.ma ids of each call of onEventsPublished, as the app reads them in its transaction. */
let published: string[][];
let [t, faulty, orgId] = [] as unknown as [Engine, FaultyEngine, Id<"organizations">];
test.beforeEach(async ({ luma }) => {
  vi.resetAllMocks();
  vi.spyOn(console, "log").mockReturnValue();
  faulty = startFaultyEngine();
  t = faulty.t;
  orgId = await insertOrg(t, { lumaApiKey: KEY });
  luma.setCalendar(KEY, []);
  luma.describeCalendar(KEY, BAISH);
  published = [];
  onEventsPublished.mockImplementation(async (ctx, { orgId, eventIds }) => {
    const events = await Promise.all(eventIds.map((id) => ctx.db.get("events", id)));
    for (const one of events) expect(one).toMatchObject({ orgId, status: "listed" });
    published.push(events.map((one) => one?.lumaEventId ?? ""));
  });
});

const setKey = async (lumaApiKey: string | null) =>
  void (await t.mutation(setLumaConfig, { orgId, lumaApiKey }));
const writeKey = () =>
  t.run((ctx) => ctx.db.patch("organizations", orgId, { lumaApiKey: "key-2" }));

const at = (hours: number) => new Date(NOW + hours * HOUR_MS).toISOString();
const event = (fields: Partial<WireEvent> = {}) =>
  aWireEvent({ start_at: at(24), end_at: at(26), ...fields });

async function dashboardOf(identity: { subject: string; issuer?: string }) {
  const { getDashboardEvents } = api.events.queries;
  return await t.withIdentity(identity).query(getDashboardEvents, { now: NOW });
}

/** Stores an event and a member of an organization. */
async function store(orgId: Id<"organizations">, lumaEventId: string, userId: string) {
  await t.run(async (ctx) => {
    await ctx.db.insert("events", aStoredEvent(orgId, { lumaEventId }));
    await ctx.db.insert("orgMemberships", { userId, orgId, role: "member" });
  });
}

/** An onEventsPublished that schedules one function. */
const notify: typeof app.onEventsPublished = async (ctx, { eventIds }) => {
  await ctx.scheduler.runAfter(0, internal.organizations.create, { name: eventIds.join() });
};
const notified = async () =>
  (await jobs(t)).filter(({ name }) => name.includes("organizations:create"));

const [hidden, over] = [{ visibility: "private" }, { start_at: at(-3), end_at: at(-1) }];
test.for<[string, Partial<WireEvent>[][], string[]]>([
  ["is called once for all new events", [[], [{}, { id: "evt-2" }]], ["evt-1", "evt-2"]],
  ["is called for an event that is on now", [[], [{ start_at: at(-1) }]], ["evt-1"]],
  ["is called for an event that was private", [[hidden], [{}]], ["evt-1"]],
  ["is called for an event that was removed", [[{}], [], [{}]], ["evt-1"]],
  ["isn't called for a private event", [[], [hidden]], []],
  ["isn't called for an event that is over", [[], [over]], []],
  ["isn't called once an event without an end has begun", [[], [{ ...over, end_at: null }]], []],
  ["isn't called for a past event that becomes public", [[{ ...over, ...hidden }], [over]], []],
  ["isn't called for an edited event", [[{}], [{ name: "New", description: "New" }]], []],
  ["isn't called for an event that becomes private", [[{}], [hidden]], []],
])("onEventsPublished %s", async ([, calendars, expected], { luma }) => {
  for (const calendar of calendars) {
    expect(published).toEqual([]);
    luma.setCalendar(KEY, calendar.map(event));
    await syncOrg(t, luma, orgId);
  }
  expect(published).toEqual(expected.length > 0 ? [expected] : []);
});

test("onEventsPublished isn't called for a calendar's first sync, or its retry", async ({
  luma,
}) => {
  const events = wireEvents(300);
  luma.setCalendar(KEY, events);
  let writes = 0;
  faulty.refuse(upsertEvents, () => (writes += 1) > 1 && writes < 5);
  expect(await failureOf(syncOrg(t, luma, orgId))).toMatchObject({ kind: "transient" });
  expect((await storedEvents(t)).size).toBe(50);
  expect(await syncOrg(t, luma, orgId)).toMatchObject({ inserted: 250 });
  luma.setCalendar(KEY, [...events, event({ id: "evt-new" })]);
  await syncOrg(t, luma, orgId);
  expect(published).toEqual([["evt-new"]]);
});

const failLookup = (luma: LumaServer) => luma.answerNext(status(500), { kind: "calendar" });
const useOlderAddress = (luma: LumaServer) =>
  vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
const moveKey = (luma: LumaServer) => luma.describeCalendar(KEY, { id: "cal-2" });
test.for<["is" | "isn't", when: string, change: (luma: LumaServer) => unknown]>([
  ["is", "the same key is set again", () => setKey(KEY)],
  ["isn't", "another key of the calendar is written by hand", writeKey],
  [
    "isn't",
    "a key of another calendar is set",
    (luma) => {
      luma.describeCalendar("key-2", { id: "cal-2" });
      return setKey("key-2");
    },
  ],
  [
    "isn't",
    "another key is written by hand and set, and lu.ma doesn't say whose it is",
    async (luma) => {
      await writeKey();
      await setKey("key-2");
      failLookup(luma);
    },
  ],
  ["isn't", "the key now belongs to another calendar", moveKey],
  ["is", "the calendar was renamed", (luma) => luma.describeCalendar(KEY, { name: "Renamed" })],
  ["is", "lu.ma doesn't say whose key it is", failLookup],
  ["isn't", "the sync uses the older address", useOlderAddress],
])("onEventsPublished %s called for a new event if %s", async ([is, , change], { luma }) => {
  const setCalendars = (...ids: string[]) => {
    const events = ids.map((id) => event({ id }));
    for (const key of [KEY, "key-2"]) luma.setCalendar(key, events);
  };
  setCalendars("evt-1");
  luma.describeCalendar("key-2", BAISH);
  await setKey(KEY);
  await passTime(HOUR_MS, luma.activity);
  setCalendars("evt-1", "evt-2");
  await change(luma);
  await t.mutation(internal.events.sync.runFullEventSync, {});
  await passTime(HOUR_MS, luma.activity);
  expect((await storedEvents(t)).size).toBe(2);
  expect(published).toEqual(is === "is" ? [["evt-2"]] : []);
  // After one more sync, it is called again.
  vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url());
  await syncOrg(t, luma, orgId);
  setCalendars("evt-1", "evt-2", "evt-3");
  await syncOrg(t, luma, orgId);
  expect(published.at(-1)).toEqual(["evt-3"]);
});

test("onEventsPublished isn't called for an event that has only come within 90 days", async ({
  luma,
}) => {
  const [far, near] = [
    event({ id: "far", start_at: at(91 * 24), end_at: at(91 * 24 + 1) }),
    event({ id: "near" }),
  ];
  luma.setCalendar(KEY, [far]);
  await syncOrg(t, luma, orgId);
  expect((await storedEvents(t)).size).toBe(0);
  setTime(NOW + 3 * 24 * HOUR_MS);
  luma.setCalendar(KEY, [
    far,
    event({ id: "new", start_at: at(89 * 24), end_at: at(90 * 24) }),
    near,
  ]);
  await syncOrg(t, luma, orgId);
  expect((await storedEvents(t)).size).toBe(3);
  expect(published).toEqual([["new"]]);
});

test("onEventsPublished gets at most 50 events per call", async ({ luma }) => {
  await syncOrg(t, luma, orgId);
  luma.setCalendar(KEY, wireEvents(120));
  await syncOrg(t, luma, orgId);
  expect(published.map(({ length }) => length)).toEqual([50, 50, 20]);
});

test("What onEventsPublished schedules runs once, even if writes fail", async ({ luma }) => {
  await syncOrg(t, luma, orgId);
  onEventsPublished.mockImplementation(notify);
  luma.setCalendar(KEY, [event()]);
  faulty.refuse(upsertEvents);
  faulty.loseAnswer(upsertEvents);
  await syncOrg(t, luma, orgId);
  await passTime(HOUR_MS, luma.activity);
  expect(await notified()).toMatchObject([{ state: { kind: "success" } }]);
});

test.for([
  new Error(`no room near ${KEY}`),
  new ConvexError("nobody to write to"),
  new ConvexError({ message: "no", kind: "ended" }),
])("A sync is retried if onEventsPublished throws %s", async (error, { luma }) => {
  await syncOrg(t, luma, orgId);
  let calls = 0;
  onEventsPublished.mockImplementation(async (...args) => {
    await notify(...args);
    if ((calls += 1) <= 3) throw error;
  });
  luma.setCalendar(KEY, [event()]);
  const { kind, message } = await failureOf(syncOrg(t, luma, orgId));
  expect([kind, calls]).toEqual(["transient", 3]);
  const said = String(error).replace(KEY, "[API key]");
  expect(message).toContain(` (onEventsPublished in lumaApp.ts failed: ${said})`);
  const org = { eventsSyncError: message, eventsLastSynced: NOW };
  expect(await getOrg(t, orgId)).toMatchObject(org);
  expect([(await storedEvents(t)).size, await notified()]).toEqual([0, []]);
  await passTime(HOUR_MS, luma.activity);
  expect([(await storedEvents(t)).size, await notified()]).toMatchObject([1, [{}]]);
});

test("A dashboard looks up a logo in Convex's file storage once per organization", async () => {
  t = startEngine({}, ownFieldsSchema);
  toShownOrg.mockImplementation(async (ctx, org) => {
    const { own: logoId } = org as { own?: Id<"_storage"> };
    const logoUrl = logoId && ((await ctx.storage.getUrl(logoId)) ?? undefined);
    return { _id: org._id, name: org.name, logoUrl };
  });
  const logo = await t.run(({ storage }) => storage.store(new Blob(["logo"])));
  const url = await t.run(({ storage }) => storage.getUrl(logo));
  expect(url).toMatch(/^https?:/);
  for (const [name, own] of [["Mine", logo], ["Theirs", logo], ["Without"]] as const) {
    const orgId = await insertOrg(t, { name, own } as never);
    await store(orgId, `${name} 1`, name === "Mine" ? "user-1" : "user-2");
    await store(orgId, `${name} 2`, "user-3");
  }
  const { userOrgEvents, otherOrgEvents } = await dashboardOf({ subject: "user-1" });
  const orgs = [...userOrgEvents, ...otherOrgEvents].map(({ org }) => `${org.name} ${org.logoUrl}`);
  const all = [`Mine ${url}`, `Theirs ${url}`, "Without undefined"];
  expect(orgs).toEqual(all.flatMap((one) => [one, one]));
  const asked = toShownOrg.mock.calls.map(([, org]) => org.name);
  expect(asked).toEqual(["Mine", "Theirs", "Without"]);
});

test("An organization that toShownOrg hides from visitors is shown to its members", async () => {
  const hiddenId = await insertOrg(t, { name: "Private" });
  await store(hiddenId, "evt-hidden", "member");
  await store(orgId, "evt-shown", "member");
  toShownOrg.mockImplementation(async (ctx, org) => {
    const own = (await app.getOwnMemberships(ctx)) ?? [];
    const isMember = own.some((membership) => membership.orgId === org._id);
    return org.name === "Private" && !isMember ? null : { _id: org._id, name: org.name };
  });
  const { getOrgEvents } = api.events.queries;
  const pageOf = (viewer: Pick<Engine, "query">) =>
    viewer.query(getOrgEvents, { orgId: hiddenId, now: NOW });
  const [member, stranger] = ["member", "stranger"].map((subject) => t.withIdentity({ subject }));
  for (const viewer of [t, stranger!]) expect(await pageOf(viewer)).toBeNull();
  expect((await pageOf(member!))?.upcoming).toHaveLength(1);

  const names = (events: { org: { name: string } }[]) => events.map(({ org }) => org.name);
  const theirs = await dashboardOf({ subject: "member" });
  expect(names(theirs.userOrgEvents).sort()).toEqual(["Acme", "Private"]);
  const others = await dashboardOf({ subject: "stranger" });
  expect([names(others.userOrgEvents), names(others.otherOrgEvents)]).toEqual([[], ["Acme"]]);
  // The app may hide it from its members, too.
  toShownOrg.mockResolvedValue(null);
  expect(await dashboardOf({ subject: "member" })).toEqual({
    userOrgEvents: [],
    otherOrgEvents: [],
  });
});

test("Other organizations are still synced if getOrgName throws for one", async ({ luma }) => {
  await insertOrg(t, { name: "Broken", lumaApiKey: KEY });
  vi.mocked(app).getOrgName.mockImplementation(({ name }) => {
    if (name === "Broken") throw new Error("no profile");
    return name;
  });
  const { runFullEventSync } = internal.events.sync;
  expect(await t.mutation(runFullEventSync, {})).toMatchObject({ queued: 2 });
  await passTime(HOUR_MS, luma.activity);
  expect(luma.requestsOf("list")).toHaveLength(2);
});

const SITE = "https://acme.convex.site";
test.for<[string, string, string, string[]]>([
  ["Clerk", "https://acme.clerk.accounts.dev", "user_2a", ["user_2a"]],
  ["Auth0", "https://acme.eu.auth0.com/", "auth0|65f", ["auth0|65f"]],
  ["Convex Auth", SITE, "j57|k17", ["j57"]],
  ["better-auth", SITE, "k97", ["k97"]],
  ["another issuer", `${SITE}.example`, "alice|\n", ["alice|\n"]],
  ["a subject that begins with |", SITE, "|k17", ["|k17"]],
])("With %s, a dashboard shows exactly the member's events", async ([, issuer, subject, is]) => {
  vi.stubEnv("CONVEX_SITE_URL", SITE);
  const users = ["user_2a", "auth0", "auth0|65f", "j57", "k17", "j57|k17", "k97", "alice"];
  for (const user of [...users, "alice|\n", "", "|k17"]) {
    await store(await insertOrg(t, { name: user }), `evt-${user}`, user);
  }
  const { userOrgEvents } = await dashboardOf({ issuer, subject });
  expect(userOrgEvents.map(({ org }) => org.name)).toEqual(is);
});

const SAID = "Calendar BAISH (cal-0oFA).";
const calendarOf = async () => (await t.run((ctx) => readSyncStatus(ctx, orgId))).calendar;
/** The calendar according to the log's last line and to the status. */
const said = async () => {
  const line = String(vi.mocked(console.log).mock.lastCall?.[0]);
  return [/Calendar .*?\)\./.exec(line)?.[0], await calendarOf()];
};

test("A sync looks up the key's calendar once, between the list and its first write", async ({
  luma,
}) => {
  luma.setCalendar(KEY, [event()]);
  const before: number[] = [];
  const late: Answer = (...call) => {
    const count = storedEvents(t).then(({ size }) => void before.push(size));
    void luma.waitFor(count.then(() => luma.answer(...call)));
  };
  luma.answerNext(late, { kind: "calendar" });
  await syncOrg(t, luma, orgId);
  expect(luma.requests.map(({ kind }) => kind)).toEqual(["list", "calendar", "event"]);
  expect(before).toEqual([0]);
  expect(await said()).toEqual([SAID, BAISH]);
  const { page } = await t.query(internal.orgs.queries.getSyncStatus, {});
  expect(page).toMatchObject([{ calendar: BAISH }]);
});

test("The status shows the calendar that the last successful sync found", async ({ luma }) => {
  await syncOrg(t, luma, orgId);
  luma.describeCalendar(KEY, { name: "Renamed" });
  luma.answerNext(failure(401, "no"), { kind: "list" });
  await failureOf(syncOrg(t, luma, orgId));
  expect(await calendarOf()).toEqual(BAISH);
  await syncOrg(t, luma, orgId);
  expect(await calendarOf()).toEqual({ ...BAISH, name: "Renamed" });
  vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
  await syncOrg(t, luma, orgId);
  expect(await calendarOf()).toBeNull();
});

test.for<[what: string, expected: typeof BAISH | null, change: () => Promise<unknown>]>([
  ["keeps the calendar when the same key is set", BAISH, () => setKey(KEY)],
  ["forgets the calendar when another key is set", null, () => setKey("key-2")],
  ["forgets the calendar when the key is cleared", null, () => setKey(null)],
  [
    "forgets the calendar when a sync begins with another key that was written by hand",
    null,
    () => writeKey().then(() => beginSync(t, orgId)),
  ],
])("The status %s", async ([, expected, change], { luma }) => {
  await syncOrg(t, luma, orgId);
  await change();
  expect(await calendarOf()).toEqual(expected);
});

test.for<[string, Answer]>([
  ["a 401", failure(401, "no")],
  ["a 500", status(500)],
  ["nothing", silence],
  ["an endless body", endlessBody],
  ["no calendar", status(200, {})],
])(
  "A sync keeps the stored calendar if lu.ma answers its lookup with %s",
  async ([, answer], { luma }) => {
    luma.answerNext(answer, { kind: "calendar" });
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ fetched: 0 });
    expect(Date.now() - NOW).toBeLessThanOrEqual(10_000);
    expect(await said()).toEqual([undefined, null]);
    await syncOrg(t, luma, orgId);
    luma.answerNext(answer, { kind: "calendar" });
    await syncOrg(t, luma, orgId);
    expect(await said()).toEqual([SAID, BAISH]);
  },
);
