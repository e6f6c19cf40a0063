/** Builds test data; a test overrides only the fields that matter to it. */
import type { Infer } from "convex/values";
import { internal } from "../../convex/_generated/api";
import type { Doc, Id } from "../../convex/_generated/dataModel";
import type { RunningSync } from "../../convex/events/queue/syncs";
import type { mirroredEvent } from "../../convex/events/validators";
import type { Engine } from "./engine";
import type { WireEvent } from "./lumaServer";

export const SECOND_MS = 1_000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** Tomorrow at a full hour, so that it stays the same while simulated time passes in a test. */
function tomorrow(): number {
  return Math.floor(Date.now() / HOUR_MS) * HOUR_MS + DAY_MS;
}

const ADDRESS = {
  address: "Main Street 1",
  city: "Berlin",
  region: "Berlin",
  country: "Germany",
  city_state: "Berlin, Germany",
  full_address: "Main Street 1, 10115 Berlin, Germany",
};

/** An event as lu.ma's current API lists it: public, in person, tomorrow. */
export function aWireEvent(overrides: Partial<WireEvent> = {}): WireEvent {
  const id = overrides.id ?? "evt-1";
  return {
    platform: "luma",
    id,
    calendar_id: "cal-1",
    name: `Event ${id}`,
    start_at: new Date(tomorrow()).toISOString(),
    end_at: new Date(tomorrow() + 2 * HOUR_MS).toISOString(),
    timezone: "Europe/Berlin",
    description: `What happens at ${id}`,
    geo_address_json: ADDRESS,
    meeting_url: null,
    location_type: "offline",
    location_visibility: "public",
    cover_url: "https://images.lumacdn.com/cover.png",
    url: `https://lu.ma/${id}`,
    visibility: "public",
    access: "manage",
    tags: [],
    ...overrides,
  };
}

/** `count` events, an hour apart, from tomorrow on. */
export function wireEvents(
  count: number,
  overrides: (index: number) => Partial<WireEvent> = () => ({}),
): WireEvent[] {
  return Array.from({ length: count }, (_, index) =>
    aWireEvent({
      id: `evt-${index}`,
      start_at: new Date(tomorrow() + (index % 2_000) * HOUR_MS).toISOString(),
      end_at: undefined,
      ...overrides(index),
    }),
  );
}

/** An event in the form that `upsertEvents` accepts. */
export function aMirroredEvent(
  overrides: Partial<Infer<typeof mirroredEvent>> = {},
): Infer<typeof mirroredEvent> {
  const lumaEventId = overrides.lumaEventId ?? "evt-1";
  return {
    lumaEventId,
    title: `Event ${lumaEventId}`,
    startAt: tomorrow(),
    timezone: "UTC",
    url: `https://lu.ma/${lumaEventId}`,
    isVirtual: false,
    status: "listed",
    ...overrides,
  };
}

/** An event as it is stored, with `overAt` and `isLong` derived from its times. */
export function aStoredEvent(
  orgId: Id<"organizations">,
  overrides: Partial<Doc<"events">> = {},
): Omit<Doc<"events">, "_id" | "_creationTime"> {
  const event = { ...aMirroredEvent(), ...overrides };
  const overAt = event.endAt ?? event.startAt;
  const isLong = overAt - event.startAt > DAY_MS;
  return { orgId, overAt, isLong, isDescribed: false, syncedAt: 0, ...event };
}

/** Inserts an organization, by default with a key of its own. */
export async function insertOrg(
  t: Engine,
  overrides: Partial<Doc<"organizations">> = {},
): Promise<Id<"organizations">> {
  const name = overrides.name ?? "Acme";
  const fields = { name, lumaApiKey: `key-of-${name}`, ...overrides };
  return await t.run((ctx) => ctx.db.insert("organizations", fields));
}

/** Begins a sync as its action does, and returns the arguments that all its mutations take. */
export async function beginSync(t: Engine, orgId: Id<"organizations">): Promise<RunningSync> {
  const sync = { orgId, syncId: crypto.randomUUID() };
  await t.mutation(internal.events.queue.worker.beginSync, sync);
  return sync;
}

export async function getOrg(t: Engine, orgId: Id<"organizations">): Promise<Doc<"organizations">> {
  const org = await t.query(internal.orgs.queries.getById, { orgId });
  if (org === null) throw new Error(`no organization ${orgId}`);
  return org;
}

/** All stored events, by lu.ma id. */
export async function storedEvents(t: Engine): Promise<Map<string, Doc<"events">>> {
  const events = await t.run((ctx) => ctx.db.query("events").collect());
  return new Map(events.map((event) => [event.lumaEventId, event]));
}

/** All stored descriptions, by the lu.ma ids of their events. */
export async function storedDescriptions(t: Engine): Promise<Map<string, string>> {
  const texts = await t.run(async (ctx) => {
    const all = await ctx.db.query("eventDescriptions").collect();
    return await Promise.all(
      all.map(async ({ eventId, text }) => {
        const event = await ctx.db.get("events", eventId);
        return [event?.lumaEventId ?? "no event", text] as const;
      }),
    );
  });
  return new Map(texts);
}

/** Inserts an event and its description. */
export async function insertDescribedEvent(
  t: Engine,
  orgId: Id<"organizations">,
  { text, ...overrides }: Partial<Doc<"events">> & { text: string },
): Promise<void> {
  await t.run(async (ctx) => {
    const event = aStoredEvent(orgId, { isDescribed: true, ...overrides });
    const eventId = await ctx.db.insert("events", event);
    await ctx.db.insert("eventDescriptions", { eventId, orgId, text });
  });
}
