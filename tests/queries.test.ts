import { beforeEach, expect, test } from "vitest";
import { api, internal } from "../convex/_generated/api";
import type { Doc, Id } from "../convex/_generated/dataModel";
import { aStoredEvent, DAY_MS, HOUR_MS, insertDescribedEvent, insertOrg } from "./support/builders";
import { startEngine, type Engine } from "./support/engine";
import { NOW } from "./support/fixtures";

const { getOrgEvents, getDashboardEvents } = api.events.queries;
const { getOrgsWithLumaConfig, getStoredEvents } = internal.events.queries;

let t: Engine;
let orgId: Id<"organizations">;
beforeEach(async () => {
  t = startEngine();
  orgId = await insertOrg(t, { name: "Acme", slug: "acme", logoUrl: "https://x.example/a.png" });
});

let inserted = 0;
/** Inserts events of different lu.ma ids, titled by their place in the list. */
async function insertEvents(...events: Partial<Doc<"events">>[]): Promise<void> {
  await t.run(async (ctx) => {
    for (const [index, overrides] of events.entries()) {
      const names = { lumaEventId: `evt-${inserted++}`, title: `Event ${index}` };
      const fields = { ...names, startAt: NOW + DAY_MS, url: "https://lu.ma/x", ...overrides };
      await ctx.db.insert("events", aStoredEvent(orgId, fields));
    }
  });
}

const at = (title: string, startAt: number, endAt?: number) => ({ title, startAt, endAt });

function times<T>(count: number, toItem: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => toItem(index));
}

function titles(events: { title: string }[]): string[] {
  return events.map((event) => event.title);
}

async function patchOrg(fields: Partial<Doc<"organizations">>): Promise<void> {
  await t.run((ctx) => ctx.db.patch("organizations", orgId, fields));
}

async function page() {
  const result = await t.query(getOrgEvents, { orgId, now: NOW });
  if (result === null) throw new Error("no page");
  return result;
}

/** The dashboard of whoever is signed in; `null` is nobody. */
async function dashboard(subject: string | null = "user-1") {
  const viewer = subject === null ? t : t.withIdentity({ subject });
  return await viewer.query(getDashboardEvents, { now: NOW });
}

async function join(id: Id<"organizations">, userId = "user-1"): Promise<void> {
  await t.run((ctx) => ctx.db.insert("orgMemberships", { userId, orgId: id, role: "member" }));
}

const _id = expect.any(String) as string;
const hidden = [{ status: "unlisted" }, { status: "removed" }] as const;

test("The page of a deleted organization is null", async () => {
  await t.run((ctx) => ctx.db.delete("organizations", orgId));
  expect(await t.query(getOrgEvents, { orgId, now: NOW })).toBeNull();
});

test("The page of an organization without a key has only the calendar to embed", async () => {
  const calendarUrl = "https://lu.ma/acme";
  await patchOrg({ lumaApiKey: undefined, lumaCalendarUrl: calendarUrl });
  expect(await page()).toEqual({ calendarUrl, lastSyncedAt: null, upcoming: [], past: [] });
});

test("A page shows when it was last synced, and what visitors may see of an event", async () => {
  await patchOrg({ eventsLastSynced: NOW - 5 });
  const coverUrl = "https://x.example/c.png";
  const shown = { endAt: NOW + 2 * DAY_MS, coverUrl, location: "Berlin" };
  const [startAt, url, title] = [NOW + DAY_MS, "https://lu.ma/x", "Party"];
  await insertDescribedEvent(t, orgId, { ...shown, title, startAt, url, text: "d" });
  const event = { ...shown, _id, orgId, title, startAt, timezone: "UTC", url };
  const upcoming = [{ ...event, isVirtual: false, description: "d" }];
  expect(await page()).toEqual({ calendarUrl: null, lastSyncedAt: NOW - 5, upcoming, past: [] });
});

test("An event without a description, or not described yet, is shown without one", async () => {
  await insertEvents({ isDescribed: true }, {});
  const { upcoming } = await page();
  expect(upcoming.map((event) => "description" in event)).toEqual([false, false]);
});

test("A page shows no event that is unlisted, removed or another organization's", async () => {
  const otherId = await insertOrg(t, { name: "Other" });
  for (const startAt of [NOW + 1, NOW - DAY_MS]) {
    const events = [...hidden, { orgId: otherId }].map((event) => ({ ...event, startAt }));
    await insertEvents(...events);
  }
  expect(await page()).toMatchObject({ upcoming: [], past: [] });
});

