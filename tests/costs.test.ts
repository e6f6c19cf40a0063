import { afterEach, expect } from "vitest";
import { api, internal } from "../convex/_generated/api";
import type { Id, TableNames } from "../convex/_generated/dataModel";
import { aStoredEvent, DAY_MS, insertOrg, wireEvents } from "./support/builders";
import { startCountedEngine, type CountedEngine } from "./support/counting";
import { passTime } from "./support/clock";
import { NOW, reasonOf, syncOrg, test } from "./support/fixtures";
import type { LumaServer } from "./support/lumaServer";
import { ownFieldsSchema } from "./support/ownFields";

const KEY = "key-1";
const MEMBER = "user-1";
const MIB = 1024 * 1024;
const KB_TEXT = "x".repeat(1_000);

let luma: LumaServer;
let counted: CountedEngine;
let orgId: Id<"organizations">;
/** They have no key. */
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

/** What one sync costs; its own call by the test is the one action. */
async function costOfSync() {
  // Without HTTP, which has a time of its own.
  luma.stubFetch();
  counted.reset();
  luma.requests.length = 0;
  await sync();
  const [pages, singles] = [luma.requestsOf("list").length, luma.requestsOf("event").length];
  return { ...counted.counts, requests: luma.requests.length, pages, singles };
}

const sync = () => syncOrg(counted.t, luma, orgId);

/** Has a calendar synced once. */
async function synced(events: ReturnType<typeof calendar>): Promise<void> {
  luma.setCalendar(KEY, events);
  await costOfSync();
}

