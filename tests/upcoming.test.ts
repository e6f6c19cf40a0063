/** Which upcoming events a page or a dashboard shows if it has too few places for all of them. */
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

/** The titles on each of the three lists: a page, a member's own events, and those of others. */
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

/** How many titles on each of the three lists match. */
async function countAt(now: number, title: RegExp): Promise<number[]> {
  return (await listsAt(now)).map((list) => list.filter((one) => title.test(one)).length);
}

const CONFERENCE = NOW + 5 * DAY_MS;
test.for<[string, startOf: (index: number) => number]>([
  ["are spread over its days", (i) => CONFERENCE + i * HOUR_MS],
  ["all begin when it does", () => CONFERENCE],
])("A conference of four days isn't hidden by 100 side events that %s", async ([, startOf]) => {
  const conference = { title: "conference", startAt: CONFERENCE, endAt: CONFERENCE + 4 * DAY_MS };
  const sideEvents = times(100, (i) => {
    const startAt = startOf(i);
    return { title: "side event", startAt, endAt: startAt + 2 * HOUR_MS };
  });
  await insertEvents([...sideEvents, conference]);
  for (const day of [-1, 0, 1, 2, 3]) {
    const now = CONFERENCE + day * DAY_MS + HOUR_MS / 2;
    expect(await countAt(now, /conference/), `day ${day}`).toEqual([1, 1, 1]);
  }
});

test("Sixty exhibitions that are on don't hide tomorrow's concert", async () => {
  const exhibition = { title: "exhibition", startAt: NOW - DAY_MS };
  await insertEvents([
    ...times(60, (i) => ({ ...exhibition, endAt: NOW + (60 + i) * DAY_MS })),
    { title: "concert", startAt: NOW + DAY_MS },
  ]);
  expect(await countAt(NOW, /concert/)).toEqual([1, 1, 1]);
  expect(await countAt(NOW, /exhibition/)).toEqual([49, 49, 49]);
});

test("A fair that has been on for a week and a hundred events today are both shown", async () => {
  const fair = { title: "fair", startAt: NOW - 7 * DAY_MS, endAt: NOW + 2 * DAY_MS };
  const today = times(100, (i) => ({ title: "today", startAt: NOW + i * 60_000 }));
  await insertEvents([...today, fair]);
  for (const now of [NOW - 1, NOW + HOUR_MS / 2]) {
    expect(await countAt(now, /fair/)).toEqual([1, 1, 1]);
    expect(await countAt(now, /today/)).toEqual([49, 49, 49]);
  }
});

test("Thirty exhibitions and five concerts are all shown", async () => {
  await insertEvents([
    ...times(30, (i) => ({ title: "exhibition", startAt: NOW - i, endAt: NOW + 9 * DAY_MS + i })),
    ...times(5, (i) => ({ title: "concert", startAt: NOW + i * DAY_MS + 1 })),
  ]);
  expect(await countAt(NOW, /exhibition|concert/)).toEqual([35, 35, 35]);
});

test("Of 50 places, 10 are for long events, 15 for others that are on, and 25 for the next", async () => {
  await insertEvents([
    ...times(40, (i) => ({ title: `long ${i}`, startAt: NOW - 1, endAt: NOW + 2 * DAY_MS + i })),
    ...times(40, (i) => ({ title: `on ${i}`, startAt: NOW - i, endAt: NOW + HOUR_MS })),
    ...times(40, (i) => ({ title: `next ${i}`, startAt: NOW + 1 + i })),
  ]);
  for (const list of await listsAt(NOW)) expectFirstOfEachKind(list);
});

/** Of the events "long 0", "long 1" …: the first to end; of "on …", the last to start; of "next …", the first to start. */
function expectFirstOfEachKind(list: string[]): void {
  for (const [kind, count] of Object.entries({ long: 10, on: 15, next: 25 })) {
    const ofThisKind = list.filter((title) => title.startsWith(`${kind} `));
    const numbers = ofThisKind.map((title) => Number(title.split(" ")[1]));
    expect(numbers.toSorted((x, y) => x - y)).toEqual(upTo(count));
  }
}

test("Free places go to more events that are on, and then to more long ones", async () => {
  await insertEvents([
    ...times(40, (i) => ({ title: "long", startAt: NOW - 1, endAt: NOW + 2 * DAY_MS + i })),
    ...times(25, (i) => ({ title: "on", startAt: NOW - i, endAt: NOW + HOUR_MS })),
    ...times(5, (i) => ({ title: "next", startAt: NOW + 1 + i })),
  ]);
  for (const [title, count] of Object.entries({ on: 25, next: 5, long: 20 })) {
    expect(await countAt(NOW, RegExp(`^${title}$`)), title).toEqual([count, count, count]);
  }
});

test("An event is shown until it ends, whether it lasts a day or longer", async () => {
  await insertEvents([
    { title: "a day", startAt: NOW, endAt: NOW + DAY_MS },
    { title: "longer", startAt: NOW, endAt: NOW + DAY_MS + 1 },
  ]);
  expect(await countAt(NOW + DAY_MS - 1, /a day|longer/)).toEqual([2, 2, 2]);
  expect(await listsAt(NOW + DAY_MS)).toEqual([["longer"], ["longer"], ["longer"]]);
  expect(await listsAt(NOW + DAY_MS + 1)).toEqual([[], [], []]);
});

test("A dashboard leaves out events that start after 30 days, and a page doesn't", async () => {
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

test("A member's organizations share the places of a dashboard", async () => {
  for (const org of upTo(3)) {
    const id = await insertOrg(t, { name: `Organization ${org}` });
    const membership = { userId: "member", orgId: id, role: "member" as const };
    await t.run((ctx) => ctx.db.insert("orgMemberships", membership));
    // Every third event of each kind is this organization's.
    const numbers = upTo(30).map((i) => 3 * i + org);
    const end = NOW + 2 * DAY_MS;
    await insertEvents(
      numbers.map((i) => ({ title: `next ${i}`, startAt: NOW + 1 + i })),
      id,
    );
    const onNow = { endAt: NOW + HOUR_MS };
    await insertEvents(
      numbers.map((i) => ({ ...onNow, title: `on ${i}`, startAt: NOW - i })),
      id,
    );
    const long = { startAt: NOW - DAY_MS };
    await insertEvents(
      numbers.map((i) => ({ ...long, title: `long ${i}`, endAt: end + i })),
      id,
    );
  }
  const [, ...dashboards] = await listsAt(NOW);
  for (const list of dashboards) expectFirstOfEachKind(list);
});

test("A page shows the 20 past events that ended last, long or short, latest first", async () => {
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
