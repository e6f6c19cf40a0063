/** What a sync's mutations write, when they may, and what deleting an organization's events leaves. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import type { RunningSync } from "../convex/events/queue/syncs";
import type { MirroredEvent } from "../convex/events/validators";
import {
  aMirroredEvent,
  aStoredEvent,
  beginSync,
  DAY_MS,
  getOrg,
  insertDescribedEvent,
  insertOrg,
  storedDescriptions,
  storedEvents,
} from "./support/builders";
import { passTime, setTime, useRealTime, useSimulatedTime } from "./support/clock";
import { startEngine, type Engine } from "./support/engine";
import { jobs } from "./support/faults";
import { failureOf, reasonOf } from "./support/fixtures";
import { ownFieldsSchema } from "./support/ownFields";

const { upsertEvents, markEventsRemoved, describeEvents } = internal.events.mutations;
const { updateOrgSyncTimestamp, deleteOrgEvents } = internal.events.mutations;
const { endSync } = internal.events.queue.worker;

let t: Engine;
let orgId: Id<"organizations">;
let sync: RunningSync;
// In simulated time, in which the queue's worker does nothing until a test lets it pass.
beforeEach(async () => {
  useSimulatedTime();
  t = startEngine();
  orgId = await insertOrg(t);
  sync = await beginSync(t, orgId);
});
afterEach(useRealTime);

async function upsert(...events: MirroredEvent[]) {
  return await t.mutation(upsertEvents, { ...sync, events });
}

async function stored(lumaEventId = "evt-1") {
  const event = (await storedEvents(t)).get(lumaEventId);
  if (event === undefined) throw new Error(`${lumaEventId} is not stored`);
  return event;
}

const deleteOrg = (id: typeof orgId) => t.run((ctx) => ctx.db.delete("organizations", id));

async function everything() {
  return await t.run(async (ctx) => [
    await ctx.db.query("events").collect(),
    await ctx.db.query("eventDescriptions").collect(),
    await ctx.db.query("organizations").collect(),
  ]);
}

test("Events that are new are inserted, changed ones updated, and the others not written", async () => {
  const [same, changed, added] = [1, 2, 3].map((n) => aMirroredEvent({ lumaEventId: `evt-${n}` }));
  const counts = await upsert(same!, changed!);
  expect(counts).toEqual({ inserted: 2, updated: 0, unchanged: 0 });
  const before = await storedEvents(t);
  const again = await upsert(same!, { ...changed!, title: "Another title" }, added!);
  expect(again).toEqual({ inserted: 1, updated: 1, unchanged: 1 });
  const after = await storedEvents(t);
  expect(after.size).toBe(3);
  expect(after.get("evt-1")).toEqual(before.get("evt-1"));
  const { _id } = before.get("evt-2")!;
  expect(after.get("evt-2")).toMatchObject({ _id, title: "Another title" });
});

test.for<keyof MirroredEvent>(["endAt", "coverUrl", "location"])(
  "An event's %s that lu.ma cleared is cleared",
  async (field) => {
    const more = { endAt: Date.now() + 9e7, coverUrl: "https://images.example/1" };
    const full = aMirroredEvent({ ...more, location: "Berlin" });
    await upsert(full);
    const { [field]: _cleared, ...rest } = full;
    expect(await upsert(rest as MirroredEvent)).toMatchObject({ updated: 1 });
    expect(await stored()).not.toHaveProperty(field);
  },
);

test.for<Partial<MirroredEvent>>([
  { title: "x" },
  { startAt: 1 },
  { timezone: "Europe/Paris" },
  { url: "https://lu.ma/x" },
  { isVirtual: true },
  { status: "unlisted" },
  { coverUrl: "https://x.example" },
  { location: "x" },
  { endAt: 2e13 },
])("An event of which lu.ma changed %o is updated", async (change) => {
  const event = aMirroredEvent();
  await upsert(event);
  expect(await upsert({ ...event, ...change })).toMatchObject({ updated: 1 });
  expect(await stored()).toMatchObject(change);
});

test("An event is over at its end, or at its start while lu.ma gives no end", async () => {
  for (const times of [{ startAt: 5 }, { startAt: 5, endAt: 9 }, { startAt: 7 }]) {
    await upsert(aMirroredEvent(times));
    expect((await stored()).overAt).toBe(times.endAt ?? times.startAt);
  }
});

test("An event is long if it takes more than 24 hours, and as long as it does", async () => {
  for (const { endAt, isLong } of [
    { endAt: 5 + DAY_MS, isLong: false },
    { endAt: 5 + DAY_MS + 1, isLong: true },
    { endAt: undefined, isLong: false },
  ]) {
    await upsert(aMirroredEvent({ startAt: 5, endAt }));
    expect((await stored()).isLong).toBe(isLong);
  }
});

test("An event of two organizations is a document of each", async () => {
  const event = aMirroredEvent();
  await upsert(event);
  const before = await stored();
  const otherId = await insertOrg(t, { name: "Other" });
  const renamed = { ...event, title: "Their title" };
  const other = { ...(await beginSync(t, otherId)), events: [renamed] };
  expect(await t.mutation(upsertEvents, other)).toMatchObject({ inserted: 1, updated: 0 });
  const all = await t.run((ctx) => ctx.db.query("events").collect());
  expect(all).toMatchObject([before, { orgId: otherId, title: "Their title" }]);
  expect(await upsert(event)).toMatchObject({ inserted: 0, updated: 0, unchanged: 1 });
});

test("A removed event that comes back is the same document", async () => {
  const event = aMirroredEvent();
  await upsert(event);
  const { _id } = await stored();
  await t.mutation(markEventsRemoved, { ...sync, eventIds: [_id] });
  expect(await upsert(event)).toMatchObject({ updated: 1 });
  expect(await stored()).toMatchObject({ _id, status: "listed" });
});

test("An event is stamped with the time of its writing", async () => {
  const before = Date.now();
  await upsert(aMirroredEvent());
  expect((await stored()).syncedAt).toBeGreaterThanOrEqual(before);
});

async function remove(): Promise<number> {
  const { _id } = await stored();
  return (await t.mutation(markEventsRemoved, { ...sync, eventIds: [_id] })).removed;
}

test("An event that is removed stays, hidden, and is counted once", async () => {
  const event = aMirroredEvent({ location: "Berlin" });
  await upsert(event);
  expect(await remove()).toBe(1);
  expect(await stored()).toMatchObject({ ...event, status: "removed" });
  expect(await remove()).toBe(0);
});

test("A removal leaves alone what is another organization's, or was deleted", async () => {
  const otherId = await insertOrg(t, { name: "Other" });
  await t.run((ctx) => ctx.db.insert("events", aStoredEvent(otherId)));
  expect(await remove()).toBe(0);
  const { _id, status } = await stored();
  expect(status).toBe("listed");
  await t.run((ctx) => ctx.db.delete("events", _id));
  expect(await t.mutation(markEventsRemoved, { ...sync, eventIds: [_id] })).toEqual({ removed: 0 });
});

async function describeEvent(description?: string, lumaEventId = "evt-1"): Promise<number> {
  const descriptions = [{ lumaEventId, description }];
  return (await t.mutation(describeEvents, { ...sync, descriptions })).described;
}
const descriptionOf = async (id = "evt-1") => (await storedDescriptions(t)).get(id);

test("A description that is new, changed or cleared counts, but not a first answer that is empty", async () => {
  await upsert(aMirroredEvent(), aMirroredEvent({ lumaEventId: "evt-2" }));
  expect(await describeEvent("text")).toBe(1);
  const before = await everything();
  setTime(Date.now() + 1_000);
  expect(await describeEvent("text")).toBe(0);
  expect(await everything()).toEqual(before);
  expect(await describeEvent("another")).toBe(1);
  expect(await descriptionOf()).toBe("another");
  expect(await describeEvent("")).toBe(1);
  expect(await describeEvent("")).toBe(0);
  expect(await describeEvent("", "evt-2")).toBe(0);
  expect(await storedDescriptions(t)).toEqual(new Map());
  // That lu.ma has none is remembered all the same.
  expect((await stored("evt-2")).isDescribed).toBe(true);
});

test("An edited description doesn't write the event, which would re-run every dashboard", async () => {
  await upsert(aMirroredEvent());
  await describeEvent("text");
  const before = await stored();
  setTime(Date.now() + 1_000);
  await describeEvent("edited");
  expect(await stored()).toEqual(before);
});

test("An event that changes keeps its description", async () => {
  await upsert(aMirroredEvent());
  await describeEvent("text");
  await upsert(aMirroredEvent({ title: "Renamed" }));
  expect(await stored()).toMatchObject({ title: "Renamed", isDescribed: true });
  expect(await descriptionOf()).toBe("text");
});

test("A description that could not be fetched stays, and the event counts as asked for", async () => {
  await upsert(aMirroredEvent(), aMirroredEvent({ lumaEventId: "evt-2" }));
  await describeEvent("text");
  for (const id of ["evt-1", "evt-2"]) expect(await describeEvent(undefined, id)).toBe(0);
  expect(await storedDescriptions(t)).toEqual(new Map([["evt-1", "text"]]));
  expect((await stored("evt-2")).isDescribed).toBe(true);
});

test("A description is written for no event that is not listed, not the organization's, or not there", async () => {
  const otherId = await insertOrg(t, { name: "Other" });
  const theirs = aStoredEvent(otherId, { lumaEventId: "evt-theirs" });
  await t.run((ctx) => ctx.db.insert("events", theirs));
  await upsert(aMirroredEvent({ status: "unlisted" }));
  for (const lumaEventId of ["evt-1", "evt-theirs", "evt-none"]) {
    expect(await describeEvent("text", lumaEventId)).toBe(0);
  }
  expect(await storedDescriptions(t)).toEqual(new Map());
});

test("A stamp has the time that it is given, and clears the organization's error or gives another", async () => {
  await t.run((ctx) => ctx.db.patch("organizations", orgId, { eventsSyncError: "no" }));
  expect(await t.mutation(updateOrgSyncTimestamp, { ...sync, timestamp: 5 })).toBeNull();
  const org = await getOrg(t, orgId);
  expect(org.eventsLastSynced).toBe(5);
  expect(org).not.toHaveProperty("eventsSyncError");
  await t.mutation(updateOrgSyncTimestamp, { ...sync, timestamp: 4, error: "unchecked" });
  const again = { eventsLastSynced: 4, eventsSyncError: "unchecked" };
  expect(await getOrg(t, orgId)).toMatchObject(again);
});

// Which sync may write.

/** Everything that a sync may write. */
async function writes(of: RunningSync): Promise<(() => Promise<unknown>)[]> {
  const eventIds = [...(await storedEvents(t)).values()].map(({ _id }) => _id);
  const events = [aMirroredEvent({ lumaEventId: "evt-2" })];
  const descriptions = [{ lumaEventId: "evt-1", description: "text" }];
  return [
    () => t.mutation(upsertEvents, { ...of, events }),
    () => t.mutation(markEventsRemoved, { ...of, eventIds }),
    () => t.mutation(describeEvents, { ...of, descriptions }),
    () => t.mutation(updateOrgSyncTimestamp, { ...of, timestamp: 5 }),
  ];
}

