/** What a sync's mutations write and which sync may write, and how an organization's events are deleted. */
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
// Time is simulated, so the queue's worker does nothing until a test lets time pass.
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

test("New events are inserted, changed ones updated, and the others not written", async () => {
  const [same, changed, added] = [1, 2, 3].map((n) => aMirroredEvent({ lumaEventId: `evt-${n}` }));
  const counts = await upsert(same!, changed!);
  expect(counts).toEqual({ inserted: 2, updated: 0, unchanged: 0 });
  const before = await storedEvents(t);
  setTime(Date.now() + 1_000);
  const again = await upsert(same!, { ...changed!, title: "Another title" }, added!);
  expect(again).toEqual({ inserted: 1, updated: 1, unchanged: 1 });
  const after = await storedEvents(t);
  expect(after.size).toBe(3);
  expect(after.get("evt-1")).toEqual(before.get("evt-1"));
  const { _id } = before.get("evt-2")!;
  expect(after.get("evt-2")).toMatchObject({
    _id,
    title: "Another title",
    syncedAt: Date.now(),
  });
});

test.for<keyof MirroredEvent>(["endAt", "coverUrl", "location"])(
  "An event's %s is cleared if lu.ma cleared it",
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
])("An event is updated if lu.ma changed it to %o", async (change) => {
  const event = aMirroredEvent();
  await upsert(event);
  expect(await upsert({ ...event, ...change })).toMatchObject({ updated: 1 });
  expect(await stored()).toMatchObject(change);
});

test("An event without an end is over at its start, and one of over 24 hours is long", async () => {
  for (const { startAt, endAt, isLong } of [
    { startAt: 5, isLong: false },
    { startAt: 5, endAt: 5 + DAY_MS, isLong: false },
    { startAt: 5, endAt: 5 + DAY_MS + 1, isLong: true },
    { startAt: 7, isLong: false },
  ]) {
    await upsert(aMirroredEvent({ startAt, endAt }));
    expect(await stored()).toMatchObject({ overAt: endAt ?? startAt, isLong });
  }
});