test("A page lists upcoming events, soonest first, and past ones, latest first", async () => {
  await insertEvents(
    at("next week", NOW + 7 * DAY_MS),
    at("tomorrow", NOW + DAY_MS),
    at("running", NOW - HOUR_MS, NOW + HOUR_MS),
    at("running for long", NOW - 3 * DAY_MS, NOW + 1),
    at("starts now", NOW, NOW + HOUR_MS),
    at("ends now", NOW - 2 * HOUR_MS, NOW),
    at("starts now, without an end", NOW),
    at("last week", NOW - 7 * DAY_MS, NOW - 7 * DAY_MS + 1),
    at("yesterday, without an end", NOW - DAY_MS),
  );
  const { upcoming, past } = await page();
  const running = ["running for long", "running"];
  expect(titles(upcoming)).toEqual([...running, "starts now", "tomorrow", "next week"]);
  const over = ["starts now, without an end", "ends now"];
  expect(titles(past)).toEqual([...over, "yesterday, without an end", "last week"]);
});

test.for<[string, string | null]>([
  ["https://app.example/calendar", "https://app.example/calendar"],
  ["javascript:alert(1)", null],
  ["lu.ma/acme", null],
  ["", null],
])("A page shows the stored calendar URL %j as %j", async ([lumaCalendarUrl, shown]) => {
  await patchOrg({ lumaCalendarUrl });
  expect((await page()).calendarUrl).toBe(shown);
});

test("A dashboard is empty if nobody is signed in", async () => {
  await insertEvents({});
  expect(await dashboard(null)).toEqual({ userOrgEvents: [], otherOrgEvents: [] });
});

test("A dashboard separates a member's own events from others, without descriptions", async () => {
  const otherId = await insertOrg(t, { name: "Other" });
  await join(orgId);
  await join(otherId, "user-2");
  const startAt = NOW + DAY_MS;
  const stored = { startAt, url: "https://lu.ma/x", text: "d" };
  await insertDescribedEvent(t, orgId, { ...stored, title: "own" });
  const elsewhere = { ...stored, title: "elsewhere", lumaEventId: "evt-2" };
  await insertDescribedEvent(t, otherId, elsewhere);
  const event = { _id, startAt, timezone: "UTC", url: "https://lu.ma/x", isVirtual: false };
  const org = { _id: orgId, name: "Acme", slug: "acme", logoUrl: "https://x.example/a.png" };
  const other = { _id: otherId, name: "Other" };
  expect(await dashboard()).toEqual({
    userOrgEvents: [{ ...event, orgId, title: "own", org }],
    otherOrgEvents: [{ ...event, orgId: otherId, title: "elsewhere", org: other }],
  });
});

test("A dashboard shows a shared event once, as the member's own if it is one", async () => {
  const secondId = await insertOrg(t, { name: "Second" });
  const others = [await insertOrg(t, { name: "Third" }), await insertOrg(t, { name: "Fourth" })];
  for (const id of [orgId, secondId]) await join(id);
  const shared = { title: "own", lumaEventId: "evt-shared" };
  const elsewhere = { title: "elsewhere", lumaEventId: "evt-elsewhere" };
  await insertEvents(
    ...[orgId, secondId, ...others].map((id) => ({ ...shared, orgId: id })),
    ...others.map((id) => ({ ...elsewhere, orgId: id })),
  );
  expect(await dashboard()).toMatchObject({
    userOrgEvents: [{ title: "own", org: { name: "Acme" } }],
    otherOrgEvents: [{ title: "elsewhere", org: { name: "Third" } }],
  });
});

test("A dashboard shows 50 events even if each is on several calendars", async () => {
  const ids = [orgId, await insertOrg(t, { name: "Second" }), await insertOrg(t, { name: "3" })];
  const events = times(60, (i) => ({ lumaEventId: `evt-of-all-${i}`, startAt: NOW + 1 + i }));
  for (const id of ids) await insertEvents(...events.map((event) => ({ ...event, orgId: id })));
  const { otherOrgEvents } = await dashboard("user-2");
  for (const id of ids) await join(id);
  const { userOrgEvents } = await dashboard();
  for (const shown of [otherOrgEvents, userOrgEvents]) {
    expect(shown.map((event) => event.startAt)).toEqual(times(50, (i) => NOW + 1 + i));
  }
});

test("A dashboard shows a deleted organization's event only if it is another's, too", async () => {
  const goneId = await insertOrg(t, { name: "Gone" });
  await join(goneId);
  const shared = { title: "shared", lumaEventId: "evt-shared" };
  await insertEvents({ ...shared, orgId: goneId }, shared, { title: "orphan", orgId: goneId });
  await t.run((ctx) => ctx.db.delete("organizations", goneId));
  for (const user of ["user-1", "user-2"]) {
    const otherOrgEvents = [{ orgId, title: "shared" }];
    expect(await dashboard(user)).toMatchObject({ userOrgEvents: [], otherOrgEvents });
  }
});

