/** What a sync, a page and a dashboard cost in requests, and in documents read and written. */
import { afterEach, expect } from "vitest";
import { api, internal } from "../convex/_generated/api";
import type { Id, TableNames } from "../convex/_generated/dataModel";
import { aStoredEvent, DAY_MS, HOUR_MS, insertOrg, wireEvents } from "./support/builders";
import { passTime } from "./support/clock";
import { startCountedEngine, type CountedEngine } from "./support/counting";
import { NOW, reasonOf, syncOrg, test } from "./support/fixtures";
import { failure, type LumaServer } from "./support/lumaServer";
import { ownFieldsSchema } from "./support/ownFields";

const KEY = "key-1";
const MEMBER = "user-1";
const MIB = 1024 * 1024;
const KB_TEXT = "x".repeat(1_000);

let luma: LumaServer;
let counted: CountedEngine;
let orgId: Id<"organizations">;
/** Organizations without a key. */
let hosts: Id<"organizations">[];
const HOSTS = 60;
test.beforeEach(async ({ luma: given }) => {
  luma = given;
  counted = startCountedEngine();
  orgId = await insertOrg(counted.t, { lumaApiKey: KEY });
  hosts = [];
  for (let i = 0; i < HOSTS; i += 1) {
    hosts.push(await insertOrg(counted.t, { name: `Host ${i}`, lumaApiKey: undefined }));
  }
});
afterEach(() => counted.stop());

/** Syncs once, and returns what it cost. */
async function costOfSync() {
  // HTTP would take real time.
  luma.stubFetch();
  counted.reset();
  luma.requests.length = 0;
  await sync();
  // Includes what the alarm does later.
  await passTime();
  const [pages, singles] = [luma.requestsOf("list").length, luma.requestsOf("event").length];
  return { ...counted.counts, requests: luma.requests.length, pages, singles };
}

const sync = () => syncOrg(counted.t, luma, orgId);

/** Syncs a calendar once. */
async function syncCalendar(events: ReturnType<typeof calendar>): Promise<void> {
  luma.setCalendar(KEY, events);
  await costOfSync();
}

/** Stores all descriptions, as many syncs would. */
async function describeAll(): Promise<void> {
  await counted.t.run(async (ctx) => {
    const described = await ctx.db.query("eventDescriptions").collect();
    const known = new Set(described.map(({ eventId }) => eventId));
    for (const { _id: eventId } of await ctx.db.query("events").collect()) {
      await ctx.db.patch("events", eventId, { isDescribed: true });
      if (known.has(eventId)) continue;
      await ctx.db.insert("eventDescriptions", { eventId, orgId, text: KB_TEXT });
    }
  });
}

function calendar(count: number, description: string, renamed = 0, now = NOW) {
  return wireEvents(count, (i) => ({
    start_at: new Date(now + DAY_MS + i).toISOString(),
    description,
    description_md: "",
    ...(i < renamed ? { name: `Renamed ${i}` } : {}),
  }));
}

test("The first sync of 1,000 events writes each once, and 100 again to describe them", async () => {
  luma.setCalendar(KEY, calendar(1_000, KB_TEXT));
  const cost = await costOfSync();
  expect(cost).toMatchObject({
    pages: 10,
    singles: 100,
    // The last one is for the key's calendar.
    requests: 10 + 100 + 1,
    queries: 3,
    // Begin, write 20 times 50 events, stamp, write 10 times 10 descriptions, and end.
    mutations: 1 + 20 + 1 + 10 + 1,
    mostEventsInAMutation: 50,
    // An event is read when its description is written.
    eventsRead: 100,
    eventsWritten: 1_000 + 100,
    // The key is moved, and the sync is stamped.
    organizationsWritten: 2,
    documentsWritten: 1_000 + 100 + 100 + 8,
  });
  expect(cost.largestMutationBytes).toBeLessThan(MIB);
});

test("A sync of unchanged events reads each once, 100 twice, and writes five documents", async () => {
  for (const count of [100, 1_000]) {
    await syncCalendar(calendar(count, KB_TEXT));
    await describeAll();
    const cost = await costOfSync();
    expect(cost).toMatchObject({
      pages: count / 100,
      singles: 100,
      requests: count / 100 + 100 + 1,
      // Begin, stamp, compare 10 times 10 descriptions, and end.
      mutations: 1 + 1 + 10 + 1,
      eventsRead: count + 100,
      eventsWritten: 0,
      organizationsWritten: 1,
      documentsWritten: 5,
    });
  }
});

test("If 10 of 1,000 events have changed, a sync sends and writes only those", async () => {
  await syncCalendar(calendar(1_000, KB_TEXT));
  await describeAll();
  luma.setCalendar(KEY, calendar(1_000, KB_TEXT, 10));
  expect(await costOfSync()).toMatchObject({
    mutations: 1 + 1 + 1 + 10 + 1,
    mostEventsInAMutation: 10,
    eventsRead: 1_000 + 10 + 100,
    eventsWritten: 10,
    documentsWritten: 5 + 10,
  });
});