test("An event of two organizations has a document for each", async () => {
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

test("An event that an import stored twice doesn't stop its organization's sync", async () => {
  const first = await t.run((ctx) => ctx.db.insert("events", aStoredEvent(orgId)));
  await t.run((ctx) => ctx.db.insert("events", aStoredEvent(orgId)));
  const { lumaEventId } = aStoredEvent(orgId);
  expect(await upsert(aMirroredEvent({ lumaEventId, title: "New" }))).toMatchObject({ updated: 1 });
  const updated = await t.run((ctx) => ctx.db.get("events", first));
  expect(updated?.title).toBe("New");
});

async function remove(): Promise<number> {
  const { _id } = await stored();
  return (await t.mutation(markEventsRemoved, { ...sync, eventIds: [_id] })).removed;
}

test("A removed event is counted once, and keeps its document in case it comes back", async () => {
  const event = aMirroredEvent({ location: "Berlin" });
  await upsert(event);
  const { _id } = await stored();
  expect(await remove()).toBe(1);
  expect(await stored()).toMatchObject({ ...event, _id, status: "removed" });
  expect(await remove()).toBe(0);
  expect(await upsert(event)).toMatchObject({ updated: 1 });
  expect(await stored()).toMatchObject({ _id, status: "listed" });
});

test("A removal skips an event that is another organization's or was deleted", async () => {
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

test("New, changed and cleared descriptions count, but missing and equal ones don't", async () => {
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
  expect((await stored("evt-2")).isDescribed).toBe(true);
});

test("An event keeps its description when it changes", async () => {
  await upsert(aMirroredEvent());
  await describeEvent("text");
  await upsert(aMirroredEvent({ title: "Renamed" }));
  expect(await stored()).toMatchObject({ title: "Renamed", isDescribed: true });
  expect(await descriptionOf()).toBe("text");
});

test("A description that could not be fetched is kept, and counts as asked for", async () => {
  await upsert(aMirroredEvent(), aMirroredEvent({ lumaEventId: "evt-2" }));
  await describeEvent("text");
  for (const id of ["evt-1", "evt-2"]) expect(await describeEvent(undefined, id)).toBe(0);
  expect(await storedDescriptions(t)).toEqual(new Map([["evt-1", "text"]]));
  expect((await stored("evt-2")).isDescribed).toBe(true);
});

test("A description of an unlisted, foreign or missing event is ignored", async () => {
  const otherId = await insertOrg(t, { name: "Other" });
  const theirs = aStoredEvent(otherId, { lumaEventId: "evt-theirs" });
  await t.run((ctx) => ctx.db.insert("events", theirs));
  await upsert(aMirroredEvent({ status: "unlisted" }));
  for (const lumaEventId of ["evt-1", "evt-theirs", "evt-none"]) {
    expect(await describeEvent("text", lumaEventId)).toBe(0);
  }
  expect(await storedDescriptions(t)).toEqual(new Map());
});

test("A stamp sets the time of the last sync, and replaces or clears the error", async () => {
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

/** Every way in which a sync writes. */
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

/** Expects that every write is refused, and that the sync can no longer read the key. */
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

test("The latest sync may write, even if the calendar's URL is changed meanwhile", async () => {
  await upsert(aMirroredEvent());
  const later = await beginSync(t, orgId);
  await configure({ lumaCalendarUrl: "https://lu.ma/acme" });
  for (const write of await writes(later)) await write();
  expect(await getOrg(t, orgId)).toMatchObject({ eventsLastSynced: 5 });
  expect(await stored("evt-1")).toMatchObject({ status: "removed" });
  expect(await stored("evt-2")).toMatchObject({ status: "listed" });
});

test("A sync writes nothing once a later sync of its organization has begun", async () => {
  await upsert(aMirroredEvent());
  await beginSync(t, await insertOrg(t, { name: "Other" }));
  await (await writes(sync))[0]?.();
  await beginSync(t, orgId);
  await expectNoWrites(sync, "overtaken", '"Acme" was overtaken: a later one has begun');
});

test("A sync writes nothing once it has ended", async () => {
  await upsert(aMirroredEvent());
  await t.mutation(endSync, { ...sync, failure: null });
  await expectNoWrites(sync, "ended", '"Acme" was ended');
});

const patchKey = (lumaApiKey?: string) =>
  t.run((ctx) => ctx.db.patch("organizations", orgId, { lumaApiKey }));
const deleteEvents = () => patchKey().then(() => t.mutation(deleteOrgEvents, { orgId }));
const DISCONNECTED = '"Acme" was disconnected';
test.for<[what: string, said: string, happen: () => Promise<unknown>]>([
  ["another key is set", WAS_SET, () => setKey("key-2")],
  ["the same key is set again", WAS_SET, () => setKey("key-of-Acme")],
  ["the key is cleared", DISCONNECTED, () => setKey(null)],
  ["the key is cleared by hand", DISCONNECTED, () => patchKey(" ")],
  ["its organization is deleted", "was deleted", () => deleteOrg(orgId)],
  ["the events are deleted", WAS_SET, () => deleteEvents().then(() => patchKey("key-2"))],
])("A sync writes nothing once %s", async ([, said, happen]) => {
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

test("Deleting an organization's events deletes all of its data and nobody else's", async () => {
  const otherId = await insertOrg(t, { name: "Other" });
  await beginSync(t, otherId);
  await insertEvents(3);
  for (const id of [orgId, otherId]) await insertDescribedEvent(t, id, { text: "text" });
  await patchKey();
  expect(await t.mutation(deleteOrgEvents, { orgId })).toBeNull();
  // The key is deleted first.
  expect(await left()).toMatchObject({ events: 5, descriptions: 1, syncs: 2, secrets: 1 });
  await passTime(1_000);
  expect(await left()).toMatchObject({ events: 1, descriptions: 1, syncs: 1, secrets: 1 });
});

test("The events of an organization that was already deleted can be deleted", async () => {
  await insertEvents(3);
  await deleteOrg(orgId);
  await t.mutation(deleteOrgEvents, { orgId });
  expect(await left()).toMatchObject({ events: 0, syncs: 0, secrets: 0 });
});

test("Events are deleted in batches of 10 descriptions or 50 events, 250 ms apart", async () => {
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

test("Events are deleted in smaller batches if the app has added large fields", async () => {
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

test("Deleting events is refused, with advice, while their organization has a key", async () => {
  await insertEvents(1);
  const reason = await reasonOf(t.mutation(deleteOrgEvents, { orgId }));
  expect(reason).toContain('Organization "Acme" has a lu.ma API key');
  expect(reason).toContain("setLumaConfig");
  expect(await left()).toMatchObject({ events: 1, secrets: 1 });
});

test("Deleting events stops without an error if their organization gets a key again", async () => {
  await insertEvents(51);
  await deleteEvents();
  await patchKey("key-2");
  await passTime(10 * 60_000);
  expect(await left()).toMatchObject({ events: 1, jobs: ["success"] });
});
