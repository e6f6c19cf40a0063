/** Which events a list of upcoming ones shows when there are more than it has places for: pages and dashboards. */
import { beforeEach, expect, test } from "vitest";
import { api } from "../convex/_generated/api";
import type { Doc, Id } from "../convex/_generated/dataModel";
import { aStoredEvent, DAY_MS, HOUR_MS, insertOrg } from "./support/builders";
import { startEngine, type Engine } from "./support/engine";
import { NOW } from "./support/fixtures";

const { getOrgEvents, getDashboardEvents } = api.events.queries;

let t: Engine;
let orgId: Id<"organizations">;
let inserted = 0;
beforeEach(async () => {
  t = startEngine();
  orgId = await insertOrg(t);
  await t.run((ctx) =>
    ctx.db.insert("orgMemberships", { userId: "member", orgId, role: "member" }),
  );
});

type Event = { title: string; startAt: number; endAt?: number } & Partial<Doc<"events">>;

async function insertEvents(events: Event[], id = orgId): Promise<void> {
  await t.run(async (ctx) => {
    for (const event of events) {
      const lumaEventId = `evt-${inserted++}`;
      await ctx.db.insert("events", aStoredEvent(id, { lumaEventId, ...event }));
    }
  });
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);
const times = (count: number, toEvent: (index: number) => Event) => upTo(count).map(toEvent);

/** What each of the three lists shows at a time: the page, a member's own events, and others' for discovery. */
async function listsAt(now: number): Promise<string[][]> {
  const page = await t.query(getOrgEvents, { orgId, now });
  const own = await t.withIdentity({ subject: "member" }).query(getDashboardEvents, { now });
  const others = await t.withIdentity({ subject: "stranger" }).query(getDashboardEvents, { now });
  const lists = [page?.upcoming ?? [], own.userOrgEvents, others.otherOrgEvents];
  for (const list of lists) {
    expect(list.length).toBeLessThanOrEqual(50);
    const starts = list.map(({ startAt }) => startAt);
    expect(starts).toEqual(starts.toSorted((a, b) => a - b));
  }
  return lists.map((list) => list.map(({ title }) => title));
}

/** Titles of these events on each of the three lists. */
async function countAt(now: number, title: RegExp): Promise<number[]> {
  return (await listsAt(now)).map((list) => list.filter((one) => title.test(one)).length);
}

const CONFERENCE = NOW + 5 * DAY_MS;
test.for<{ when: string; startOf: (index: number) => number }>([
  { when: "that are spread over its days", startOf: (i) => CONFERENCE + i * HOUR_MS },
  { when: "that all begin when it begins", startOf: () => CONFERENCE },
])("A conference of four days with 100 side events $when is never hidden by them", async (row) => {
  const conference = { title: "conference", startAt: CONFERENCE, endAt: CONFERENCE + 4 * DAY_MS };
  const sideEvents = times(100, (i) => {
    const startAt = row.startOf(i);
    return { title: "side event", startAt, endAt: startAt + 2 * HOUR_MS };
  });
  await insertEvents([...sideEvents, conference]);
  for (const day of [-1, 0, 1, 2, 3]) {
    const now = CONFERENCE + day * DAY_MS + HOUR_MS / 2;
    expect(await countAt(now, /conference/), `day ${day}`).toEqual([1, 1, 1]);
  }
});

test("Sixty exhibitions that are on don't hide tomorrow's evening", async () => {
  const exhibition = { title: "exhibition", startAt: NOW - DAY_MS };
  await insertEvents([
    ...times(60, (i) => ({ ...exhibition, endAt: NOW + (60 + i) * DAY_MS })),
    { title: "evening", startAt: NOW + DAY_MS },
  ]);
  expect(await countAt(NOW, /evening/)).toEqual([1, 1, 1]);
  expect(await countAt(NOW, /exhibition/)).toEqual([49, 49, 49]);
});

test("A hundred events of today don't hide a fair that has been on for a week, nor it them", async () => {
  const fair = { title: "fair", startAt: NOW - 7 * DAY_MS, endAt: NOW + 2 * DAY_MS };
  const today = times(100, (i) => ({ title: "today", startAt: NOW + i * 60_000 }));
  await insertEvents([...today, fair]);
  for (const now of [NOW - 1, NOW + HOUR_MS / 2]) {
    expect(await countAt(now, /fair/)).toEqual([1, 1, 1]);
    expect(await countAt(now, /today/)).toEqual([49, 49, 49]);
  }
});

test("Thirty exhibitions and five evenings are all shown", async () => {
  await insertEvents([
    ...times(30, (i) => ({ title: "exhibition", startAt: NOW - i, endAt: NOW + 9 * DAY_MS + i })),
    ...times(5, (i) => ({ title: "evening", startAt: NOW + i * DAY_MS + 1 })),
  ]);
  expect(await countAt(NOW, /exhibition|evening/)).toEqual([35, 35, 35]);
});