test("An edited description costs one write, and doesn't write its event", async () => {
  await syncCalendar(calendar(100, KB_TEXT));
  const [first, ...others] = calendar(100, KB_TEXT);
  luma.setCalendar(KEY, [{ ...first!, description: "edited" }, ...others]);
  expect(await costOfSync()).toMatchObject({ eventsWritten: 0, documentsWritten: 5 + 1 });
});

test("A failure that lasts for days is written once", async () => {
  await syncCalendar([]);
  luma.failBetween(-Infinity, Infinity, failure(401, "No."));
  const failed = async () => {
    counted.reset();
    await reasonOf(sync());
    return counted.counts.organizationsWritten;
  };
  expect(await failed()).toBe(1);
  expect(await failed()).toBe(0);
});

test("Each event that is gone costs a request, a read and a write, at most 100 a sync", async () => {
  const all = calendar(1_000, KB_TEXT);
  await syncCalendar(all);
  await describeAll();
  // How many events are gone, and how many of them each sync checks.
  for (const { gone, checks } of [
    { gone: 10, checks: [10, 0] },
    { gone: 310, checks: [100, 100, 100, 0] },
  ]) {
    luma.setCalendar(KEY, all.slice(gone));
    for (const checked of checks) {
      const described = 100 - checked;
      expect(await costOfSync()).toMatchObject({
        // Checks and descriptions share the 100 requests.
        requests: Math.ceil((1_000 - gone) / 100) + 100 + 1,
        eventsRead: 1_000 + checked + described,
        eventsWritten: checked,
        documentsWritten: 5 + checked,
      });
    }
  }
});

test("9,000 stored events are compared without a list that is too long for Convex", async () => {
  await counted.t.run(async (ctx) => {
    for (let i = 0; i < 9_000; i += 1) {
      const event = { lumaEventId: `evt-${i}`, startAt: NOW + DAY_MS + i };
      await ctx.db.insert("events", aStoredEvent(orgId, event));
    }
  });
  luma.setCalendar(KEY, []);
  const { longestList, eventsRead, eventsWritten } = await costOfSync();
  // All are read to be compared, and 100 again to be removed.
  expect([eventsRead, eventsWritten]).toEqual([9_000 + 100, 100]);
  expect(longestList).toBeGreaterThanOrEqual(100);
  expect(longestList).toBeLessThanOrEqual(8_192);
});

// The largest texts of their length: 3 bytes per character in UTF-8, and 6 in JSON.
const CHINESE = "語".repeat(20_000);
const CONTROL = "\u0001".repeat(20_000);
test("200 events with the longest descriptions stay inside Convex's limits, whatever changes", async () => {
  type Events = ReturnType<typeof calendar>;
  const steps: { step: string; events: Events; listed?: Events; written: number }[] = [
    { step: "first", events: calendar(200, CHINESE), written: 200 + 100 },
    { step: "the other descriptions", events: calendar(200, CHINESE), written: 100 },
    { step: "unchanged", events: calendar(200, CHINESE), written: 0 },
    { step: "all renamed", events: calendar(200, CHINESE, 200), written: 200 },
    { step: "other descriptions", events: calendar(200, CONTROL, 200), written: 0 },
    { step: "none in the list", events: calendar(200, CHINESE), listed: [], written: 100 },
    { step: "100 removed", events: [], written: 100 },
  ];
  for (const { step, events, listed, written } of steps) {
    luma.setCalendar(KEY, events, listed);
    const cost = await costOfSync();
    expect(cost.eventsWritten, step).toBe(written);
    expect(cost.largestMutationBytes, step).toBeLessThan(2 * MIB);
  }
});

test("Finding the organizations to sync reads only those with a key", async () => {
  const { t, counts } = counted;
  await t.run(async (ctx) => {
    for (let i = 1; i < 250; i += 1) {
      await ctx.db.insert("organizations", { name: `Org ${i}`, lumaApiKey: `key-${1_000 + i}` });
      for (let n = 0; n < 9; n += 1) await ctx.db.insert("organizations", { name: "Without" });
    }
  });
  counted.reset();
  const { getOrgsWithLumaConfig } = internal.events.queries;
  let last: { isDone: boolean; continueCursor: string | null } | undefined;
  while (last?.isDone !== true) {
    const cursor: string | null = last?.continueCursor ?? null;
    last = await t.query(getOrgsWithLumaConfig, { cursor, numItems: 100 });
  }
  expect(counts.queries).toBe(3);
  expect(counts.documentsRead).toBe(250);
});

