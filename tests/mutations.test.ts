import { afterEach, beforeEach, expect, test } from "vitest";
import { internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import type { MirroredEvent, UpsertedEvent } from "../convex/events/validators";
import {
  aMirroredEvent,
  aStoredEvent,
  beginSync,
  getOrg,
  insertOrg,
  storedEvents,
} from "./support/builders";
import { passTime, setTime, useRealTime, useSimulatedTime } from "./support/clock";
import { startEngine, type Engine } from "./support/engine";
import { jobs } from "./support/faults";
import { failureOf, reasonOf } from "./support/fixtures";
import { ownFieldsSchema } from "./support/ownFields";

const { upsertEvents, markEventsRemoved, describeEvents } = internal.events.mutations;
const { updateOrgSyncTimestamp, deleteOrgEvents } = internal.events.mutations;
const { endSync } = internal.events.queue;

let t: Engine;
let orgId: Id<"organizations">;
// In simulated time, in which the queue's worker does nothing until a test lets it pass.
beforeEach(async () => {
  useSimulatedTime();
  t = startEngine();
  orgId = await insertOrg(t);
});
afterEach(useRealTime);

async function upsert(...events: UpsertedEvent[]) {
  return await t.mutation(upsertEvents, { orgId, events });
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
    await ctx.db.query("organizations").collect(),
  ]);
}

const LARGE = "語".repeat(50_000); // 150 kB

async function insertEvents(count: number, description: string, id = orgId): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, i) => `evt-${i}`);
  await t.run(async (ctx) => {
    for (const lumaEventId of ids) {
      await ctx.db.insert("events", aStoredEvent(id, { lumaEventId, description }));
    }
  });
  return ids;
}

