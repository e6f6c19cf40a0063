/** What to write: a calendar's listing against what is stored. Pure. */
import { compareValues } from "convex/values";
import type { Doc, Id } from "../_generated/dataModel";
import type { LumaListing } from "./lumaClient";
import { mirroredEvent, type ComparedEvent, type MirroredEvent } from "./validators";

const MIRRORED_FIELDS = Object.keys(mirroredEvent.fields) as (keyof MirroredEvent)[];

/** Whether writing `event` would change nothing. By value: a mirrored field may be a list or an object. */
export function isSameEvent(
  stored: Pick<Doc<"events">, keyof MirroredEvent>,
  event: MirroredEvent,
): boolean {
  return MIRRORED_FIELDS.every((field) => compareValues(stored[field], event[field]) === 0);
}

/** What a comparison has found so far. */
export type Comparison = {
  events: LumaListing["events"];
  /** Ids of entries that could not be read; `null` among them may be any event. */
  invalidIds: Set<string | null>;
  /** lu.ma ids of stored events of the window that are as lu.ma gives them, and of those that are not. */
  unchanged: Set<string>;
  changed: Set<string>;
  /** Stored events that lu.ma no longer lists. */
  gone: Set<Id<"events">>;
};

export function startComparison({ events, invalid }: LumaListing): Comparison {
  const invalidIds = new Set(invalid.map(({ id }) => id));
  return { events, invalidIds, unchanged: new Set(), changed: new Set(), gone: new Set() };
}

/**
 * Adds one stored event of the window to what was found.
 *
 * @returns the event as it will stand when this sync has written, or `null` when lu.ma no longer lists it.
 */
export function compareStored(stored: ComparedEvent, comparison: Comparison): ComparedEvent | null {
  const { lumaEventId } = stored;
  const { events, invalidIds, unchanged, changed, gone } = comparison;
  const event = events.get(lumaEventId);
  if (event === undefined) {
    // Not known to be off the list: left as it is.
    if (invalidIds.has(null) || invalidIds.has(lumaEventId)) return stored;
    if (stored.status !== "removed") gone.add(stored._id);
    return null;
  }
  (isSameEvent(stored, event) ? unchanged : changed).add(lumaEventId);
  return { ...stored, ...event };
}

/** Events of the listing that are not among the stored ones of the window. */
export function getNew({ events, unchanged, changed }: Comparison): MirroredEvent[] {
  return [...events.values()].filter(
    ({ lumaEventId: id }) => !unchanged.has(id) && !changed.has(id),
  );
}

/** Events of the listing that are new, or not stored as lu.ma gives them. */
export function getToWrite({ events, unchanged }: Comparison): MirroredEvent[] {
  return [...events.values()].filter(({ lumaEventId }) => !unchanged.has(lumaEventId));
}