test.for([
  "data:image/png;base64,AAAA",
  "javascript:alert(1)",
  `https://x.example/${"x".repeat(2_000)}`,
])("A dashboard leaves out a logo whose URL is too long or not http(s) (%s)", async (logoUrl) => {
  await patchOrg({ logoUrl });
  await insertEvents({});
  const { otherOrgEvents } = await dashboard();
  expect(otherOrgEvents[0]?.org).toEqual({ _id: orgId, name: "Acme", slug: "acme" });
});

test("A dashboard shows events that are on or start within 30 days, in order of start", async () => {
  const secondId = await insertOrg(t, { name: "Second" });
  for (const id of [orgId, secondId]) await join(id);
  await insertEvents(
    at("d", NOW + 30 * DAY_MS, NOW + 31 * DAY_MS),
    at("too late", NOW + 30 * DAY_MS + 1),
    at("over", NOW - 1),
    at("over now", NOW - HOUR_MS, NOW),
    at("starts now, without an end", NOW),
    { ...at("b", NOW, NOW + 1), orgId: secondId },
    at("a", NOW - 40 * DAY_MS, NOW + 40 * DAY_MS),
    at("c", NOW + 1),
  );
  const { userOrgEvents } = await dashboard();
  const { otherOrgEvents } = await dashboard("user-2");
  const expected = ["a", "b", "c", "d"];
  for (const events of [userOrgEvents, otherOrgEvents]) expect(titles(events)).toEqual(expected);
});

test("A dashboard shows no unlisted or removed event of any organization", async () => {
  const otherId = await insertOrg(t, { name: "Other" });
  await join(orgId);
  await insertEvents(...hidden, ...hidden.map((event) => ({ ...event, orgId: otherId })));
  expect(await dashboard()).toEqual({ userOrgEvents: [], otherOrgEvents: [] });
});

test("A dashboard uses 50 memberships, and shows no organization's events twice", async () => {
  for (const id of [orgId, orgId]) await join(id);
  await insertEvents({ title: "once" });
  expect(titles((await dashboard()).userOrgEvents)).toEqual(["once"]);
  for (let i = 0; i < 49; i += 1) {
    const id = await insertOrg(t, { name: `Org ${i}` });
    await join(id);
    await insertEvents({ title: `of ${i}`, orgId: id });
  }
  const { userOrgEvents, otherOrgEvents } = await dashboard();
  expect(userOrgEvents).toHaveLength(49);
  expect(titles(otherOrgEvents)).toEqual(["of 48"]);
});

test("The organizations to sync are those with a key, which itself isn't returned", async () => {
  await insertOrg(t, { name: "Without", lumaApiKey: undefined });
  await insertOrg(t, { name: "Blank", lumaApiKey: " " });
  const { page, isDone } = await t.query(getOrgsWithLumaConfig, {});
  expect([page, isDone]).toEqual([[{ _id: orgId, name: "Acme" }], true]);
});

test("The organizations to sync come in pages, each once, even if they share a key", async () => {
  for (let i = 0; i < 9; i += 1) {
    await insertOrg(t, { name: `Org ${i}`, lumaApiKey: i < 6 ? "shared-secret" : `secret-${i}` });
  }
  const names: string[] = [];
  let cursor: string | null = null;
  for (const isLast of [false, false, true]) {
    const options: { cursor: string | null; numItems: number } = { cursor, numItems: 4 };
    const { page, isDone, continueCursor } = await t.query(getOrgsWithLumaConfig, options);
    names.push(...page.map((org) => org.name));
    expect(isDone).toBe(isLast);
    cursor = continueCursor;
  }
  expect(names.toSorted()).toEqual(["Acme", ...times(9, (i) => `Org ${i}`)]);
});

test("A sync reads the organization's events that are over at a time or later", async () => {
  const otherId = await insertOrg(t, { name: "Other" });
  await insertEvents(
    at("over before", NOW - 1),
    at("over then", NOW),
    { ...at("removed", NOW + 1), status: "removed" },
    { ...at("elsewhere", NOW + 2), orgId: otherId },
    { ...at("on", NOW - 40 * DAY_MS, NOW + DAY_MS - 1), status: "unlisted" },
    at("far ahead", NOW + 400 * DAY_MS),
  );
  const args = { orgId, overAfter: NOW, cursor: null };
  const { page, isDone } = await t.query(getStoredEvents, args);
  expect(titles(page)).toEqual(["over then", "removed", "on", "far ahead"]);
  expect(isDone).toBe(true);
});