const WAS_SET = '"Acme" was ended: the lu.ma API key was set in the meantime';

const configure = (config: { lumaApiKey?: string | null; lumaCalendarUrl?: string }) =>
  t.mutation(internal.orgs.mutations.setLumaConfig, { orgId, ...config });
const setKey = (lumaApiKey: string | null) => configure({ lumaApiKey });

/** The key of a sync that may not write, or may no more, is not given either. */
async function expectNoWrites(of: RunningSync, kind: string, sentence: string) {
  const before = await everything();
  const { getApiKey } = internal.events.queries;
  for (const write of [...(await writes(of)), () => t.query(getApiKey, of)]) {
    const failure = await failureOf(write());
    expect(failure.kind, String(write)).toBe(kind);
    expect(failure.message).toContain(sentence);
  }
  const failure = { message: "no", kind: "permanent" as const };
  await t.mutation(endSync, { ...of, failure });
  expect(await everything()).toEqual(before);
}

test("The sync that began last writes, also when only the calendar's URL is changed", async () => {
  await upsert(aMirroredEvent());
  const later = await beginSync(t, orgId);
  await configure({ lumaCalendarUrl: "https://lu.ma/acme" });
  for (const write of await writes(later)) await write();
  expect(await getOrg(t, orgId)).toMatchObject({ eventsLastSynced: 5 });
  expect(await stored("evt-1")).toMatchObject({ status: "removed" });
  expect(await stored("evt-2")).toMatchObject({ status: "listed" });
});