test("Events that are new are inserted, changed ones updated, and the others not written", async () => {
  const [same, changed, added] = [1, 2, 3].map((n) => aMirroredEvent({ lumaEventId: `evt-${n}` }));
  const counts = await upsert(same!, changed!);
  expect(counts).toMatchObject({ inserted: 2, updated: 0, unchanged: 0 });
  const before = await storedEvents(t);
  const again = await upsert(same!, { ...changed!, title: "Another title" }, added!);
  expect(again).toMatchObject({ inserted: 1, updated: 1, unchanged: 1, written: { done: 3 } });
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

test("An event that changes keeps its description, unless it is given another", async () => {
  await upsert(aMirroredEvent());
  const descriptions = [{ lumaEventId: "evt-1", description: "text" }];
  await t.mutation(describeEvents, { orgId, descriptions });
  await upsert(aMirroredEvent({ title: "Renamed" }));
  expect(await stored()).toMatchObject({ title: "Renamed", description: "text" });
  for (const description of ["another", ""]) {
    const described = { ...aMirroredEvent({ title: "Renamed" }), description };
    expect(await upsert(described)).toMatchObject({ updated: 1, unchanged: 0 });
    expect(await upsert(described)).toMatchObject({ updated: 0, unchanged: 1 });
    expect((await stored()).description).toBe(description);
  }
});

test("An event of two organizations is a document of each", async () => {
  const event = aMirroredEvent();
  await upsert(event);
  const before = await stored();
  const otherId = await insertOrg(t, { name: "Other" });
  const renamed = { ...event, title: "Their title" };
  const counts = await t.mutation(upsertEvents, { orgId: otherId, events: [renamed] });
  expect(counts).toMatchObject({ inserted: 1, updated: 0, unchanged: 0 });
  const all = await t.run((ctx) => ctx.db.query("events").collect());
  expect(all).toMatchObject([before, { orgId: otherId, title: "Their title" }]);
  expect(await upsert(event)).toMatchObject({ inserted: 0, updated: 0, unchanged: 1 });
});

test("A removed event that comes back is the same document", async () => {
  const event = aMirroredEvent();
  await upsert(event);
  const { _id } = await stored();
  await t.mutation(markEventsRemoved, { orgId, eventIds: [_id] });
  expect(await upsert(event)).toMatchObject({ updated: 1 });
  expect(await stored()).toMatchObject({ _id, status: "listed" });
});

test("An event is stamped with the time of its writing", async () => {
  const before = Date.now();
  await upsert(aMirroredEvent());
  expect((await stored()).syncedAt).toBeGreaterThanOrEqual(before);
});

test("A write for an organization that does not exist says which, and writes nothing", async () => {
  await upsert(aMirroredEvent());
  const gone = { orgId: await insertOrg(t, { name: "Gone" }) };
  await deleteOrg(gone.orgId);
  const before = await everything();
  const descriptions = [{ lumaEventId: "evt-1", description: "text" }];
  const eventIds = [(await stored())._id];
  for (const write of [
    () => t.mutation(upsertEvents, { ...gone, events: [aMirroredEvent()] }),
    () => t.mutation(markEventsRemoved, { ...gone, eventIds }),
    () => t.mutation(describeEvents, { ...gone, descriptions }),
    () => t.mutation(updateOrgSyncTimestamp, { ...gone, timestamp: 5 }),
  ]) {
    expect(await reasonOf(write())).toContain(gone.orgId);
  }
  expect(await everything()).toEqual(before);
});

async function remove(): Promise<number> {
  const { _id } = await stored();
  return (await t.mutation(markEventsRemoved, { orgId, eventIds: [_id] })).removed;
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
  await t.mutation(upsertEvents, { orgId: otherId, events: [aMirroredEvent()] });
  expect(await remove()).toBe(0);
  const { _id, status } = await stored();
  expect(status).toBe("listed");
  await t.run((ctx) => ctx.db.delete("events", _id));
  const result = await t.mutation(markEventsRemoved, { orgId, eventIds: [_id] });
  expect(result).toEqual({ removed: 0, written: { done: 1, bytes: 0 } });
});

async function describeEvent(description: string, lumaEventId = "evt-1"): Promise<number> {
  const descriptions = [{ lumaEventId, description }];
  return (await t.mutation(describeEvents, { orgId, descriptions })).described;
}

test("A description that is new, changed or cleared counts, but not a first answer that is empty", async () => {
  await upsert(aMirroredEvent(), aMirroredEvent({ lumaEventId: "evt-2" }));
  expect(await describeEvent("text")).toBe(1);
  const before = await stored();
  setTime(Date.now() + 1_000);
  expect(await describeEvent("text")).toBe(0);
  expect(await stored()).toEqual(before);
  expect(await describeEvent("another")).toBe(1);
  expect(await describeEvent("")).toBe(1);
  expect(await describeEvent("")).toBe(0);
  expect(await describeEvent("", "evt-2")).toBe(0);
  // That lu.ma has none is remembered all the same.
  expect((await stored("evt-2")).description).toBe("");
});

test("A description that could not be fetched stays, or is empty from now on", async () => {
  await upsert(aMirroredEvent(), aMirroredEvent({ lumaEventId: "evt-2" }));
  await describeEvent("text");
  const descriptions = [{ lumaEventId: "evt-1" }, { lumaEventId: "evt-2" }];
  const result = await t.mutation(describeEvents, { orgId, descriptions });
  expect(result).toMatchObject({ described: 0 });
  expect((await stored()).description).toBe("text");
  expect((await stored("evt-2")).description).toBe("");
});

test("A description is written for no event that is not listed, not the organization's, or not there", async () => {
  const otherId = await insertOrg(t, { name: "Other" });
  const theirs = aMirroredEvent({ lumaEventId: "evt-theirs" });
  await t.mutation(upsertEvents, { orgId: otherId, events: [theirs] });
  await upsert(aMirroredEvent({ status: "unlisted" }));
  for (const lumaEventId of ["evt-1", "evt-theirs", "evt-none"]) {
    expect(await describeEvent("text", lumaEventId)).toBe(0);
  }
  for (const event of (await storedEvents(t)).values()) {
    expect(event).not.toHaveProperty("description");
  }
});

test("A stamp has the time that it is given, and clears the organization's error", async () => {
  await t.run((ctx) => ctx.db.patch("organizations", orgId, { eventsSyncError: "no" }));
  expect(await t.mutation(updateOrgSyncTimestamp, { orgId, timestamp: 5 })).toBeNull();
  const org = await getOrg(t, orgId);
  expect(org.eventsLastSynced).toBe(5);
  expect(org).not.toHaveProperty("eventsSyncError");
  await t.mutation(updateOrgSyncTimestamp, { orgId, timestamp: 4 });
  expect((await getOrg(t, orgId)).eventsLastSynced).toBe(4);
});

/** Has an event stored, and then begins a sync. */
async function begin(): Promise<number> {
  await upsert(aMirroredEvent());
  return await beginSync(t, orgId);
}

/** Everything that a sync may write, each as the sync of this number. */
async function writes(syncNumber: number): Promise<(() => Promise<unknown>)[]> {
  const eventIds = [...(await storedEvents(t)).values()].map(({ _id }) => _id);
  const events = [aMirroredEvent({ lumaEventId: "evt-2" })];
  const descriptions = [{ lumaEventId: "evt-1", description: "text" }];
  const of = { orgId, syncNumber };
  return [
    () => t.mutation(upsertEvents, { ...of, events }),
    () => t.mutation(markEventsRemoved, { ...of, eventIds }),
    () => t.mutation(describeEvents, { ...of, descriptions }),
    () => t.mutation(updateOrgSyncTimestamp, { ...of, timestamp: 5 }),
  ];
}

const WAS_SET = '"Acme" was ended: its lu.ma API key was set meanwhile';

const configure = (config: { lumaApiKey?: string | null; lumaCalendarUrl?: string }) =>
  t.mutation(internal.orgs.mutations.setLumaConfig, { orgId, ...config });
const setKey = (lumaApiKey: string | null) => configure({ lumaApiKey });

async function expectNoWrites(syncNumber: number, kind: string, sentence: string) {
  const before = await everything();
  for (const write of await writes(syncNumber)) {
    const failure = await failureOf(write());
    expect(failure.kind, String(write)).toBe(kind);
    expect(failure.message).toContain(sentence);
  }
  const failed = { message: "no", kind: "lasting" as const };
  const outcome = await t.mutation(endSync, { orgId, syncNumber, failure: failed });
  expect(outcome?.kind).toBe(kind);
  expect(await everything()).toEqual(before);
}

test("The sync that began last writes, also when only the calendar's URL is changed", async () => {
  await begin();
  const syncNumber = await beginSync(t, orgId);
  await configure({ lumaCalendarUrl: "https://lu.ma/acme" });
  for (const write of await writes(syncNumber)) await write();
  expect(await getOrg(t, orgId)).toMatchObject({ eventsLastSynced: 5 });
  expect(await stored("evt-1")).toMatchObject({ status: "removed" });
  expect(await stored("evt-2")).toMatchObject({ status: "listed" });
});

test("A sync writes nothing from the moment another one of its organization begins", async () => {
  const syncNumber = await begin();
  await beginSync(t, await insertOrg(t, { name: "Other" }));
  await (await writes(syncNumber))[0]?.();
  await beginSync(t, orgId);
  await expectNoWrites(syncNumber, "overtaken", 'organization "Acme" has begun');
});

const patchKey = (lumaApiKey?: string) =>
  t.run((ctx) => ctx.db.patch("organizations", orgId, { lumaApiKey }));
const deleteEvents = () => patchKey().then(() => t.mutation(deleteOrgEvents, { orgId }));
const DISCONNECTED = '"Acme" was disconnected';
test.for<[what: string, said: string, happen: () => Promise<unknown>]>([
  ["the key is set", WAS_SET, () => setKey("key-2")],
  ["the key is set again", WAS_SET, () => setKey("key-of-Acme")],
  ["the key is cleared", DISCONNECTED, () => setKey(null)],
  ["the key has gone in any other way", DISCONNECTED, () => patchKey(" ")],
  ["its organization is deleted", "was deleted", () => deleteOrg(orgId)],
  ["the events are deleted", WAS_SET, () => deleteEvents().then(() => patchKey("key-2"))],
])("A sync writes nothing once %s", async ([, said, happen]) => {
  const syncNumber = await begin();
  await happen();
  await expectNoWrites(syncNumber, "ended", said);
});

test("A sync that was ended says so, also when another one was ended after it", async () => {
  const first = await begin();
  await setKey("key-2");
  await beginSync(t, orgId);
  await setKey("key-3");
  await beginSync(t, orgId);
  await expectNoWrites(first, "ended", WAS_SET);
});

test("A sync never gets the number of one before the events were deleted, not even within a millisecond", async () => {
  const numbers = [await beginSync(t, orgId), await beginSync(t, orgId)];
  await setKey(null);
  await t.mutation(deleteOrgEvents, { orgId });
  await setKey("key-2");
  for (let i = 0; i < 3; i += 1) numbers.push(await beginSync(t, orgId));
  expect(new Set(numbers).size).toBe(5);
  expect(numbers[1]).toBe((numbers[0] ?? NaN) + 1);
});

test("A mutation of a sync writes 1 MiB of whole documents at most, and says how far it came", async () => {
  const ids = await insertEvents(10, LARGE);
  const syncNumber = await beginSync(t, orgId);
  const events = ids.map((lumaEventId) => aMirroredEvent({ lumaEventId, title: "Renamed" }));
  const first = await t.mutation(upsertEvents, { orgId, syncNumber, events });
  expect(first).toMatchObject({ updated: 6, written: { done: 6 } });
  expect(first.written.bytes).toBeGreaterThan(6 * 150_000);
  expect(first.written.bytes).toBeLessThanOrEqual(1024 * 1024);
  // What is as it should be costs nothing.
  const again = await t.mutation(upsertEvents, { orgId, syncNumber, events });
  expect(again).toMatchObject({ updated: 4, unchanged: 6, written: { done: 10 } });

  const descriptions = ids.map((lumaEventId) => ({ lumaEventId, description: `${LARGE}…` }));
  const described = await t.mutation(describeEvents, { orgId, syncNumber, descriptions });
  expect(described).toMatchObject({ described: 6, written: { done: 6 } });
  const eventIds = [...(await storedEvents(t)).values()].map(({ _id }) => _id);
  const removed = await t.mutation(markEventsRemoved, { orgId, syncNumber, eventIds });
  expect(removed).toMatchObject({ removed: 6, written: { done: 6 } });
});

test("A mutation of a sync clears no more than 1 MiB of descriptions, which it has to read", async () => {
  const ids = await insertEvents(10, LARGE);
  const descriptions = ids.map((lumaEventId) => ({ lumaEventId, description: "" }));
  const args = { orgId, syncNumber: await beginSync(t, orgId), descriptions };
  expect(await t.mutation(describeEvents, args)).toMatchObject({ written: { done: 6 } });
  expect(await t.mutation(describeEvents, args)).toMatchObject({ written: { done: 10 } });
});

test("A mutation of a sync writes one document however large it is", async () => {
  t = startEngine({}, ownFieldsSchema);
  orgId = await insertOrg(t);
  const event = aStoredEvent(orgId, { lumaEventId: "evt-0", description: LARGE });
  await t.run((ctx) => ctx.db.insert("events", { ...event, own: "x".repeat(950_000) } as never));
  const syncNumber = await beginSync(t, orgId);
  const events = [aMirroredEvent({ lumaEventId: "evt-0", location: "x".repeat(900) })];
  const result = await t.mutation(upsertEvents, { orgId, syncNumber, events });
  expect(result).toMatchObject({ updated: 1, written: { done: 1 } });
});

test("A mutation that is called without a sync writes everything", async () => {
  const ids = await insertEvents(10, LARGE);
  const events = ids.map((lumaEventId) => aMirroredEvent({ lumaEventId, title: "Renamed" }));
  const result = await t.mutation(upsertEvents, { orgId, events });
  expect(result).toMatchObject({ updated: 10, written: { done: 10 } });
  expect(result.written.bytes).toBeGreaterThan(10 * 150_000);
});

async function left() {
  const deletions = (await jobs(t)).filter(({ name }) => name.includes("deleteOrgEvents"));
  const count = (table: "events" | "eventSyncs") =>
    t.run(async (ctx) => (await ctx.db.query(table).collect()).length);
  const states = deletions.map(({ state }) => state.kind);
  return { events: await count("events"), eventSyncs: await count("eventSyncs"), jobs: states };
}

test("Deleting an organization's events deletes what its syncs left, and of no other organization", async () => {
  const otherId = await insertOrg(t, { name: "Other" });
  await beginSync(t, orgId);
  await insertEvents(3, "text");
  await insertEvents(2, "text", otherId);
  await patchKey();
  expect(await t.mutation(deleteOrgEvents, { orgId })).toBeNull();
  expect(await left()).toEqual({ events: 2, eventSyncs: 0, jobs: [] });
});

test("Deleting the events of an organization that was deleted works too", async () => {
  await insertEvents(3, "text");
  await deleteOrg(orgId);
  await t.mutation(deleteOrgEvents, { orgId });
  expect(await left()).toMatchObject({ events: 0 });
});

test("Deleting an organization's events goes on by itself, in batches of 500", async () => {
  await beginSync(t, orgId);
  await insertEvents(1_001, "");
  await deleteEvents();
  expect(await left()).toMatchObject({ events: 501, eventSyncs: 1 });
  await passTime();
  expect(await left()).toMatchObject({ events: 0, eventSyncs: 0 });
  expect((await left()).jobs).toHaveLength(2);
});

test("Deleting an organization's events takes no more than 1 MiB and an event at a time", async () => {
  await insertEvents(12, LARGE);
  await deleteEvents();
  expect(await left()).toMatchObject({ events: 12 - 7 });
  await passTime();
  expect(await left()).toMatchObject({ events: 0 });
});

test("Deleting an organization's events is refused while it has a key, and says what to do", async () => {
  await insertEvents(1, "text");
  const reason = await reasonOf(t.mutation(deleteOrgEvents, { orgId }));
  expect(reason).toContain('Organization "Acme" has a lu.ma API key');
  expect(reason).toContain("setLumaConfig");
  expect(await left()).toMatchObject({ events: 1 });
});

test("Deleting an organization's events stops without an error when it has a key again", async () => {
  await insertEvents(501, "");
  await deleteEvents();
  await patchKey("key-2");
  await passTime();
  expect(await left()).toEqual({ events: 1, eventSyncs: 0, jobs: ["success"] });
});
