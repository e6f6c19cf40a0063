import { beforeEach, describe, expect, test } from "vitest";
import { internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import type { MirroredEvent } from "../convex/events/validators";
import { aMirroredEvent, getOrg, insertOrg, storedEvents } from "./support/builders";
import { startEngine, type Engine } from "./support/engine";
import { reasonOf } from "./support/fixtures";

const { upsertEvents, markEventsRemoved, updateOrgSyncTimestamp, recordSyncError } =
  internal.events.mutations;

let t: Engine;
let orgId: Id<"organizations">;
beforeEach(async () => {
  t = startEngine();
  orgId = await insertOrg(t);
});

async function upsert(...events: MirroredEvent[]) {
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
  test("inserts new events, replaces changed ones, and does not write the others", async () => {
    const [same, changed] = ["evt-1", "evt-2"].map((lumaEventId) =>
      aMirroredEvent({ lumaEventId }),
    );
    if (!same || !changed) throw new Error("unreachable");
    expect(await upsert(same, changed)).toEqual({ inserted: 2, updated: 0, unchanged: 0 });
    const before = await storedEvents(t);

    const renamed = { ...changed, title: "Another title" };
    const added = aMirroredEvent({ lumaEventId: "evt-3" });
    expect(await upsert(same, renamed, added)).toEqual({ inserted: 1, updated: 1, unchanged: 1 });
    const after = await storedEvents(t);
    expect(after.get("evt-1")).toEqual(before.get("evt-1"));
    expect(after.get("evt-2")).toMatchObject({
      _id: before.get("evt-2")?._id,
      title: "Another title",
    });
    expect(after.size).toBe(3);
  });

  test.for<keyof MirroredEvent>(["description", "endAt", "coverUrl", "location"])(
    "clears a %s that lu.ma cleared",
    async (field) => {
      const full = aMirroredEvent({
        description: "text",
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
    { description: "x" },
    { coverUrl: "https://x.example" },
    { location: "x" },
    { endAt: 2e13 },
  ])("notices a change of %o", async (change) => {
    const event = aMirroredEvent();
    await upsert(event);
    expect(await upsert({ ...event, ...change })).toMatchObject({ updated: 1 });
    expect(await stored()).toMatchObject(change);
  });

  test("moves an event that changed calendars to its new organization", async () => {
    const event = aMirroredEvent();
    await upsert(event);
    const { _id } = await stored();
    const otherId = await insertOrg(t, { name: "Other" });
    const counts = await t.mutation(upsertEvents, { orgId: otherId, events: [event] });
    expect(counts).toEqual({ inserted: 0, updated: 1, unchanged: 0 });
    expect(await stored()).toMatchObject({ _id, orgId: otherId });
  });

  test("brings a removed event back as the same document", async () => {
    const event = aMirroredEvent();
    await upsert(event);
    const { _id } = await stored();
    await t.mutation(markEventsRemoved, { orgId, eventIds: [_id], syncStartedAt: Date.now() });
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

  test("in a sync, leaves alone what a sync that began later wrote", async () => {
    const newer = aMirroredEvent({ status: "unlisted" });
    await t.mutation(upsertEvents, { orgId, events: [newer], syncStartedAt: 2_000 });
    const older = { ...newer, status: "listed" as const };
    const write = { orgId, events: [older] };
    expect(await t.mutation(upsertEvents, { ...write, syncStartedAt: 1_000 })).toEqual({
      inserted: 0,
      updated: 0,
      unchanged: 1,
    });
    expect((await stored()).status).toBe("unlisted");
    expect(await t.mutation(upsertEvents, { ...write, syncStartedAt: 3_000 })).toMatchObject({
      updated: 1,
    });
  });

  test("in a sync, writes nothing once a sync that began later has finished", async () => {
    await t.mutation(updateOrgSyncTimestamp, { orgId, timestamp: 2_000 });
    const write = { orgId, events: [aMirroredEvent()] };
    await t.mutation(upsertEvents, { ...write, syncStartedAt: 1_999 });
    expect((await storedEvents(t)).size).toBe(0);
    await t.mutation(upsertEvents, { ...write, syncStartedAt: 2_000 });
    expect((await storedEvents(t)).size).toBe(1);
  });

  test("in a sync, writes nothing for an organization that was disconnected", async () => {
    const orgWithoutKey = await insertOrg(t, { name: "Acme", lumaApiKey: undefined });
    const write = { orgId: orgWithoutKey, events: [aMirroredEvent()] };
    const reason = await reasonOf(t.mutation(upsertEvents, { ...write, syncStartedAt: 1 }));
    expect(reason).toContain('"Acme" was disconnected');
    expect((await storedEvents(t)).size).toBe(0);
  });
});

describe("markEventsRemoved", () => {
  async function remove(syncStartedAt = Date.now()): Promise<number> {
    const { _id } = await stored();
    return await t.mutation(markEventsRemoved, { orgId, eventIds: [_id], syncStartedAt });
  }

  test("keeps the event, hidden, and says how many there were", async () => {
    const event = aMirroredEvent({ description: "text" });
    await upsert(event);
    expect(await remove()).toBe(1);
    expect(await stored()).toMatchObject({ ...event, status: "removed" });
    expect(await remove()).toBe(0);
  });

  test("leaves an event that has moved to another organization", async () => {
    const otherId = await insertOrg(t, { name: "Other" });
    await t.mutation(upsertEvents, { orgId: otherId, events: [aMirroredEvent()] });
    expect(await remove()).toBe(0);
    expect((await stored()).status).toBe("listed");
  });

  test("leaves an event that a sync that began later wrote, or when such a one has finished", async () => {
    const write = { orgId, events: [aMirroredEvent()], syncStartedAt: 2_000 };
    await t.mutation(upsertEvents, write);
    expect(await remove(1_000)).toBe(0);
    await t.mutation(updateOrgSyncTimestamp, { orgId, timestamp: 4_000 });
    expect(await remove(3_000)).toBe(0);
    expect(await remove(4_000)).toBe(1);
  });
});

describe("updateOrgSyncTimestamp", () => {
  test("stamps the organization and clears its error", async () => {
    await t.mutation(recordSyncError, { orgId, reason: "no", syncStartedAt: 1 });
    expect(await t.mutation(updateOrgSyncTimestamp, { orgId, timestamp: 5 })).toBeNull();
    const org = await getOrg(t, orgId);
    expect(org.eventsLastSynced).toBe(5);
    expect(org).not.toHaveProperty("eventsSyncError");
  });

  test("never goes back", async () => {
    await t.mutation(updateOrgSyncTimestamp, { orgId, timestamp: 5 });
    await t.mutation(recordSyncError, { orgId, reason: "no", syncStartedAt: 6 });
    await t.mutation(updateOrgSyncTimestamp, { orgId, timestamp: 4 });
    expect(await getOrg(t, orgId)).toMatchObject({ eventsLastSynced: 5, eventsSyncError: "no" });
  });

  test("says which organization does not exist", async () => {
    const gone = await deletedOrg();
    const stamping = t.mutation(updateOrgSyncTimestamp, { orgId: gone, timestamp: 5 });
    expect(await reasonOf(stamping)).toContain(gone);
  });
});

describe("recordSyncError", () => {
  test("keeps the last success", async () => {
    await t.mutation(updateOrgSyncTimestamp, { orgId, timestamp: 5 });
    await t.mutation(recordSyncError, { orgId, reason: "why", syncStartedAt: 6 });
    expect(await getOrg(t, orgId)).toMatchObject({ eventsLastSynced: 5, eventsSyncError: "why" });
  });

  test("does not count when a sync that began later has succeeded", async () => {
    await t.mutation(updateOrgSyncTimestamp, { orgId, timestamp: 5 });
    await t.mutation(recordSyncError, { orgId, reason: "why", syncStartedAt: 4 });
    expect(await getOrg(t, orgId)).not.toHaveProperty("eventsSyncError");
  });

  test("passes over organizations that are gone or disconnected", async () => {
    const failure = { reason: "why", syncStartedAt: 4 };
    await t.mutation(recordSyncError, { orgId: await deletedOrg(), ...failure });
    const disconnected = await insertOrg(t, { lumaApiKey: undefined });
    await t.mutation(recordSyncError, { orgId: disconnected, ...failure });
    expect(await getOrg(t, disconnected)).not.toHaveProperty("eventsSyncError");
  });
});
