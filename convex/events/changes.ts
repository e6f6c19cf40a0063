/** What to write: a calendar's listing against what is stored, packed for mutations. Pure. */
import { compareValues, getConvexSize, getDocumentSize } from "convex/values";
import type { Doc, Id } from "../_generated/dataModel";
import type { OrgId } from "../orgs/app";
import type { LumaListing } from "./lumaClient";
import { MAX_WRITE_BYTES } from "./pacing";
import { mirroredEvent, pick, type ComparedEvent, type MirroredEvent } from "./validators";

type MirroredFields = Pick<Doc<"events">, keyof MirroredEvent>;
const MIRRORED_FIELDS = Object.keys(mirroredEvent.fields) as (keyof MirroredEvent)[];
/** Far inside Convex's limits; as many as are asked for on a page of lu.ma's. */
const MAX_BATCH_ITEMS = 100;

/** Whether writing `event` would change nothing. By value: a mirrored field may be a list or an object. */
export function isSameEvent(stored: MirroredFields, event: MirroredEvent): boolean {
  return MIRRORED_FIELDS.every((field) => compareValues(stored[field], event[field]) === 0);
}

/** What a comparison has found so far. */
export type Comparison = {
  listed: LumaListing["events"];
  /** Ids of entries that could not be read; `null` among them may be any event. */
  invalidIds: Set<string | null>;
  /** lu.ma ids of stored events that are as listed. */
  unchanged: Set<string>;
  /** By lu.ma id, with the size that the document will have. At first all that is listed, as if it were new. */
  toWrite: Map<string, { event: MirroredEvent; bytes: number; isNew: boolean }>;
  /** Sizes of stored events that lu.ma no longer lists. */
  gone: Map<Id<"events">, number>;
};

export function startComparison(orgId: OrgId, { events, invalid }: LumaListing): Comparison {
  const toWrite: Comparison["toWrite"] = new Map();
  for (const [lumaEventId, event] of events) {
    const bytes = getDocumentSize({ ...event, orgId, syncedAt: 0 });
    toWrite.set(lumaEventId, { event, bytes, isNew: true });
  }
  const invalidIds = new Set(invalid.map(({ id }) => id));
  return { listed: events, invalidIds, unchanged: new Set(), toWrite, gone: new Map() };
}

/**
 * Adds one stored event of the window to what was found. The same event twice does no harm.
 *
 * @returns the event as it will stand when this sync has written, or `null` when lu.ma no longer lists it.
 */
export function compareStored(stored: ComparedEvent, comparison: Comparison): ComparedEvent | null {
  const { lumaEventId, bytes } = stored;
  const { listed, invalidIds, unchanged, toWrite, gone } = comparison;
  const event = listed.get(lumaEventId);
  if (event === undefined) {
    // Not known to be off the list: left as it is.
    if (invalidIds.has(null) || invalidIds.has(lumaEventId)) return stored;
    if (stored.status !== "removed") gone.set(stored._id, bytes);
    return null;
  }
  if (isSameEvent(stored, event)) {
    unchanged.add(lumaEventId);
    toWrite.delete(lumaEventId);
    return stored;
  }
  const growth = getConvexSize(event) - getConvexSize(pick(mirroredEvent, stored));
  toWrite.set(lumaEventId, { event, bytes: bytes + growth, isNew: false });
  return { ...stored, ...event, bytes: bytes + growth };
}

/** What one mutation is given; `bytes` is the size of the documents that it writes. */
export type Batch<Item> = { items: Item[]; bytes: number };

/** For `upsertEvents`. */
export function toUpsertBatches({ toWrite }: Comparison): Batch<MirroredEvent>[] {
  return toBatches([...toWrite.values()].map(({ event, bytes }) => [event, bytes]));
}

/** For `markEventsRemoved`. */
export function toRemovalBatches({ gone }: Comparison): Batch<Id<"events">>[] {
  return toBatches([...gone]);
}

function toBatches<Item>(sized: [item: Item, bytes: number][]): Batch<Item>[] {
  const batches: Batch<Item>[] = [];
  for (const [item, bytes] of sized) {
    const last = batches[batches.length - 1];
    const isFull = last?.items.length === MAX_BATCH_ITEMS;
    if (last === undefined || isFull || last.bytes + bytes > MAX_WRITE_BYTES) {
      batches.push({ items: [item], bytes });
    } else {
      last.items.push(item);
      last.bytes += bytes;
    }
  }
  return batches;
}
