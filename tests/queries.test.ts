import { beforeEach, describe, expect, test } from "vitest";
import { api, internal } from "../convex/_generated/api";
import type { Doc, Id } from "../convex/_generated/dataModel";
import { aStoredEvent, DAY_MS, HOUR_MS, insertOrg } from "./support/builders";
import { startEngine, type Engine } from "./support/engine";

const NOW = Date.parse("2026-09-01T12:00:00.000Z");

let t: Engine;
let orgId: Id<"organizations">;
beforeEach(async () => {
  t = startEngine();
  orgId = await insertOrg(t, { name: "Acme", slug: "acme", logoUrl: "https://x.example/a.png" });
});

let inserted = 0;
/** Inserts events as they would be stored, named by their place in the list; each is another one of lu.ma's. */
async function insertEvents(...events: Partial<Doc<"events">>[]): Promise<void> {
  await t.run(async (ctx) => {
    for (const [index, overrides] of events.entries()) {
      const names = { lumaEventId: `evt-${inserted++}`, title: `Event ${index}` };
      const fields = { ...names, startAt: NOW + DAY_MS, url: "https://lu.ma/x", ...overrides };
      await ctx.db.insert("events", aStoredEvent(orgId, fields));
    }
  });
}

function times(count: number, toEvent: (index: number) => Partial<Doc<"events">>) {
  return Array.from({ length: count }, (_, index) => toEvent(index));
}

function titles(events: { title: string }[]): string[] {
  return events.map((event) => event.title);
}

describe("an organization's page", () => {
  async function page() {
    const result = await t.query(api.events.queries.getOrgEvents, { orgId, now: NOW });
    if (result === null) throw new Error("no page");
    return result;
  }

  test("of no organization is null", async () => {
    await t.run((ctx) => ctx.db.delete("organizations", orgId));
    expect(await t.query(api.events.queries.getOrgEvents, { orgId, now: NOW })).toBeNull();
  });

  test("without a key has the calendar to embed and nothing else", async () => {
    await t.run((ctx) =>
      ctx.db.patch("organizations", orgId, {
        lumaApiKey: undefined,
        lumaCalendarUrl: "https://lu.ma/acme",
      }),
    );
    expect(await page()).toEqual({
      calendarUrl: "https://lu.ma/acme",
      lastSyncedAt: null,
      upcoming: [],
      past: [],
    });
  });

  test("says when its events were last synced", async () => {
    await t.run((ctx) => ctx.db.patch("organizations", orgId, { eventsLastSynced: NOW - 5 }));
    expect(await page()).toMatchObject({ calendarUrl: null, lastSyncedAt: NOW - 5 });
  });

  test("shows of an event what visitors may see, and no more", async () => {
    await insertEvents({
      description: "d",
      endAt: NOW + 2 * DAY_MS,
      coverUrl: "https://x.example/c.png",
      location: "Berlin",
    });
    const [event] = (await page()).upcoming;
    expect(event).toEqual({
      _id: expect.any(String) as string,
      orgId,
      title: "Event 0",
      description: "d",
      startAt: NOW + DAY_MS,
      endAt: NOW + 2 * DAY_MS,
      timezone: "UTC",
      coverUrl: "https://x.example/c.png",
      url: "https://lu.ma/x",
      location: "Berlin",
      isVirtual: false,
    });
  });

  test("shows no description where lu.ma has none, or was not asked for it yet", async () => {
    await insertEvents({ description: "" }, {});
    for (const event of (await page()).upcoming) expect(event).not.toHaveProperty("description");
  });

  test("shows no unlisted, removed or foreign event", async () => {
    const otherId = await insertOrg(t, { name: "Other" });
    for (const startAt of [NOW + 1, NOW - DAY_MS]) {
      await insertEvents({ startAt, status: "unlisted" }, { startAt, status: "removed" });
      await insertEvents({ startAt, orgId: otherId });
    }
    expect(await page()).toMatchObject({ upcoming: [], past: [] });
  });

  test("lists what has not ended, soonest first, and what has, latest first", async () => {
    await insertEvents(
      { title: "next week", startAt: NOW + 7 * DAY_MS },
      { title: "tomorrow", startAt: NOW + DAY_MS },
      { title: "running", startAt: NOW - HOUR_MS, endAt: NOW + HOUR_MS },
      { title: "running for long", startAt: NOW - 3 * DAY_MS, endAt: NOW + 1 },
      { title: "starts now", startAt: NOW, endAt: NOW + HOUR_MS },
      { title: "ends now", startAt: NOW - 2 * HOUR_MS, endAt: NOW },
      { title: "starts now, without an end", startAt: NOW },
      { title: "last week", startAt: NOW - 7 * DAY_MS, endAt: NOW - 7 * DAY_MS + 1 },
      { title: "yesterday, without an end", startAt: NOW - DAY_MS },
    );
    const { upcoming, past } = await page();
    expect(titles(upcoming)).toEqual([
      "running for long",
      "running",
      "starts now",
      "tomorrow",
      "next week",
    ]);
    expect(titles(past)).toEqual([
      "starts now, without an end",
      "ends now",
      "yesterday, without an end",
      "last week",
    ]);
  });

  test("shows at most 50 upcoming and 20 past events", async () => {
    await insertEvents(...times(60, (i) => ({ title: `in ${i}`, startAt: NOW + 1 + i })));
    await insertEvents(...times(30, (i) => ({ title: `ago ${i}`, startAt: NOW - i - 1 })));
    const { upcoming, past } = await page();
    expect(titles(upcoming)).toEqual(Array.from({ length: 50 }, (_, i) => `in ${i}`));
    expect(titles(past)).toEqual(Array.from({ length: 20 }, (_, i) => `ago ${i}`));
  });

  test("shows tomorrow's evening however many long exhibitions are on", async () => {
    await insertEvents(...times(60, (i) => ({ startAt: NOW - i, endAt: NOW + (60 + i) * DAY_MS })));
    await insertEvents({ title: "evening" }, { title: "over", startAt: NOW - 2 * DAY_MS });
    const { upcoming, past } = await page();
    expect(upcoming.map((event) => event.startAt - NOW)).toEqual([
      ...Array.from({ length: 49 }, (_, i) => i - 48),
      DAY_MS,
    ]);
    expect(titles(past)).toEqual(["over"]);
  });

  test.for<[string, string | null]>([
    ["https://app.example/calendar", "https://app.example/calendar"],
    ["javascript:alert(1)", null],
    ["lu.ma/acme", null],
    ["", null],
  ])("has for the stored calendar URL %j the URL %j", async ([lumaCalendarUrl, shown]) => {
    await t.run((ctx) => ctx.db.patch("organizations", orgId, { lumaCalendarUrl }));
    expect((await page()).calendarUrl).toBe(shown);
  });
});

