import { afterEach, beforeEach, describe, expect, test } from "vitest";
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
import { failureOf, reasonOf } from "./support/fixtures";

import { ownFieldsSchema } from "./support/ownFields";

const { upsertEvents, markEventsRemoved, describeEvents, updateOrgSyncTimestamp } =
  internal.events.mutations;
const { deleteOrgEvents } = internal.events.mutations;
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

async function deletedOrg(): Promise<Id<"organizations">> {
  const gone = await insertOrg(t, { name: "Gone" });
  await t.run((ctx) => ctx.db.delete("organizations", gone));
  return gone;
}

describe("upsertEvents", () => {
  test("inserts new events, updates changed ones, and does not write the others", async () => {
    const [same, changed] = ["evt-1", "evt-2"].map((lumaEventId) =>
      aMirroredEvent({ lumaEventId }),
    );
    if (!same || !changed) throw new Error("unreachable");
    expect(await upsert(same, changed)).toMatchObject({ inserted: 2, updated: 0, unchanged: 0 });
    const before = await storedEvents(t);

    const renamed = { ...changed, title: "Another title" };
    const added = aMirroredEvent({ lumaEventId: "evt-3" });
    expect(await upsert(same, renamed, added)).toMatchObject({
      inserted: 1,
      updated: 1,
      unchanged: 1,
      written: { done: 3 },
    });
    const after = await storedEvents(t);
    expect(after.get("evt-1")).toEqual(before.get("evt-1"));
    expect(after.get("evt-2")).toMatchObject({
      _id: before.get("evt-2")?._id,
      title: "Another title",
    });
    expect(after.size).toBe(3);
  });

  test.for<keyof MirroredEvent>(["endAt", "coverUrl", "location"])(
    "clears a %s that lu.ma cleared",
    async (field) => {
      const full = aMirroredEvent({
        endAt: Date.now() + 9e7,
        coverUrl: "https://images.example/1",
        location: "Berlin",
      });
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
  ])("notices a change of %o", async (change) => {
    const event = aMirroredEvent();
    await upsert(event);
    expect(await upsert({ ...event, ...change })).toMatchObject({ updated: 1 });
    expect(await stored()).toMatchObject(change);
  });

  test("has an event over at its end, or at its start while lu.ma gives no end", async () => {
    for (const times of [{ startAt: 5 }, { startAt: 5, endAt: 9 }, { startAt: 7 }]) {
      await upsert(aMirroredEvent(times));
      expect((await stored()).overAt).toBe(times.endAt ?? times.startAt);
    }
  });

  test("keeps the description of an event that changes, unless it is given another", async () => {
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

  test("gives each organization a document of its own, also of the same event", async () => {
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

  test("brings a removed event back as the same document", async () => {
    const event = aMirroredEvent();
    await upsert(event);
    const { _id } = await stored();
    await t.mutation(markEventsRemoved, { orgId, eventIds: [_id] });
    expect(await upsert(event)).toMatchObject({ updated: 1 });
    expect(await stored()).toMatchObject({ _id, status: "listed" });
  });

  test("stamps what it writes with the time of writing", async () => {
    const before = Date.now();
    await upsert(aMirroredEvent());
    expect((await stored()).syncedAt).toBeGreaterThanOrEqual(before);
  });

  test("writes nothing for an organization that does not exist", async () => {
    const gone = await deletedOrg();
    const reason = await reasonOf(
      t.mutation(upsertEvents, { orgId: gone, events: [aMirroredEvent()] }),
    );
    expect(reason).toContain(gone);
    expect((await storedEvents(t)).size).toBe(0);
  });
});

describe("markEventsRemoved", () => {
  async function remove(): Promise<number> {
    const { _id } = await stored();
    return (await t.mutation(markEventsRemoved, { orgId, eventIds: [_id] })).removed;
  }

  test("keeps the event, hidden, and says how many there were", async () => {
    const event = aMirroredEvent({ location: "Berlin" });
    await upsert(event);
    expect(await remove()).toBe(1);
    expect(await stored()).toMatchObject({ ...event, status: "removed" });
    expect(await remove()).toBe(0);
  });

  test("leaves alone what is another organization's, or was deleted", async () => {
    const otherId = await insertOrg(t, { name: "Other" });
    await t.mutation(upsertEvents, { orgId: otherId, events: [aMirroredEvent()] });
    expect(await remove()).toBe(0);
    const { _id, status } = await stored();
    expect(status).toBe("listed");
    await t.run((ctx) => ctx.db.delete("events", _id));
    expect(await t.mutation(markEventsRemoved, { orgId, eventIds: [_id] })).toEqual({
      removed: 0,
      written: { done: 1, bytes: 0 },
    });
  });
});

describe("describeEvents", () => {
  async function describeEvent(description: string, lumaEventId = "evt-1"): Promise<number> {
    const descriptions = [{ lumaEventId, description }];
    return (await t.mutation(describeEvents, { orgId, descriptions })).described;
  }

  test("counts what is new, changed or cleared, but not a first answer that is empty", async () => {
    await upsert(aMirroredEvent(), aMirroredEvent({ lumaEventId: "evt-2" }));
    expect(await describeEvent("text")).toBe(1);
    expect(await describeEvent("text")).toBe(0);
    expect(await describeEvent("another")).toBe(1);
    expect(await describeEvent("")).toBe(1);
    expect(await describeEvent("")).toBe(0);
    expect(await describeEvent("", "evt-2")).toBe(0);
    // That lu.ma has none is remembered all the same.
    expect((await stored("evt-2")).description).toBe("");
  });

  test("without a text keeps what is there, or remembers that lu.ma was asked", async () => {
    await upsert(aMirroredEvent(), aMirroredEvent({ lumaEventId: "evt-2" }));
    await describeEvent("text");
    const descriptions = [{ lumaEventId: "evt-1" }, { lumaEventId: "evt-2" }];
    expect(await t.mutation(describeEvents, { orgId, descriptions })).toMatchObject({
      described: 0,
    });
    expect([(await stored()).description, (await stored("evt-2")).description]).toEqual([
      "text",
      "",
    ]);
  });

  test("does not write what is already there", async () => {
    await upsert(aMirroredEvent());
    await describeEvent("text");
    const before = await stored();
    setTime(Date.now() + 1_000);
    await describeEvent("text");
    expect(await stored()).toEqual(before);
  });

  test("leaves alone what is not listed, not the organization's, or not there", async () => {
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
});

describe("updateOrgSyncTimestamp", () => {
  test("stamps the organization with the time it is given, and clears its error", async () => {
    await t.run((ctx) => ctx.db.patch("organizations", orgId, { eventsSyncError: "no" }));
    expect(await t.mutation(updateOrgSyncTimestamp, { orgId, timestamp: 5 })).toBeNull();
    const org = await getOrg(t, orgId);
    expect(org.eventsLastSynced).toBe(5);
    expect(org).not.toHaveProperty("eventsSyncError");
    await t.mutation(updateOrgSyncTimestamp, { orgId, timestamp: 4 });
    expect((await getOrg(t, orgId)).eventsLastSynced).toBe(4);
  });

  test("says which organization does not exist", async () => {
    const gone = await deletedOrg();
    const stamping = t.mutation(updateOrgSyncTimestamp, { orgId: gone, timestamp: 5 });
    expect(await reasonOf(stamping)).toContain(gone);
  });
});

describe("a sync", () => {
  /** Everything that a sync may write, each as the sync of this number. */
  function writes(syncNumber: number): [string, () => Promise<unknown>][] {
    const events = [aMirroredEvent({ lumaEventId: "evt-2" })];
    const descriptions = [{ lumaEventId: "evt-1", description: "text" }];
    const of = { orgId, syncNumber };
    return [
      ["an event", () => t.mutation(upsertEvents, { ...of, events })],
      [
        "a removal",
        async () =>
          t.mutation(markEventsRemoved, { ...of, eventIds: [(await stored("evt-1"))._id] }),
      ],
      ["a description", () => t.mutation(describeEvents, { ...of, descriptions })],
      ["a stamp", () => t.mutation(updateOrgSyncTimestamp, { ...of, timestamp: 5 })],
    ];
  }

  const WAS_SET = '"Acme" was ended: its lu.ma API key was set meanwhile';

  async function setKey(lumaApiKey: string | null): Promise<void> {
    await t.mutation(internal.orgs.mutations.setLumaConfig, { orgId, lumaApiKey });
  }

  async function everything() {
    return await t.run(async (ctx) => [
      await ctx.db.query("events").collect(),
      await ctx.db.query("organizations").collect(),
    ]);
  }

  async function expectNoWrites(syncNumber: number, kind: string, sentence: string) {
    const before = await everything();
    for (const [what, write] of writes(syncNumber)) {
      const failure = await failureOf(write());
      expect(failure, what).toMatchObject({ kind });
      expect(failure.message, what).toContain(sentence);
    }
    const failed = { message: "no", kind: "lasting" as const };
    const outcome = await t.mutation(endSync, { orgId, syncNumber, failure: failed });
    expect(outcome?.kind).toBe(kind);
    expect(await everything()).toEqual(before);
  }

  beforeEach(async () => {
    await upsert(aMirroredEvent());
  });

  test("that began last writes", async () => {
    await beginSync(t, orgId);
    const syncNumber = await beginSync(t, orgId);
    for (const [, write] of writes(syncNumber)) await write();
    expect(await getOrg(t, orgId)).toMatchObject({ eventsLastSynced: 5 });
    expect(await stored("evt-1")).toMatchObject({ status: "removed" });
    expect(await stored("evt-2")).toMatchObject({ status: "listed" });
  });

  test("writes nothing from the moment another one of its organization begins", async () => {
    const syncNumber = await beginSync(t, orgId);
    await beginSync(t, await insertOrg(t, { name: "Other" }));
    await writes(syncNumber)[0]?.[1]();
    await beginSync(t, orgId);
    await expectNoWrites(syncNumber, "overtaken", 'organization "Acme" has begun');
  });

  test.for<[string, string, () => Promise<unknown>]>([
    ["the key is set", WAS_SET, () => setKey("key-2")],
    ["the key is set again", WAS_SET, () => setKey("key-of-Acme")],
    ["the key is cleared", '"Acme" was disconnected', () => setKey(null)],
    [
      "the key has gone in any other way",
      '"Acme" was disconnected',
      () => t.run((ctx) => ctx.db.patch("organizations", orgId, { lumaApiKey: " " })),
    ],
    [
      "its organization is deleted",
      "was deleted",
      () => t.run((ctx) => ctx.db.delete("organizations", orgId)),
    ],
  ])("writes nothing once %s", async ([, sentence, happen]) => {
    const syncNumber = await beginSync(t, orgId);
    await happen();
    await expectNoWrites(syncNumber, "ended", sentence);
  });

  test("that was ended says so, also when another one was ended after it", async () => {
    const first = await beginSync(t, orgId);
    await setKey("key-2");
    await beginSync(t, orgId);
    await setKey("key-3");
    await beginSync(t, orgId);
    await expectNoWrites(first, "ended", WAS_SET);
  });

  test("goes on when only the calendar's URL is changed", async () => {
    const syncNumber = await beginSync(t, orgId);
    const lumaCalendarUrl = "https://lu.ma/acme";
    await t.mutation(internal.orgs.mutations.setLumaConfig, { orgId, lumaCalendarUrl });
    for (const [, write] of writes(syncNumber)) await write();
    expect((await getOrg(t, orgId)).eventsLastSynced).toBe(5);
  });

  test("never gets the number of one before the events were deleted, not even within a millisecond", async () => {
    const numbers = [await beginSync(t, orgId), await beginSync(t, orgId)];
    await setKey(null);
    await t.mutation(deleteOrgEvents, { orgId });
    await setKey("key-2");
    for (let i = 0; i < 3; i += 1) numbers.push(await beginSync(t, orgId));
    expect(new Set(numbers).size).toBe(5);
    expect(numbers[1]).toBe((numbers[0] ?? NaN) + 1);
  });

  test("that began before the events were deleted writes nothing", async () => {
    const syncNumber = await beginSync(t, orgId);
    await t.run((ctx) => ctx.db.patch("organizations", orgId, { lumaApiKey: undefined }));
    await t.mutation(deleteOrgEvents, { orgId });
    await t.run((ctx) => ctx.db.patch("organizations", orgId, { lumaApiKey: "key-2" }));
    const events = [aMirroredEvent()];
    const failure = await failureOf(t.mutation(upsertEvents, { orgId, syncNumber, events }));
    expect(failure.kind).toBe("ended");
    expect((await storedEvents(t)).size).toBe(0);
  });
});

describe("a mutation of a sync", () => {
  // 150 kB each, in a document of which a sync knows nothing.
  const LARGE = "語".repeat(50_000);

  async function insertLarge(count: number): Promise<string[]> {
    const ids = Array.from({ length: count }, (_, i) => `evt-${i}`);
    await t.run(async (ctx) => {
      for (const lumaEventId of ids) {
        const event = aStoredEvent(orgId, { lumaEventId, description: LARGE });
        await ctx.db.insert("events", event);
      }
    });
    return ids;
  }

  test("writes 1 MiB of whole documents at most, and says how far it came", async () => {
    const ids = await insertLarge(10);
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

  test("clears no more than 1 MiB of descriptions, which it has to read", async () => {
    const descriptions = (await insertLarge(10)).map((lumaEventId) => ({
      lumaEventId,
      description: "",
    }));
    const args = { orgId, syncNumber: await beginSync(t, orgId), descriptions };
    expect(await t.mutation(describeEvents, args)).toMatchObject({ written: { done: 6 } });
    expect(await t.mutation(describeEvents, args)).toMatchObject({ written: { done: 10 } });
  });

  test("writes one document however large it is", async () => {
    await insertLarge(1);
    const [event] = (await storedEvents(t)).values();
    if (event === undefined) throw new Error("unreachable");
    const own = { own: "x".repeat(950_000) };
    t = startEngine({}, ownFieldsSchema);
    orgId = await insertOrg(t);
    const { _id: _, _creationTime: __, ...fields } = event;
    await t.run((ctx) => ctx.db.insert("events", { ...fields, ...own, orgId } as never));
    const syncNumber = await beginSync(t, orgId);
    const events = [aMirroredEvent({ lumaEventId: "evt-0", location: "x".repeat(900) })];
    const result = await t.mutation(upsertEvents, { orgId, syncNumber, events });
    expect(result).toMatchObject({ updated: 1, written: { done: 1 } });
  });

  test("writes everything when it is called without a sync", async () => {
    const ids = await insertLarge(10);
    const events = ids.map((lumaEventId) => aMirroredEvent({ lumaEventId, title: "Renamed" }));
    const result = await t.mutation(upsertEvents, { orgId, events });
    expect(result).toMatchObject({ updated: 10, written: { done: 10 } });
    expect(result.written.bytes).toBeGreaterThan(10 * 150_000);
  });
});

describe("deleteOrgEvents", () => {
  async function disconnect(id = orgId): Promise<void> {
    await t.run((ctx) => ctx.db.patch("organizations", id, { lumaApiKey: undefined }));
  }

  async function insertEvents(count: number, description: string, id = orgId): Promise<void> {
    const events = Array.from({ length: count }, (_, i) =>
      aStoredEvent(id, { lumaEventId: `evt-${i}`, description }),
    );
    await t.run(async (ctx) => {
      for (const event of events) await ctx.db.insert("events", event);
    });
  }

  async function left() {
    return await t.run(async (ctx) => ({
      events: (await ctx.db.query("events").collect()).length,
      eventSyncs: (await ctx.db.query("eventSyncs").collect()).length,
      jobs: (await ctx.db.system.query("_scheduled_functions").collect())
        .filter(({ name }) => name.includes("deleteOrgEvents"))
        .map(({ state }) => state.kind),
    }));
  }

  test("deletes what the syncs left, and of no other organization", async () => {
    const otherId = await insertOrg(t, { name: "Other" });
    await beginSync(t, orgId);
    await insertEvents(3, "text");
    await insertEvents(2, "text", otherId);
    await disconnect();
    expect(await t.mutation(deleteOrgEvents, { orgId })).toBeNull();
    expect(await left()).toEqual({ events: 2, eventSyncs: 0, jobs: [] });
  });

  test("of an organization that was deleted works too", async () => {
    await insertEvents(3, "text");
    await t.run((ctx) => ctx.db.delete("organizations", orgId));
    await t.mutation(deleteOrgEvents, { orgId });
    expect(await left()).toMatchObject({ events: 0 });
  });

  test("goes on by itself, in batches of 500 events", async () => {
    await beginSync(t, orgId);
    await insertEvents(1_001, "");
    await disconnect();
    await t.mutation(deleteOrgEvents, { orgId });
    expect(await left()).toMatchObject({ events: 501, eventSyncs: 1 });
    await passTime();
    expect(await left()).toMatchObject({ events: 0, eventSyncs: 0 });
    expect((await left()).jobs).toHaveLength(2);
  });

  test("deletes no more than 1 MiB and an event at a time", async () => {
    await insertEvents(12, "語".repeat(50_000));
    await disconnect();
    await t.mutation(deleteOrgEvents, { orgId });
    expect(await left()).toMatchObject({ events: 12 - 7 });
    await passTime();
    expect(await left()).toMatchObject({ events: 0 });
  });

  test("is refused while there is a key, and says what to do", async () => {
    await insertEvents(1, "text");
    const reason = await reasonOf(t.mutation(deleteOrgEvents, { orgId }));
    expect(reason).toContain('Organization "Acme" has a lu.ma API key');
    expect(reason).toContain("setLumaConfig");
    expect(await left()).toMatchObject({ events: 1 });
  });

  test("stops without an error when there is a key again", async () => {
    await insertEvents(501, "");
    await disconnect();
    await t.mutation(deleteOrgEvents, { orgId });
    await t.run((ctx) => ctx.db.patch("organizations", orgId, { lumaApiKey: "key-2" }));
    await passTime();
    expect(await left()).toEqual({
      events: 1,
      eventSyncs: 0,
      jobs: ["success"],
    });
  });
});
