/** Compares a calendar's listing with what is stored, and packs what differs for mutations. Pure. */
import { getDocumentSize } from "convex/values";
import type { Doc, Id } from "../_generated/dataModel";
import { listedEvent, type ListedEvent } from "./validators";

const COMPARED_FIELDS = Object.keys(listedEvent.fields) as (keyof ListedEvent)[];

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
  event: ListedEvent,
): boolean {
  return stored.orgId === orgId && COMPARED_FIELDS.every((field) => stored[field] === event[field]);
}

/** A complete listing, ready to be compared. */
export type Listing = {
  orgId: Id<"organizations">;
  /** By lu.ma id. */
  events: ReadonlyMap<string, ListedEvent>;
  /** Whether a stored event that is not among `events` is known to be off lu.ma's listing. */
  isGone: (lumaEventId: string) => boolean;
};

/** What a comparison has found so far. */
export type Differences = {
  /** lu.ma ids of stored events that are as listed. */
  unchanged: Set<string>;
  /** Sizes of stored events that are not as listed, by lu.ma id. */
  changedBytes: Map<string, number>;
  /** Sizes of stored events that are no longer listed. */
  goneBytes: Map<Id<"events">, number>;
};

export function noDifferences(): Differences {
  return { unchanged: new Set(), changedBytes: new Map(), goneBytes: new Map() };
}

/** Adds one stored event of the window to what was found. The same event twice does no harm. */
export function compareStored(
  stored: Doc<"events">,
  listing: Listing,
  differences: Differences,
): void {
  const event = listing.events.get(stored.lumaEventId);
  if (event === undefined) {
    if (stored.status !== "removed" && listing.isGone(stored.lumaEventId)) {
      differences.goneBytes.set(stored._id, getDocumentSize(stored));
    }
  } else if (isSameEvent(stored, listing.orgId, event)) {
    differences.unchanged.add(stored.lumaEventId);
  } else {
    differences.changedBytes.set(stored.lumaEventId, getDocumentSize(stored));
  }
}

/** The events to write, new ones among them, in batches for `upsertEvents`. */
export function toUpsertBatches(listing: Listing, differences: Differences): ListedEvent[][] {
  const changed = [...listing.events.values()].filter(
    (event) => !differences.unchanged.has(event.lumaEventId),
  );
  return toBatches(changed, (event) =>
    Math.max(jsonBytes(event), differences.changedBytes.get(event.lumaEventId) ?? 0),
  );
}

/** The events to mark as removed, in batches for `markEventsRemoved`. */
export function toRemovalBatches(differences: Differences): Id<"events">[][] {
  return toBatches(
    [...differences.goneBytes.keys()],
    (eventId) => differences.goneBytes.get(eventId) ?? 0,
  );
}

function toBatches<Item>(items: Item[], bytesOf: (item: Item) => number): Item[][] {
  const batches: Item[][] = [];
  let batch: Item[] = [];
  let batchBytes = 0;
  for (const item of items) {
    const bytes = bytesOf(item);
    if (
      batch.length === MAX_BATCH_ITEMS ||
      (batch.length > 0 && batchBytes + bytes > MAX_BATCH_BYTES)
    ) {
      batches.push(batch);
      batch = [];
      batchBytes = 0;
    }
    batch.push(item);
    batchBytes += bytes;
  }
  return batch.length > 0 ? [...batches, batch] : batches;
}

/** As sent: Convex's arguments travel as JSON. */
function jsonBytes(value: unknown): number {
  return new TextEncoder().encode(JSON.stringify(value)).length;
}
