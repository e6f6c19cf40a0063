/** What to write: a calendar's listing against what is stored, packed for mutations. Pure. */
import { compareValues, getConvexSize, getDocumentSize } from "convex/values";
import type { Doc, Id } from "../_generated/dataModel";
import type { OrgId } from "../orgs/app";
import type { LumaListing } from "./lumaClient";
import { MAX_WRITE_BYTES } from "./pacing";
import { mirroredEvent, pick, type ComparedEvent, type MirroredEvent } from "./validators";

const MIRRORED_FIELDS = Object.keys(mirroredEvent.fields) as (keyof MirroredEvent)[];
type MirroredFields = Pick<Doc<"events">, keyof MirroredEvent>;
/** Far inside Convex's limits; as many as are asked for on a page of lu.ma's. */
const MAX_BATCH_ITEMS = 100;

/** Whether writing `event` would change nothing. By value: a mirrored field may be a list or an object. */
export function isSameEvent(stored: MirroredFields, event: MirroredEvent): boolean {
  return MIRRORED_FIELDS.every((field) => compareValues(stored[field], event[field]) === 0);
}

/** A listing with what its comparison with the stored events has found so far. */
export type Comparison = {
  listed: ReadonlyMap<string, MirroredEvent>;
  /** Ids of entries that could not be read; `null` among them may be any event. */
  invalidIds: ReadonlySet<string | null>;
  /** lu.ma ids of stored events that are as listed. */
  unchanged: Set<string>;
  /** Sizes of stored events that are not as listed, as they will be written, by lu.ma id. */
  changedBytes: Map<string, number>;
  /** Sizes of stored events that lu.ma no longer lists. */
  goneBytes: Map<Id<"events">, number>;
};

export function startComparison({ events, invalid }: LumaListing): Comparison {
  return {
    listed: events,
    invalidIds: new Set(invalid.map(({ id }) => id)),
    unchanged: new Set(),
    changedBytes: new Map(),
    goneBytes: new Map(),
  };
}

/** Adds one stored event of the window to what was found. The same event twice does no harm. */
export function compareStored(stored: ComparedEvent, comparison: Comparison): void {
  const { lumaEventId, bytes } = stored;
  const event = comparison.listed.get(lumaEventId);
  if (event !== undefined) {
    if (isSameEvent(stored, event)) comparison.unchanged.add(lumaEventId);
    else comparison.changedBytes.set(lumaEventId, bytes + growth(stored, event));
  } else if (stored.status !== "removed" && isGone(lumaEventId, comparison)) {
    comparison.goneBytes.set(stored._id, bytes);
  }
}

/** By how many bytes a document grows when it is written as listed. */
function growth(stored: MirroredFields, event: MirroredEvent): number {
  return getConvexSize(event) - getConvexSize(pick(mirroredEvent, stored));
}

/** Whether an event that is not listed is known to be off lu.ma's list. */
export function isGone(lumaEventId: string, { invalidIds }: Comparison): boolean {
  return !invalidIds.has(null) && !invalidIds.has(lumaEventId);
}

/** What one mutation is given; `bytes` is the size of the documents that it writes. */
export type Batch<Item> = { items: Item[]; bytes: number };

/** The events to write, new ones among them, for `upsertEvents`. */
export function toUpsertBatches(
  orgId: OrgId,
  { listed, unchanged, changedBytes }: Comparison,
): Batch<MirroredEvent>[] {
  const toWrite = [...listed.values()].filter(({ lumaEventId }) => !unchanged.has(lumaEventId));
  return toBatches(
    toWrite.map((event) => {
      const newBytes = getDocumentSize({ ...event, orgId, syncedAt: 0 });
      return [event, changedBytes.get(event.lumaEventId) ?? newBytes];
    }),
    MAX_WRITE_BYTES,
  );
}

/** The events to mark as removed, for `markEventsRemoved`. */
export function toRemovalBatches({ goneBytes }: Comparison): Batch<Id<"events">>[] {
  return toBatches([...goneBytes], MAX_WRITE_BYTES);
}

function toBatches<Item>(sized: [item: Item, bytes: number][], maxBytes: number): Batch<Item>[] {
  const batches: Batch<Item>[] = [];
  for (const [item, bytes] of sized) {
    const last = batches[batches.length - 1];
    if (
      last === undefined ||
      last.items.length === MAX_BATCH_ITEMS ||
      last.bytes + bytes > maxBytes
    ) {
      batches.push({ items: [item], bytes });
    } else {
      last.items.push(item);
      last.bytes += bytes;
    }
  }
  return batches;
}
