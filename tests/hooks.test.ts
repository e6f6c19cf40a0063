/** What an app fills in (orgs/app.ts), and whose calendar a key is said to be: through syncs and public queries. */
import { ConvexError } from "convex/values";
import { expect, vi } from "vitest";
import { api, internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import * as app from "../convex/orgs/app";
import { readSyncStatus } from "../convex/orgs/syncStatus";
import { aStoredEvent, aWireEvent, getOrg, insertOrg, storedEvents } from "./support/builders";
import { passTime } from "./support/clock";
import { startEngine, type Engine } from "./support/engine";
import { jobs, startFaultyEngine, type FaultyEngine } from "./support/faults";
import { failureOf, NOW, syncOrg, test } from "./support/fixtures";
import { endlessBody, failure, silence, status } from "./support/lumaServer";
import type { Answer, WireEvent } from "./support/lumaServer";
import { ownFieldsSchema } from "./support/ownFields";

vi.mock(import("../convex/orgs/app"), { spy: true });
const { toShownOrg, onEventsPublished } = vi.mocked(app);

const KEY = "secret-4711";
const HOUR_MS = 3_600_000;
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

const at = (hours: number) => new Date(NOW + hours * HOUR_MS).toISOString();
const event = (fields: Partial<WireEvent> = {}) =>
  aWireEvent({ start_at: at(24), end_at: at(26), ...fields });

async function dashboardOf(identity: { subject: string; issuer?: string }) {
  const { getDashboardEvents } = api.events.queries;
  return await t.withIdentity(identity).query(getDashboardEvents, { now: NOW });
}

/** An event of an organization, and a member. */
async function store(orgId: Id<"organizations">, lumaEventId: string, userId: string) {
  await t.run(async (ctx) => {
    await ctx.db.insert("events", aStoredEvent(orgId, { lumaEventId }));
    await ctx.db.insert("orgMemberships", { userId, orgId, role: "member" });
  });
}

/** Schedules one function. */
const notify: typeof app.onEventsPublished = async (ctx, { eventIds }) => {
  const { createOrg } = internal.orgs.createOrg;
  await ctx.scheduler.runAfter(0, createOrg, { name: eventIds.join() });
};
const notified = async () => (await jobs(t)).filter(({ name }) => name.includes("createOrg"));

const [hidden, over] = [{ visibility: "private" }, { start_at: at(-3), end_at: at(-1) }];
test.for<[string, WireEvent[][], string[]]>([
  ["events that are new", [[], [event(), event({ id: "evt-2" })]], ["evt-1", "evt-2"]],
  ["one that is on", [[], [event({ start_at: at(-1) })]], ["evt-1"]],
  ["one that was private", [[event(hidden)], [event()]], ["evt-1"]],
  ["one that was removed", [[event()], [], [event()]], ["evt-1"]],
  ["nothing that is private", [[], [event(hidden)]], []],
  ["nothing that is over", [[], [event(over)]], []],
  ["nothing that has begun without an end", [[], [event({ ...over, end_at: null })]], []],
  ["nothing over that was private", [[event({ ...over, ...hidden })], [event(over)]], []],
  ["nothing that changes", [[event()], [event({ name: "New", description: "New" })]], []],
  ["nothing that becomes private", [[event()], [event(hidden)]], []],
])("onEventsPublished is told of %s, at once", async ([, calendars, told], { luma }) => {
  for (const calendar of calendars) {
    expect(published).toEqual([]);
    luma.setCalendar(KEY, calendar);
    await syncOrg(t, luma, orgId);
  }
  expect(published).toEqual(told.length > 0 ? [told] : []);
});

test("onEventsPublished is told of no event of a key's first sync", async ({ luma }) => {
  const events = Array.from({ length: 300 }, (_, i) => event({ id: `evt-${i}` }));
  luma.setCalendar(KEY, events);
  let writes = 0;
  faulty.refuse(upsertEvents, () => (writes += 1) > 1 && writes < 5);
  expect(await failureOf(syncOrg(t, luma, orgId))).toMatchObject({ kind: "passing" });
  expect((await storedEvents(t)).size).toBe(100);
  expect(await syncOrg(t, luma, orgId)).toMatchObject({ inserted: 200 });
  luma.setCalendar(KEY, [...events, event({ id: "evt-new" })]);
  await syncOrg(t, luma, orgId);
  expect(published).toEqual([["evt-new"]]);
});

test.for<[string, string, string, boolean]>([
  ["the same key", KEY, KEY, true],
  ["another key", KEY, "secret-4712", false],
  ["the same variable, whose value may be another", "env:LUMA_API_KEY", "env:LUMA_API_KEY", false],
])("onEventsPublished is told of news when %s is set, or not", async (row, { luma }) => {
  const [, before, after, isTold] = row;
  vi.stubEnv("LUMA_API_KEY", KEY);
  for (const key of [KEY, "secret-4712"]) luma.setCalendar(key, [event()]);
  await t.mutation(setLumaConfig, { orgId, lumaApiKey: before });
  await passTime(HOUR_MS, luma.activity);
  for (const key of [KEY, "secret-4712"]) luma.setCalendar(key, [event(), event({ id: "evt-2" })]);
  await t.mutation(setLumaConfig, { orgId, lumaApiKey: after });
  await passTime(HOUR_MS, luma.activity);
  expect(published).toEqual(isTold ? [["evt-2"]] : []);
});

test("what onEventsPublished schedules runs once, though writes fail", async ({ luma }) => {
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
])("a sync whose onEventsPublished throws %s fails in passing", async (error, { luma }) => {
  await syncOrg(t, luma, orgId);
  let calls = 0;
  onEventsPublished.mockImplementation(async (...args) => {
    await notify(...args);
    if ((calls += 1) <= 3) throw error;
  });
  luma.setCalendar(KEY, [event()]);
  const { kind, message } = await failureOf(syncOrg(t, luma, orgId));
  expect([kind, calls]).toEqual(["passing", 3]);
  const said = String(error).replace(KEY, "[API key]");
  expect(message).toContain(` (onEventsPublished of orgs/app.ts failed: ${said})`);
  const org = { eventsSyncError: message, eventsLastSynced: NOW };
  expect(await getOrg(t, orgId)).toMatchObject(org);
  expect([(await storedEvents(t)).size, await notified()]).toEqual([0, []]);
  await passTime(HOUR_MS, luma.activity);
  expect([(await storedEvents(t)).size, await notified()]).toMatchObject([1, [{}]]);
});

test("a logo in Convex's storage is asked for once an organization of a dashboard", async () => {
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

const SITE = "https://acme.convex.site";
test.for<[string, string, string, string[]]>([
  ["Clerk", "https://acme.clerk.accounts.dev", "user_2a", ["user_2a"]],
  ["Auth0", "https://acme.eu.auth0.com/", "auth0|65f", ["auth0|65f"]],
  ["Convex Auth", SITE, "j57|k17", ["j57"]],
  ["better-auth", SITE, "k97", ["k97"]],
  ["whoever chooses subjects elsewhere", `${SITE}.example`, "alice|\n", ["alice|\n"]],
  ["a subject without a user", SITE, "|k17", ["|k17"]],
])("with %s, the signed-in person is the user and nobody else", async ([, issuer, subject, is]) => {
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
/** What the last line of the log says, and the status. */
const said = async () => {
  const line = String(vi.mocked(console.log).mock.lastCall?.[0]);
  return [/Calendar .*?\)\./.exec(line)?.[0], await calendarOf()];
};

test("a key's calendar is asked for once after the key is set, and kept", async ({ luma }) => {
  luma.setCalendar("key-2", []);
  const askedWith = () => luma.requestsOf("calendar").map(({ key }) => key);
  const setKey = async (lumaApiKey: string) => {
    await t.mutation(setLumaConfig, { orgId, lumaApiKey });
    expect(await calendarOf()).toBeNull();
    await passTime(HOUR_MS, luma.activity);
  };
  await setKey(KEY);
  for (let morning = 0; morning < 3; morning += 1) {
    await t.mutation(internal.events.sync.runFullEventSync, {});
    await passTime(HOUR_MS, luma.activity);
  }
  await syncOrg(t, luma, orgId);
  expect([luma.requestsOf("list").length, askedWith()]).toEqual([5, [KEY]]);
  expect(await said()).toEqual([SAID, BAISH]);
  const { page } = await t.query(internal.orgs.queries.getSyncStatus, {});
  expect(page).toMatchObject([{ calendar: BAISH }]);
  for (const key of [KEY, "key-2"]) await setKey(key);
  expect(askedWith()).toEqual([KEY, KEY, "key-2"]);
  expect(await calendarOf()).toEqual({ id: "cal-2", name: "Calendar 2" });
});

test.for<[string, Answer?]>([
  ["lu.ma answers 401", failure(401, "no")],
  ["lu.ma answers 500", status(500)],
  ["lu.ma answers nothing at all", silence],
  ["lu.ma answers half", endlessBody],
  ["lu.ma answers no calendar", status(200, {})],
  ["Convex does not keep it"],
])("a key's calendar is asked for at the next sync when %s", async ([, answer], { luma }) => {
  if (answer) luma.answerNext(answer, { kind: "calendar" });
  else faulty.refuse(internal.events.eventSyncs.recordCalendar);
  expect(await syncOrg(t, luma, orgId)).toMatchObject({ fetched: 0 });
  expect(Date.now() - NOW).toBeLessThanOrEqual(10_000);
  expect(await said()).toEqual([answer ? undefined : SAID, null]);
  expect(await getOrg(t, orgId)).toMatchObject({ eventsLastSynced: NOW });
  await syncOrg(t, luma, orgId);
  expect(await said()).toEqual([SAID, BAISH]);
});

test("the calendar is the new key's when the key is set while lu.ma answers", async ({ luma }) => {
  luma.setCalendar("key-2", []);
  const change = () => t.mutation(setLumaConfig, { orgId, lumaApiKey: "key-2" });
  const late: Answer = (...call) => void luma.waitFor(change().then(() => luma.answer(...call)));
  luma.answerNext(late, { kind: "calendar" });
  await syncOrg(t, luma, orgId);
  await passTime(HOUR_MS, luma.activity);
  expect(await calendarOf()).toEqual({ id: "cal-2", name: "Calendar 2" });
});