describe("a member's dashboard", () => {
  const member = { subject: "user-1" };

  async function dashboard(identity: { subject: string } | null = member) {
    const viewer = identity === null ? t : t.withIdentity(identity);
    return await viewer.query(api.events.queries.getDashboardEvents, { now: NOW });
  }

  async function join(id: Id<"organizations">, userId = "user-1"): Promise<void> {
    await t.run((ctx) => ctx.db.insert("orgMemberships", { userId, orgId: id, role: "member" }));
  }

  test("is empty for somebody who is not signed in", async () => {
    await insertEvents({});
    expect(await dashboard(null)).toEqual({ userOrgEvents: [], otherOrgEvents: [] });
  });

  test("shows the own organizations' events and, for discovery, those of the others", async () => {
    const otherId = await insertOrg(t, { name: "Other" });
    await join(orgId);
    await join(otherId, "user-2");
    await insertEvents({ title: "own" }, { title: "foreign", orgId: otherId });
    const { userOrgEvents, otherOrgEvents } = await dashboard();
    expect(userOrgEvents).toEqual([
      {
        _id: expect.any(String) as string,
        orgId,
        title: "own",
        startAt: NOW + DAY_MS,
        timezone: "UTC",
        url: "https://lu.ma/x",
        isVirtual: false,
        org: { _id: orgId, name: "Acme", slug: "acme", logoUrl: "https://x.example/a.png" },
      },
    ]);
    expect(titles(otherOrgEvents)).toEqual(["foreign"]);
    expect(otherOrgEvents[0]?.org).toEqual({ _id: otherId, name: "Other" });
  });

  test("shows no descriptions", async () => {
    const otherId = await insertOrg(t, { name: "Other" });
    await join(orgId);
    await insertEvents({ description: "d" }, { description: "d", orgId: otherId });
    const { userOrgEvents, otherOrgEvents } = await dashboard();
    for (const [event] of [userOrgEvents, otherOrgEvents]) {
      expect(event?.title).toBeDefined();
      expect(event).not.toHaveProperty("description");
    }
  });

  test("shows an event of two organizations once a list, and not as a discovery what is the member's own", async () => {
    const secondId = await insertOrg(t, { name: "Second" });
    const others = [await insertOrg(t, { name: "Third" }), await insertOrg(t, { name: "Fourth" })];
    await join(orgId);
    await join(secondId);
    const shared = { title: "own", lumaEventId: "evt-shared" };
    const elsewhere = { title: "elsewhere", lumaEventId: "evt-elsewhere" };
    await insertEvents(
      ...[orgId, secondId, ...others].map((id) => ({ ...shared, orgId: id })),
      ...others.map((id) => ({ ...elsewhere, orgId: id })),
    );
    const { userOrgEvents, otherOrgEvents } = await dashboard();
    expect(titles(userOrgEvents)).toEqual(["own"]);
    expect(titles(otherOrgEvents)).toEqual(["elsewhere"]);
    expect([userOrgEvents[0]?.org.name, otherOrgEvents[0]?.org.name]).toEqual(["Acme", "Third"]);
  });

  test("shows 50 events also when each of them stands in several calendars", async () => {
    const ids = [orgId, await insertOrg(t, { name: "Second" }), await insertOrg(t, { name: "3" })];
    const events = times(60, (i) => ({ lumaEventId: `evt-of-all-${i}`, startAt: NOW + 1 + i }));
    for (const id of ids) await insertEvents(...events.map((event) => ({ ...event, orgId: id })));
    const { otherOrgEvents } = await dashboard({ subject: "user-2" });
    for (const id of ids) await join(id);
    const { userOrgEvents } = await dashboard();
    for (const shown of [otherOrgEvents, userOrgEvents]) {
      const first50 = Array.from({ length: 50 }, (_, i) => NOW + 1 + i);
      expect(shown.map((event) => event.startAt)).toEqual(first50);
    }
  });

  test("shows an event that an organization that is gone had, too, as the living one's", async () => {
    const goneId = await insertOrg(t, { name: "Gone" });
    const shared = { title: "shared", lumaEventId: "evt-shared" };
    await insertEvents({ ...shared, orgId: goneId }, shared);
    await t.run((ctx) => ctx.db.delete("organizations", goneId));
    const { otherOrgEvents } = await dashboard({ subject: "user-2" });
    expect(otherOrgEvents).toMatchObject([{ orgId, title: "shared" }]);
  });

  test.for([
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    `https://x.example/${"x".repeat(2_000)}`,
  ])(
    "leaves out a logo that is no http(s) URL of at most 2,000 characters (%s)",
    async (logoUrl) => {
      await t.run((ctx) => ctx.db.patch("organizations", orgId, { logoUrl }));
      await insertEvents({});
      const { otherOrgEvents } = await dashboard();
      expect(otherOrgEvents[0]?.org).toEqual({ _id: orgId, name: "Acme", slug: "acme" });
    },
  );

  test("shows what is on and what starts in the next 30 days, in order of start, of all organizations", async () => {
    const secondId = await insertOrg(t, { name: "Second" });
    await join(orgId);
    await join(secondId);
    const at = (title: string, startAt: number, endAt?: number) => ({ title, startAt, endAt });
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
    const { otherOrgEvents } = await dashboard({ subject: "user-2" });
    for (const events of [userOrgEvents, otherOrgEvents]) {
      expect(titles(events)).toEqual(["a", "b", "c", "d"]);
    }
  });

  test("shows the first 50 to end: exhibitions do not hide an evening, nor events far ahead what is on", async () => {
    const otherId = await insertOrg(t, { name: "Other" });
    await join(orgId);
    for (const id of [orgId, otherId]) {
      const isOn = { startAt: NOW - DAY_MS, orgId: id };
      await insertEvents(
        ...times(60, (i) => ({ ...isOn, title: `${i}`, endAt: NOW + 89 * DAY_MS + i })),
        ...times(60, (i) => ({ orgId: id, startAt: NOW + 40 * DAY_MS + i })),
        { title: "evening", orgId: id },
      );
    }
    const { userOrgEvents, otherOrgEvents } = await dashboard();
    const shown = [...Array.from({ length: 49 }, (_, i) => `${i}`), "evening"];
    expect(titles(userOrgEvents)).toEqual(shown);
    expect(titles(otherOrgEvents)).toEqual(shown);
  });

  test("shows no unlisted or removed event, own or foreign", async () => {
    const otherId = await insertOrg(t, { name: "Other" });
    await join(orgId);
    await insertEvents({ status: "unlisted" }, { status: "removed" });
    await insertEvents(
      { status: "unlisted", orgId: otherId },
      { status: "removed", orgId: otherId },
    );
    expect(await dashboard()).toEqual({ userOrgEvents: [], otherOrgEvents: [] });
  });

  test("considers 50 memberships, each organization once", async () => {
    await join(orgId);
    await join(orgId);
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

  test("leaves out events of organizations that no longer exist", async () => {
    const goneId = await insertOrg(t, { name: "Gone" });
    await join(goneId);
    await insertEvents(
      { orgId: goneId, title: "orphan" },
      { title: "foreign", startAt: NOW + 2 * DAY_MS },
    );
    await t.run((ctx) => ctx.db.delete("organizations", goneId));
    const expected = { userOrgEvents: [], otherOrgEvents: [{ title: "foreign" }] };
    expect(await dashboard()).toMatchObject(expected);
    expect(await dashboard({ subject: "user-2" })).toMatchObject(expected);
  });
});

describe("the organizations to sync", () => {
  const { getOrgsWithLumaConfig } = internal.events.queries;

  test("are those that have a key: id and name, never the key", async () => {
    await insertOrg(t, { name: "Without", lumaApiKey: undefined });
    await insertOrg(t, { name: "Blank", lumaApiKey: " " });
    const { page, isDone } = await t.query(getOrgsWithLumaConfig, {});
    expect(page).toEqual([{ _id: orgId, name: "Acme" }]);
    expect(isDone).toBe(true);
  });

  test("come in pages, each once, also where organizations share a key", async () => {
    for (let i = 0; i < 9; i += 1) {
      await insertOrg(t, { name: `Org ${i}`, lumaApiKey: i < 6 ? "shared-secret" : `secret-${i}` });
    }
    const names: string[] = [];
    let cursor: string | null = null;
    for (let pages = 1; ; pages += 1) {
      const result: {
        page: { _id: Id<"organizations">; name: string }[];
        isDone: boolean;
        continueCursor: string;
      } = await t.query(getOrgsWithLumaConfig, { cursor, numItems: 4 });
      // The cursor is encrypted by Convex, and in the clear here.
      expect(JSON.stringify(result.page)).not.toMatch(/secret|key-of/);
      names.push(...result.page.map((org) => org.name));
      if (result.isDone) {
        expect(pages).toBe(3);
        break;
      }
      cursor = result.continueCursor;
    }
    expect(names.toSorted()).toEqual(["Acme", ...Array.from({ length: 9 }, (_, i) => `Org ${i}`)]);
  });
});

test("a sync is given the organization's events that were over at a time or later, whatever their status", async () => {
  const otherId = await insertOrg(t, { name: "Other" });
  await insertEvents(
    { title: "over before", startAt: NOW - 1 },
    { title: "over then", startAt: NOW },
    { title: "removed", startAt: NOW + 1, status: "removed" },
    { title: "foreign", startAt: NOW + 2, orgId: otherId },
    { title: "on", startAt: NOW - 40 * DAY_MS, endAt: NOW + DAY_MS - 1, status: "unlisted" },
    { title: "far ahead", startAt: NOW + 400 * DAY_MS },
  );
  const args = { orgId, overAfter: NOW, cursor: null };
  const { page, isDone } = await t.query(internal.events.queries.getStoredEvents, args);
  expect(titles(page)).toEqual(["over then", "removed", "on", "far ahead"]);
  expect(isDone).toBe(true);
});
