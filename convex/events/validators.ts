/** Shapes of a mirrored event, derived from the schema. A field that the app adds to the table is in none of them. */
import { v, type Infer } from "convex/values";
import schema from "../schema";

const storedEvent = schema.tables["events"].validator;

/** What a sync mirrors of an entry, except the status: lu.ma alone does not decide that. */
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

/** `inserted + updated + unchanged` is the number of events that are done with. */
export const upsertCounts = v.object({
  inserted: v.number(),
  updated: v.number(),
  unchanged: v.number(),
});

/** A stored event as a sync compares it. */
export const comparedEvent = mirrored.extend({
  ...storedEvent.pick("overAt", "status", "isDescribed").fields,
  _id: v.id("events"),
});
export type ComparedEvent = Infer<typeof comparedEvent>;

/** Empty: lu.ma has none. Absent: it couldn't be fetched, and the stored one stays. */
export const eventDescription = v.object({
  lumaEventId: v.string(),
  description: v.optional(v.string()),
});
export type EventDescription = Infer<typeof eventDescription>;

/** The fields that a shape names, absent ones among them, and no others: an app may have fields of its own. */
export function pick<Type>(
  shape: { type: Type; fields: Record<string, unknown> },
  document: object,
): Type {
  const all = document as Record<string, unknown>;
  return Object.fromEntries(Object.keys(shape.fields).map((field) => [field, all[field]])) as Type;
}
