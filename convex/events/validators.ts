/** Shapes of a mirrored event, derived from the schema. They never include fields that the app adds to the table. */
import { v, type Infer } from "convex/values";
import schema from "../schema";

export const storedEvent = schema.tables["events"].validator;

/** What a sync takes from lu.ma, except the status: a stored event can also be `removed`, which lu.ma never says. */
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

/** These add up to the number of events that were processed. */
export const upsertCounts = v.object({
  inserted: v.number(),
  updated: v.number(),
  unchanged: v.number(),
});

/** The fields of a stored event that a sync compares. */
export const comparedEvent = mirrored.extend({
  ...storedEvent.pick("overAt", "status", "isDescribed").fields,
  _id: v.id("events"),
});
export type ComparedEvent = Infer<typeof comparedEvent>;

/** Empty: the event has none. Absent: lu.ma didn't say, so the stored one stays. */
export const eventDescription = v.object({
  lumaEventId: v.string(),
  description: v.optional(v.string()),
});
export type EventDescription = Infer<typeof eventDescription>;

/** All fields that a shape names, including absent ones (as `undefined`), and none of the app's own. */
export function pick<Type>(
  shape: { type: Type; fields: Record<string, unknown> },
  document: object,
): Type {
  const all = document as Record<string, unknown>;
  return Object.fromEntries(Object.keys(shape.fields).map((field) => [field, all[field]])) as Type;
}