test("A sync writes nothing from the moment another one of its organization begins", async () => {
  await upsert(aMirroredEvent());
  await beginSync(t, await insertOrg(t, { name: "Other" }));
  await (await writes(sync))[0]?.();
  await beginSync(t, orgId);
  await expectNoWrites(sync, "overtaken", 'organization "Acme" has begun');
});

test("A sync that has ended writes nothing more", async () => {
  await upsert(aMirroredEvent());
  await t.mutation(endSync, { ...sync, failure: null });
  await expectNoWrites(sync, "ended", '"Acme" was ended');
});

const patchKey = (lumaApiKey?: string) =>
  t.run((ctx) => ctx.db.patch("organizations", orgId, { lumaApiKey }));
const deleteEvents = () => patchKey().then(() => t.mutation(deleteOrgEvents, { orgId }));
const DISCONNECTED = '"Acme" was disconnected';
test.for<{ what: string; said: string; happen: () => Promise<unknown> }>([
  { what: "the key is set", said: WAS_SET, happen: () => setKey("key-2") },
  { what: "the key is set again", said: WAS_SET, happen: () => setKey("key-of-Acme") },
  { what: "the key is cleared", said: DISCONNECTED, happen: () => setKey(null) },
  { what: "the key has gone in any other way", said: DISCONNECTED, happen: () => patchKey(" ") },
  { what: "its organization is deleted", said: "was deleted", happen: () => deleteOrg(orgId) },
  {
    what: "the events are deleted",
    said: WAS_SET,
    happen: () => deleteEvents().then(() => patchKey("key-2")),
  },
])("A sync writes nothing once $what", async ({ said, happen }) => {
  await upsert(aMirroredEvent());
  await happen();
  await expectNoWrites(sync, "ended", said);
});