test("Of 50 places, 10 are for long events, 15 for others that are on, and the rest for what is next", async () => {
  await insertEvents([
    ...times(40, (i) => ({ title: `long ${i}`, startAt: NOW - 1, endAt: NOW + 2 * DAY_MS + i })),
    ...times(40, (i) => ({ title: `on ${i}`, startAt: NOW - i, endAt: NOW + HOUR_MS })),
    ...times(40, (i) => ({ title: `next ${i}`, startAt: NOW + 1 + i })),
  ]);
  // The first to end, the last to start, and the next to start.
  const numbersOf = (list: string[], kind: string) =>
    list
      .filter((title) => title.startsWith(`${kind} `))
      .map((title) => Number(title.split(" ")[1]))
      .sort((a, b) => a - b);
  for (const list of await listsAt(NOW)) {
    expect(numbersOf(list, "long")).toEqual(upTo(10));
    expect(numbersOf(list, "on")).toEqual(upTo(15));
    expect(numbersOf(list, "next")).toEqual(upTo(25));
  }
});

test("Places that are free go to more of what is on, and then to more long events", async () => {
  await insertEvents([
    ...times(40, (i) => ({ title: "long", startAt: NOW - 1, endAt: NOW + 2 * DAY_MS + i })),
    ...times(25, (i) => ({ title: "on", startAt: NOW - i, endAt: NOW + HOUR_MS })),
    ...times(5, (i) => ({ title: "next", startAt: NOW + 1 + i })),
  ]);
  for (const [title, count] of [
    [/on$/, 25],
    [/next/, 5],
    [/long/, 20],
  ] as const) {
    expect(await countAt(NOW, title)).toEqual([count, count, count]);
  }
});

test("An event of exactly a day is shown until it ends, and a longer one, too", async () => {
  await insertEvents([
    { title: "a day", startAt: NOW, endAt: NOW + DAY_MS },
    { title: "longer", startAt: NOW, endAt: NOW + DAY_MS + 1 },
  ]);
  expect(await countAt(NOW + DAY_MS - 1, /a day|longer/)).toEqual([2, 2, 2]);
  expect(await listsAt(NOW + DAY_MS)).toEqual([["longer"], ["longer"], ["longer"]]);
  expect(await listsAt(NOW + DAY_MS + 1)).toEqual([[], [], []]);
});

test("A dashboard leaves out what starts in more than 30 days, long or short; a page doesn't", async () => {
  const startAt = NOW + 30 * DAY_MS;
  for (const later of [0, 1]) {
    const title = later === 0 ? "in time" : "too late";
    await insertEvents([
      { title, startAt: startAt + later },
      { title, startAt: startAt + later, endAt: startAt + 5 * DAY_MS },
    ]);
  }
  expect(await countAt(NOW, /in time/)).toEqual([2, 2, 2]);
  expect(await countAt(NOW, /too late/)).toEqual([2, 0, 0]);
});

test("A dashboard gives its places to all of a member's organizations together", async () => {
  const ids = [
    orgId,
    await insertOrg(t, { name: "Second" }),
    await insertOrg(t, { name: "Third" }),
  ];
  for (const [index, id] of ids.entries()) {
    if (index > 0) {
      const membership = { userId: "member", orgId: id, role: "member" as const };
      await t.run((ctx) => ctx.db.insert("orgMemberships", membership));
    }
    await insertEvents(
      [
        ...times(30, (i) => ({ title: "next", startAt: NOW + 1 + i })),
        ...times(30, (i) => ({ title: "on", startAt: NOW - i, endAt: NOW + HOUR_MS })),
        ...times(10, (i) => ({ title: "long", startAt: NOW - 1, endAt: NOW + 2 * DAY_MS + i })),
      ],
      id,
    );
  }
  const lists = await listsAt(NOW);
  for (const [title, count] of [
    ["next", 25],
    ["on", 15],
    ["long", 10],
  ] as const) {
    const counts = lists.slice(1).map((list) => list.filter((one) => one === title).length);
    expect(counts).toEqual([count, count]);
  }
});

test("A page's past has the 20 that ended last, long or short, the latest first", async () => {
  const short = times(15, (i) => {
    const endAt = NOW - 2 * i * DAY_MS;
    return { title: `short ${2 * i}`, startAt: endAt - HOUR_MS, endAt };
  });
  const long = times(15, (i) => {
    const endAt = NOW - (2 * i + 1) * DAY_MS;
    return { title: `long ${2 * i + 1}`, startAt: endAt - 20 * DAY_MS, endAt };
  });
  await insertEvents([...short, ...long]);
  const page = await t.query(getOrgEvents, { orgId, now: NOW });
  const expected = upTo(20).map((i) => `${i % 2 === 0 ? "short" : "long"} ${i}`);
  expect(page?.past.map(({ title }) => title)).toEqual(expected);
});