type Status = "listed" | "unlisted" | "removed";
/** Inserts events for one host after another, half of them before now. */
async function insertEvents(count: number, status: Status, among = HOSTS): Promise<void> {
  await counted.t.run(async (ctx) => {
    for (let i = 0; i < count; i += 1) {
      const sign = Math.floor(i / among) % 2 === 0 ? 1 : -1;
      const startAt = NOW + sign * (1 + (i % 29) * DAY_MS + i);
      const event = { lumaEventId: `evt-${status}-${i}`, startAt, status };
      await ctx.db.insert("events", aStoredEvent(hosts[i % among]!, event));
    }
  });
  counted.reset();
}

/** The length of each list for a member of the first `own` hosts, and how many events and documents were read. */
async function readDashboard(own = 0): Promise<number[]> {
  const [subject, { t, counts, reset }] = [MEMBER, counted];
  await t.run(async (ctx) => {
    for (const orgId of hosts.slice(0, own)) {
      await ctx.db.insert("orgMemberships", { userId: subject, orgId, role: "member" });
    }
  });
  reset();
  const viewer = t.withIdentity({ subject });
  const shown = await viewer.query(api.events.queries.getDashboardEvents, { now: NOW });
  const lengths = [shown.userOrgEvents.length, shown.otherOrgEvents.length];
  return [...lengths, counts.eventsRead, counts.documentsRead];
}

const page = () => counted.t.query(api.events.queries.getOrgEvents, { orgId: hosts[0]!, now: NOW });

test("A page reads only the events that it shows and those of the last day, not hidden ones", async () => {
  await insertEvents(3_000, "unlisted", 1);
  await insertEvents(1_000, "removed", 1);
  await page();
  expect(counted.counts.documentsRead).toBe(1);
  await insertEvents(1_000, "listed", 1);
  await describeAll();
  counted.reset();
  const shown = await page();
  expect([shown?.upcoming.length, shown?.past.length]).toEqual([50, 20]);
  // Events that began within the last day may be on.
  const begun = counted.counts.eventsRead - 70;
  expect(begun).toBeLessThanOrEqual(35);
  expect(counted.counts.documentsRead).toBe(1 + 70 + begun + 70);
});

test("A page reads at most 500 upcoming events, whether they are on, long or next", async () => {
  await counted.t.run(async (ctx) => {
    const insert = (index: number, event: object) =>
      ctx.db.insert("events", aStoredEvent(hosts[0]!, { lumaEventId: `evt-${index}`, ...event }));
    for (let i = 0; i < 400; i += 1) {
      // Long events are skipped among those that start next.
      await insert(i, { startAt: NOW + 1 + i, endAt: NOW + 9 * DAY_MS });
      // These began within the last day, and are over.
      await insert(1_000 + i, { startAt: NOW - 1 - i });
    }
  });
  counted.reset();
  const shown = await page();
  expect(shown?.upcoming).toHaveLength(50);
  // 50 long ones that are shown, 100 that are over, 300 long ones that are skipped, and 20 past ones.
  expect(counted.counts.eventsRead).toBe(50 + 100 + 300 + 20);
});

test("For somebody without organizations, a dashboard reads little more than it shows", async () => {
  await insertEvents(2_000, "unlisted");
  await insertEvents(2_000, "listed");
  const [own, others, eventsRead, documentsRead] = await readDashboard();
  expect([own, others]).toEqual([0, 50]);
  // Up to 100 began within the last day.
  expect(eventsRead).toBeLessThanOrEqual(50 + 100);
  expect(documentsRead).toBeLessThanOrEqual(50 + 100 + 60);
});

// Discovery looks at 200 events that start next, of which some or all are the member's own.
test.for([
  { hostsWithEvents: 60, othersShown: 38 },
  { hostsWithEvents: 50, othersShown: 0 },
])(
  "A dashboard of 50 organizations reads at most 600 events if $hostsWithEvents have some",
  async ({ hostsWithEvents, othersShown }) => {
    await insertEvents(3_000, "unlisted");
    await insertEvents(3_000, "listed", hostsWithEvents);
    const [own, others, eventsRead] = await readDashboard(50);
    expect([own, others]).toEqual([50, othersShown]);
    // The member's own 50, up to three ahead in each of the 50 organizations, and 400 for discovery.
    expect(eventsRead).toBeLessThanOrEqual(50 + 3 * 50 + 400);
  },
);

test("A dashboard reads at most 400 events if all belong to deleted organizations", async () => {
  await insertEvents(3_000, "listed");
  await counted.t.run(async (ctx) => {
    for (const id of hosts) await ctx.db.delete("organizations", id);
  });
  const [own, others, eventsRead] = await readDashboard();
  expect([own, others]).toEqual([0, 0]);
  expect(eventsRead).toBeLessThanOrEqual(400);
});

