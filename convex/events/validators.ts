/**
 * Shapes that several functions share, all derived from the schema: which fields are mirrored, and what a sync says. A
 * field that the app adds to a table is in none of them.
 */
import { v, type Infer } from "convex/values";
import schema from "../schema";

const storedEvent = schema.tables.events.validator;

/** What is mirrored of lu.ma's listing, but for the status: that is not for lu.ma alone to say. */
const mirrored = storedEvent.pick(
  "lumaEventId",
  "title",
  "startAt",
  "endAt",
  "timezone",
  "coverUrl",
  "url",
  "location",
  "isVirtual",
);

export const mirroredEvent = mirrored.extend({
  status: v.union(v.literal("listed"), v.literal("unlisted")),
});
export type MirroredEvent = Infer<typeof mirroredEvent>;

/** With the description, where it is known; without one, the stored one stays. */
export const upsertedEvent = mirroredEvent.extend({ description: v.optional(v.string()) });
export type UpsertedEvent = Infer<typeof upsertedEvent>;

/** A stored event as a sync compares it. */
export const comparedEvent = mirrored.extend({
  ...storedEvent.pick("overAt", "status", "description").fields,
  _id: v.id("events"),
});
export type ComparedEvent = Infer<typeof comparedEvent>;

/** Without a description: it was asked for and could not be fetched. */
export const eventDescription = v.object({
  lumaEventId: v.string(),
  description: v.optional(v.string()),
});
export type EventDescription = Infer<typeof eventDescription>;

/** `inserted + updated + unchanged` is the number of events given. */
export const upsertCounts = v.object({
  inserted: v.number(),
  updated: v.number(),
  unchanged: v.number(),
});
export type UpsertCounts = Infer<typeof upsertCounts>;

/** How far a mutation came with the items that it was given, and the size of the documents that it wrote. */
export const written = v.object({ done: v.number(), bytes: v.number() });
export type Written = Infer<typeof written>;

export const upsertResult = upsertCounts.extend({ written: v.optional(written) });
export type UpsertResult = Infer<typeof upsertResult>;

export const syncCounts = v.object({
  /** Distinct valid events in lu.ma's listing. */
  fetched: v.number(),
  ...upsertCounts.fields,
  removed: v.number(),
  /** Entries of the listing that could not be read. */
  invalid: v.number(),
  /** Descriptions that were new, changed or cleared. */
  described: v.number(),
});
export type SyncCounts = Infer<typeof syncCounts>;

/** The fields that a shape names, absent ones among them, and no others: an app may have fields of its own. */
export function pick<Type>(
  shape: { type: Type; fields: Record<string, unknown> },
  document: object,
): Type {
  const all = document as Record<string, unknown>;
  return Object.fromEntries(Object.keys(shape.fields).map((field) => [field, all[field]])) as Type;
}