/** As many syncs do. */
async function describeAll(): Promise<void> {
  await counted.t.run(async (ctx) => {
    for (const { _id } of await ctx.db.query("events").collect()) {
      await ctx.db.patch("events", _id, { description: KB_TEXT });
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

test("The first sync of 1,000 events writes each once, 100 a mutation, and 100 of them again with their descriptions", async () => {
  luma.setCalendar(KEY, calendar(1_000, KB_TEXT));
  const cost = await costOfSync();
  expect(cost).toMatchObject({
    pages: 10,
    singles: 100,
    // The calendar of the key, once.
    requests: 10 + 100 + 1,
    queries: 2,
    // Begins, writes 10 pages, stamps, keeps the calendar, and writes 100 times about 1.5 kB of descriptions.
    mutations: 1 + 10 + 1 + 1 + 1,
    mostEventsInAMutation: 100,
    // Each is looked up by its id when its description is written.
    eventsRead: 100,
    eventsWritten: 1_000 + 100,
    organizationsWritten: 1,
    documentsWritten: 1_000 + 100 + 6,
  });
  expect(cost.largestMutationBytes).toBeLessThan(MIB);
});

test("A sync of unchanged events asks for pages and descriptions alone, reads each once, and writes four documents in two mutations", async () => {
  for (const count of [100, 1_000]) {
    await synced(calendar(count, KB_TEXT));
    await describeAll();
    const cost = await costOfSync();
    expect(cost).toMatchObject({
      pages: count / 100,
      singles: 100,
      requests: count / 100 + 100,
      mutations: 2,
      mostEventsInAMutation: 0,
      eventsRead: count,
      eventsWritten: 0,
      organizationsWritten: 1,
      documentsWritten: 4,
    });
    expect(cost.mutationBytes).toBeLessThan(200);
  }
});

test("A sync of 1,000 events of which 10 changed sends and writes only those", async () => {
  await synced(calendar(1_000, KB_TEXT));
  await describeAll();
  luma.setCalendar(KEY, calendar(1_000, KB_TEXT, 10));
  const cost = await costOfSync();
  expect(cost).toMatchObject({
    mutations: 3,
    mostEventsInAMutation: 10,
    eventsRead: 1_010,
    eventsWritten: 10,
    documentsWritten: 14,
  });
  expect(cost.mutationBytes).toBeLessThan(20_000);
});

test("An edited description among the 100 soonest costs one more mutation, and one more write", async () => {
  await synced(calendar(100, KB_TEXT));
  const [first, ...others] = calendar(100, KB_TEXT);
  if (first === undefined) throw new Error("unreachable");
  luma.setCalendar(KEY, [{ ...first, description: "edited" }, ...others]);
  expect(await costOfSync()).toMatchObject({
    mutations: 3,
    mostEventsInAMutation: 1,
    eventsRead: 100 + 1,
    eventsWritten: 1,
  });
});

test("A failure is written once, not every day that it lasts", async () => {
  const failed = async () => {
    counted.reset();
    await reasonOf(sync());
    return counted.counts.organizationsWritten;
  };
  expect(await failed()).toBe(1);
  expect(await failed()).toBe(0);
});

test("10 events of 1,000 that are gone cost 10 requests, reads and writes, and 300 three times 100", async () => {
  const all = calendar(1_000, KB_TEXT);
  await synced(all);
  await describeAll();
  // Those that are gone, and how many of them each sync finds out about.
  for (const [gone, checks] of [
    [10, [10, 0]],
    [310, [100, 100, 100, 0]],
  ] as const) {
    luma.setCalendar(KEY, all.slice(gone));
    for (const checked of checks) {
      expect(await costOfSync()).toMatchObject({
        requests: Math.ceil((1_000 - gone) / 100) + checked + 100,
        mutations: 2 + Math.sign(checked),
        eventsRead: 1_000 + checked,
        eventsWritten: checked,
        documentsWritten: 4 + checked,
      });
    }
  }
});

test("9,000 stored events are compared within Convex's limits for lists", async () => {
  await counted.t.run(async (ctx) => {
    for (let i = 0; i < 9_000; i += 1) {
      const event = { lumaEventId: `evt-${i}`, startAt: NOW + DAY_MS + i };
      await ctx.db.insert("events", aStoredEvent(orgId, event));
    }
  });
  luma.setCalendar(KEY, []);
  const { longestList, eventsRead, eventsWritten } = await costOfSync();
  // Each once to be compared, and 100 once to be removed.
  expect([eventsRead, eventsWritten]).toEqual([9_000 + 100, 100]);
  expect(longestList).toBeGreaterThanOrEqual(100);
  expect(longestList).toBeLessThanOrEqual(8_192);
});

// In UTF-8 a unit of the first takes 3 bytes, the most there are; in JSON one of the second takes 6.
const CHINESE = "語".repeat(50_000);
const CONTROL = "\u0001".repeat(50_000);
test("200 events with descriptions of 50,000 characters stay inside Convex's limits, whatever changes", async () => {
  type Events = ReturnType<typeof calendar>;
  const steps: [string, Events, number, Events?][] = [
    ["first", calendar(200, CHINESE), 200 + 100],
    ["the other descriptions", calendar(200, CHINESE), 100],
    ["unchanged", calendar(200, CHINESE), 0],
    ["all renamed", calendar(200, CHINESE, 200), 200],
    ["others", calendar(200, CONTROL, 200), 100],
    ["others, and none in the list", calendar(200, CHINESE), 100, []],
    ["100 removed", [], 100],
  ];
  for (const [step, events, written, listed] of steps) {
    luma.setCalendar(KEY, events, listed);
    const cost = await costOfSync();
    expect(cost.eventsWritten, step).toBe(written);
    expect(cost.largestMutationBytes, step).toBeLessThan(4 * MIB);
  }
});

test("Finding the organizations to sync reads only those that have a key, in pages", async () => {
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

test("A morning without changes reads each organization three more times than a sync by hand, at most", async () => {
  const { t, counts } = counted;
  const ORGS = 10;
  for (let i = 1; i < ORGS; i += 1) await insertOrg(t, { name: `Org ${i}`, lumaApiKey: KEY });
  luma.setCalendar(KEY, calendar(3, KB_TEXT));
  const morning = async () => {
    counted.reset();
    await t.mutation(internal.events.sync.runFullEventSync, {});
    await passTime(undefined, luma.activity);
  };
  await costOfSync();
  const { organizationsRead } = await costOfSync();
  await morning();
  await morning();
  expect([counts.actions, counts.eventsWritten]).toEqual([ORGS, 0]);
  // Also to find it, to take it, and to end its sync.
  expect(counts.organizationsRead).toBeLessThanOrEqual((organizationsRead + 3) * ORGS);
});

type Status = "listed" | "unlisted" | "removed";
/** In turn for each host, in turn after and before now. */
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

/** For a member of so many hosts: how many events each list has; how many events and documents were read. */
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

test("An organization's page reads 71 documents at most, also when most events are hidden", async () => {
  await insertEvents(3_000, "unlisted", 1);
  await insertEvents(1_000, "removed", 1);
  const page = { orgId: hosts[0]!, now: NOW };
  await counted.t.query(api.events.queries.getOrgEvents, page);
  expect(counted.counts.documentsRead).toBe(1);
  await insertEvents(1_000, "listed", 1);
  await counted.t.query(api.events.queries.getOrgEvents, page);
  expect(counted.counts.documentsRead).toBe(1 + 50 + 20);
});

test("A dashboard of somebody without organizations reads 50 events and theirs, each once", async () => {
  await insertEvents(2_000, "unlisted");
  await insertEvents(2_000, "listed");
  expect(await readDashboard()).toEqual([0, 50, 50, 50 + 36]);
});

test("A dashboard of 50 organizations reads their 50 first events and one ahead of each", async () => {
  await insertEvents(3_000, "unlisted");
  await insertEvents(3_000, "listed");
  const [own, others, eventsRead, documentsRead] = await readDashboard(50);
  expect([own, others]).toEqual([50, 50]);
  expect(eventsRead).toBeLessThanOrEqual(50 + 50 + 400);
  expect(documentsRead).toBeLessThanOrEqual(50 + 60 + 50 + 50 + 400);
});

test("A dashboard whose own organizations have nearly all events looks at 400 others' at most", async () => {
  await insertEvents(3_000, "listed", 50);
  expect((await readDashboard(50)).slice(0, 3)).toEqual([50, 0, 50 + 49 + 400]);
});

test("A dashboard of one organization looks at 1,000 of its events, and 400 of all, however far ahead", async () => {
  await counted.t.run(async (ctx) => {
    for (let i = 0; i < 1_100; i += 1) {
      const event = { lumaEventId: `evt-${i}`, startAt: NOW + 40 * DAY_MS + i };
      await ctx.db.insert("events", aStoredEvent(hosts[0]!, event));
    }
  });
  expect((await readDashboard(1)).slice(0, 3)).toEqual([0, 0, 1_000 + 400]);
});

test("A dashboard among events of organizations that are gone stops as well", async () => {
  await insertEvents(3_000, "listed");
  await counted.t.run(async (ctx) => {
    for (const id of hosts) await ctx.db.delete("organizations", id);
  });
  expect(await readDashboard()).toEqual([0, 0, 400, 400]);
});

function restartWithOwnFields(): void {
  counted.stop();
  counted = startCountedEngine(ownFieldsSchema);
}

/** Documents of the app's: with so many bytes in a field of its own. */
async function insert<Table extends TableNames>(table: Table, fields: object, own = 0) {
  const document = { ...fields, own: "x".repeat(own) } as never;
  return await counted.t.run((ctx) => ctx.db.insert(table, document));
}

const LARGE = { description: CHINESE };
const logo = (kilobytes: number) => ({ logoUrl: `data:${"x".repeat(kilobytes * 1_000)}` });

type Large = { org?: object; event?: object; ownOfEvent?: number; ownOfMembership?: number };
const ofAll = { lumaEventId: "evt-of-all" };
/** How many organizations are the member's, and how many are not; how many events each list has. */
test.for<[string, number, number, Large, number, number]>([
  ["organizations of 300 kB", 50, 50, { org: logo(300) }, 34, 14],
  ["nobody's organizations of 300 kB", 0, 60, { org: logo(300) }, 0, 49],
  ["memberships of 400 kB", 50, 10, { ownOfMembership: 400_000 }, 22, 50],
  ["events with 900 kB of the app's own", 50, 50, { ownOfEvent: 900_000 }, 12, 4],
  ["chapters with one event in common", 0, 400, { org: logo(42), event: ofAll }, 0, 1],
  ["own chapters with one in common", 50, 350, { org: logo(42), event: ofAll }, 1, 0],
  ["the largest events that a sync writes", 50, 50, { event: LARGE }, 50, 27],
])("A dashboard of %s loads", async ([, own, others, large, ownShown, othersShown]) => {
  restartWithOwnFields();
  for (let i = 0; i < own + others; i += 1) {
    const id = await insert("organizations", { name: `Org ${i}`, ...large.org });
    const membership = { userId: MEMBER, orgId: id, role: "member" };
    if (i < own) await insert("orgMemberships", membership, large.ownOfMembership);
    for (const n of [0, 1]) {
      // Others' first.
      const startAt = NOW + (i < own ? 2 : 1) * DAY_MS + 1_000 * n + i;
      const fields = { lumaEventId: `evt-${i}-${n}`, startAt, ...large.event };
      await insert("events", aStoredEvent(id, fields), large.ownOfEvent);
    }
  }
  expect((await readDashboard()).slice(0, 2)).toEqual([ownShown, othersShown]);
  expect(counted.counts.bytesRead).toBeLessThan(15 * MIB);
});

test.for<[number, number, number]>([
  [50, 28, 0],
  [5, 5, 20],
])("A page with %i large events to come reads 4 MiB and one event", async ([toCome, ...shown]) => {
  restartWithOwnFields();
  const id = await insert("organizations", { name: "Acme" });
  for (let i = 0; i < toCome + 30; i += 1) {
    const startAt = NOW + (i < toCome ? DAY_MS : -DAY_MS) + i;
    await insert("events", aStoredEvent(id, { lumaEventId: `evt-${i}`, startAt, ...LARGE }));
  }
  counted.reset();
  const args = { orgId: id, now: NOW };
  const page = await counted.t.query(api.events.queries.getOrgEvents, args);
  expect([page?.upcoming.length, page?.past.length]).toEqual(shown);
  expect(counted.counts.bytesRead).toBeLessThan(4 * MIB + 151_000);
});