function restartWithOwnFields(): void {
  counted.stop();
  counted = startCountedEngine(ownFieldsSchema);
}

/** Inserts a document with this many bytes in a field of the app's own. */
async function insert<Table extends TableNames>(table: Table, fields: object, own = 0) {
  const document = { ...fields, own: "x".repeat(own) } as never;
  return await counted.t.run((ctx) => ctx.db.insert(table, document));
}

/** The largest event that the module writes: 9.5 kB. */
const LARGEST = {
  title: "語".repeat(500),
  location: "語".repeat(1_000),
  url: `https://lu.ma/${"x".repeat(1_985)}`,
  coverUrl: `https://lu.ma/${"x".repeat(1_985)}`,
};

test("A dashboard of 50 organizations with large documents stays inside Convex's limits", async () => {
  restartWithOwnFields();
  for (let i = 0; i < 100; i += 1) {
    const id = await insert("organizations", { name: `Org ${i}` }, 40_000);
    const membership = { userId: MEMBER, orgId: id, role: "member" };
    if (i < 50) await insert("orgMemberships", membership, 10_000);
    for (let n = 0; n < 12; n += 1) {
      // A third are on, a third are long, and a third start next.
      const startAt = n % 3 === 0 ? NOW - 1_000 - i : NOW + DAY_MS + n * 1_000 + i;
      const endAt = n % 3 === 1 ? startAt + 3 * DAY_MS : startAt + 2 * HOUR_MS;
      const fields = { ...LARGEST, lumaEventId: `evt-${i}-${n}`, startAt, endAt };
      await insert("events", aStoredEvent(id, fields), 2_000);
    }
  }
  expect((await readDashboard()).slice(0, 2)).toEqual([50, 50]);
  expect(counted.counts.bytesRead).toBeLessThan(16 * MIB);
});

test("A page of the largest events and descriptions stays inside Convex's limits", async () => {
  restartWithOwnFields();
  hosts = [await insert("organizations", { name: "Acme" }, 40_000)];
  for (let i = 0; i < 200; i += 1) {
    const startAt = NOW + (i < 150 ? 1 : -1) * DAY_MS + i;
    const fields = { ...LARGEST, lumaEventId: `evt-${i}`, startAt, isDescribed: true };
    const eventId = await insert("events", aStoredEvent(hosts[0]!, fields), 2_000);
    await insert("eventDescriptions", { eventId, orgId: hosts[0]!, text: CHINESE });
  }
  counted.reset();
  const shown = await page();
  expect([shown?.upcoming.length, shown?.past.length]).toEqual([50, 20]);
  expect(counted.counts.bytesRead).toBeLessThan(6 * MIB);
});

test.for([
  { what: "300 kB each, all the member's", bytes: 300_000, own: 50, ownShown: 13, othersShown: 0 },
  { what: "300 kB each, none the member's", bytes: 300_000, own: 0, ownShown: 0, othersShown: 13 },
  { what: "900 kB each", bytes: 900_000, own: 2, ownShown: 2, othersShown: 2 },
])("A dashboard reads 4 MiB of organizations, the member's own first: $what", async (row) => {
  restartWithOwnFields();
  for (let i = 0; i < 60; i += 1) {
    const id = await insert("organizations", { name: `Org ${i}` }, row.bytes);
    const membership = { userId: MEMBER, orgId: id, role: "member" };
    if (i < row.own) await insert("orgMemberships", membership);
    await insert("events", aStoredEvent(id, { lumaEventId: `evt-${i}`, startAt: NOW + 1 + i }));
  }
  expect((await readDashboard()).slice(0, 2)).toEqual([row.ownShown, row.othersShown]);
  expect(counted.counts.bytesRead).toBeLessThan(5 * MIB + 100_000);
});

test("With 100,000 events, a dashboard and a page stay inside Convex's limits", async () => {
  for (let from = 0; from < 100_000; from += 5_000) {
    await counted.t.run(async (ctx) => {
      for (let i = from; i < from + 5_000; i += 1) {
        const startAt = NOW - 30 * DAY_MS + i * 100_000;
        const endAt = i % 10 === 0 ? startAt + 3 * DAY_MS : startAt + HOUR_MS;
        const event = { lumaEventId: `evt-${i}`, startAt, endAt };
        await ctx.db.insert("events", aStoredEvent(hosts[i % HOSTS]!, event));
      }
    });
  }
  // Only 4, because convex-test searches the whole table for each of the member's organizations.
  const [own, others, eventsRead] = await readDashboard(4);
  expect([own, others]).toEqual([50, 50]);
  expect(eventsRead).toBeLessThanOrEqual(500 + 3 * 4 + 400);
  counted.reset();
  expect((await page())?.upcoming).toHaveLength(50);
  expect(counted.counts.eventsRead).toBeLessThanOrEqual(500 + 21);
});
