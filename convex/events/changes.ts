/** What to write: a calendar's listing against what is stored, packed for mutations. Pure. */
import { getDocumentSize } from "convex/values";
import type { Doc, Id } from "../_generated/dataModel";
import type { LumaListing } from "./lumaClient";
import { mirroredEvent, type MirroredEvent } from "./validators";

const MIRRORED_FIELDS = Object.keys(mirroredEvent.fields) as (keyof MirroredEvent)[];

/**
 * What one mutation is given: far inside Convex's limits (16 MiB read, 16 MiB written), also when each document
 * is read twice, once to compare it and once to replace it.
 */
const MAX_BATCH_ITEMS = 100;
const MAX_BATCH_BYTES = 4 * 1024 * 1024;

/** Whether writing `event` for this organization would change nothing. */
export function isSameEvent(
  stored: Doc<"events">,
  orgId: Id<"organizations">,
  event: MirroredEvent,
): boolean {
  return stored.orgId === orgId && MIRRORED_FIELDS.every((field) => stored[field] === event[field]);
}

/** What a comparison has found so far. */
export type Changes = {
  /** lu.ma ids of stored events that are as listed. */
  unchanged: Set<string>;
  /** Sizes of stored events that are not as listed, by lu.ma id. */
  changedBytes: Map<string, number>;
  /** Sizes of stored events that lu.ma no longer lists. */
  goneBytes: Map<Id<"events">, number>;
};

export function noChanges(): Changes {
  return { unchanged: new Set(), changedBytes: new Map(), goneBytes: new Map() };
}

/** Adds one stored event of the window to what was found. The same event twice does no harm. */
export function compareStored(
  stored: Doc<"events">,
  orgId: Id<"organizations">,
  listing: LumaListing,
  changes: Changes,
): void {
  const event = listing.events.get(stored.lumaEventId);
  if (event === undefined) {
    if (stored.status !== "removed" && isGone(stored.lumaEventId, listing)) {
      changes.goneBytes.set(stored._id, getDocumentSize(stored));
    }
  } else if (isSameEvent(stored, orgId, event)) {
    changes.unchanged.add(stored.lumaEventId);
  } else {
    changes.changedBytes.set(stored.lumaEventId, getDocumentSize(stored));
  }
}

/** An invalid entry without a readable id may be any event: then none is known to be gone. */
function isGone(lumaEventId: string, { invalid }: LumaListing): boolean {
  return invalid.every(({ id }) => id !== null && id !== lumaEventId);
}

/** The events to write, new ones among them, in batches for `upsertEvents`. */
export function toUpsertBatches({ events }: LumaListing, changes: Changes): MirroredEvent[][] {
  const toWrite = [...events.values()].filter((event) => !changes.unchanged.has(event.lumaEventId));
  return toBatches(toWrite, (event) =>
    Math.max(jsonBytes(event), changes.changedBytes.get(event.lumaEventId) ?? 0),
  );
}

/** The events to mark as removed, in batches for `markEventsRemoved`. */
export function toRemovalBatches({ goneBytes }: Changes): Id<"events">[][] {
  return toBatches([...goneBytes], ([, bytes]) => bytes).map((batch) =>
    batch.map(([eventId]) => eventId),
  );
}

function toBatches<Item>(items: Item[], bytesOf: (item: Item) => number): Item[][] {
  const batches: Item[][] = [];
  let batch: Item[] = [];
  let batchBytes = 0;
  for (const item of items) {
    const bytes = bytesOf(item);
    const isFull = batch.length === MAX_BATCH_ITEMS || batchBytes + bytes > MAX_BATCH_BYTES;
    if (batch.length === 0 || isFull) {
      batch = [];
      batches.push(batch);
      batchBytes = 0;
    }
    batch.push(item);
    batchBytes += bytes;
  }
  return batches;
}

/** As sent: Convex's arguments travel as JSON. */
function jsonBytes(value: unknown): number {
  return new TextEncoder().encode(JSON.stringify(value)).length;
}