// Deleting an organization's events.

async function left() {
  const deletions = (await jobs(t)).filter(({ name }) => name.includes("deleteOrgEvents"));
  const count = (table: "events" | "eventDescriptions" | "eventSyncs" | "lumaSecrets") =>
    t.run(async (ctx) => (await ctx.db.query(table).collect()).length);
  return {
    events: await count("events"),
    descriptions: await count("eventDescriptions"),
    syncs: await count("eventSyncs"),
    secrets: await count("lumaSecrets"),
    jobs: deletions.map(({ state }) => state.kind),
  };
}

async function insertEvents(count: number, id = orgId): Promise<void> {
  await t.run(async (ctx) => {
    for (let i = 0; i < count; i += 1) {
      await ctx.db.insert("events", aStoredEvent(id, { lumaEventId: `evt-${i}` }));
    }
  });
}

test("Deleting an organization's events deletes all that is left of it, and of no other one", async () => {
  const otherId = await insertOrg(t, { name: "Other" });
  await beginSync(t, otherId);
  await insertEvents(3);
  for (const id of [orgId, otherId]) await insertDescribedEvent(t, id, { text: "text" });
  await patchKey();
  expect(await t.mutation(deleteOrgEvents, { orgId })).toBeNull();
  // The key goes first.
  expect(await left()).toMatchObject({ events: 5, descriptions: 1, syncs: 2, secrets: 1 });
  await passTime(1_000);
  expect(await left()).toMatchObject({ events: 1, descriptions: 1, syncs: 1, secrets: 1 });
});

test("Deleting the events of an organization that was deleted works, too", async () => {
  await insertEvents(3);
  await deleteOrg(orgId);
  await t.mutation(deleteOrgEvents, { orgId });
  expect(await left()).toMatchObject({ events: 0, syncs: 0, secrets: 0 });
});

test("Deleting an organization's events goes on by itself: 10 descriptions or 50 events, 250 ms apart", async () => {
  await insertEvents(101);
  for (let i = 0; i < 11; i += 1) await insertDescribedEvent(t, orgId, { text: `${i}` });
  await deleteEvents();
  const begins = Date.now();
  const counts: number[][] = [];
  for (let batch = 0; batch < 5; batch += 1) {
    const { events, descriptions } = await left();
    counts.push([events, descriptions]);
    await passTime(255);
  }
  expect(counts).toEqual([
    [112, 1],
    [112, 0],
    [62, 0],
    [12, 0],
    [0, 0],
  ]);
  expect(Date.now() - begins).toBeLessThan(1_300);
  expect(await left()).toMatchObject({ syncs: 0, jobs: Array(4).fill("success") });
});

test("Deleting an organization's events deletes fewer at once where an app has filled them up", async () => {
  t = startEngine({}, ownFieldsSchema);
  orgId = await insertOrg(t, { lumaApiKey: undefined });
  await t.run(async (ctx) => {
    const large = { ...aStoredEvent(orgId), own: "x".repeat(300_000) };
    for (let i = 0; i < 8; i += 1) await ctx.db.insert("events", large as never);
  });
  await t.mutation(deleteOrgEvents, { orgId });
  expect((await left()).events).toBe(4);
  await passTime();
  expect(await left()).toMatchObject({ events: 0 });
});

test("Deleting an organization's events is refused while it has a key, and says what to do", async () => {
  await insertEvents(1);
  const reason = await reasonOf(t.mutation(deleteOrgEvents, { orgId }));
  expect(reason).toContain('Organization "Acme" has a lu.ma API key');
  expect(reason).toContain("setLumaConfig");
  expect(await left()).toMatchObject({ events: 1, secrets: 1 });
});

test("Deleting an organization's events stops without an error when it has a key again", async () => {
  await insertEvents(51);
  await deleteEvents();
  await patchKey("key-2");
  await passTime(10 * 60_000);
  expect(await left()).toMatchObject({ events: 1, jobs: ["success"] });
});
