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
  listed: LumaListing["events"];
  /** Ids of entries that could not be read; `null` among them may be any event. */
  invalidIds: Set<string | null>;
  /** lu.ma ids of stored events of the window that are as listed, and of those that are not. */
  unchanged: Set<string>;
  changed: Set<string>;
  /** Stored events that lu.ma no longer lists. */
  gone: Set<Id<"events">>;
};

export function startComparison({ events, invalid }: LumaListing): Comparison {
  const invalidIds = new Set(invalid.map(({ id }) => id));
  return {
    listed: events,
    invalidIds,
    unchanged: new Set(),
    changed: new Set(),
    gone: new Set(),
  };
}

/**
 * Adds one stored event of the window to what was found.
 *
 * @returns the event as it will stand when this sync has written, or `null` when lu.ma no longer lists it.
 */
export function compareStored(stored: ComparedEvent, comparison: Comparison): ComparedEvent | null {
  const { lumaEventId } = stored;
  const { listed, invalidIds, unchanged, changed, gone } = comparison;
  const event = listed.get(lumaEventId);
  if (event === undefined) {
    // Not known to be off the list: left as it is.
    if (invalidIds.has(null) || invalidIds.has(lumaEventId)) return stored;
    if (stored.status !== "removed") gone.add(stored._id);
    return null;
  }
  (isSameEvent(stored, event) ? unchanged : changed).add(lumaEventId);
  return { ...stored, ...event };
}

/** Listed events that are not among the stored ones of the window. */
export function getNew({ listed, unchanged, changed }: Comparison): MirroredEvent[] {
  return [...listed.values()].filter(
    ({ lumaEventId: id }) => !unchanged.has(id) && !changed.has(id),
  );
}

/** Listed events that are not stored as they are listed. */
export function getToWrite({ listed, unchanged }: Comparison): MirroredEvent[] {
  return [...listed.values()].filter(({ lumaEventId }) => !unchanged.has(lumaEventId));
}
