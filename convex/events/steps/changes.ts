/** Compares lu.ma's list with the stored events, to find out what to write and what to fetch. */
import { compareValues } from "convex/values";
import { internal } from "../../_generated/api";
import type { Doc } from "../../_generated/dataModel";
import type { ActionCtx } from "../../_generated/server";
import type { LumaListing } from "../lumaClient";
import type { OrgId } from "../organizations";
import { mirroredEvent, pick, type ComparedEvent, type MirroredEvent } from "../validators";
import { repeated } from "./convexCalls";
import { selectCandidates, type Candidate } from "./descriptions";
import { selectMissing } from "./missing";
import type { Window } from "./window";

const MIRRORED_FIELDS = Object.keys(mirroredEvent.fields) as (keyof MirroredEvent)[];

/** Whether writing `event` would change nothing. */
export function isSameEvent(
  stored: Pick<Doc<"events">, keyof MirroredEvent>,
  event: MirroredEvent,
): boolean {
  return MIRRORED_FIELDS.every((field) => compareValues(stored[field], event[field]) === 0);
}

export type Changes = {
  /** How many events are stored just as lu.ma lists them. */
  unchanged: number;
  /** Listed events that are new or differ, and stored ones to hide. */
  toWrite: MirroredEvent[];
  /** Stored events to check, because they are missing from the list. */
  missing: ComparedEvent[];
  /** Events whose descriptions to fetch. */
  candidates: Candidate[];
};

/** Compares the list with the stored events that end after the window begins, which it reads page by page. */
export async function compareWithStored(
  ctx: ActionCtx,
  orgId: OrgId,
  listing: LumaListing,
  window: Window,
): Promise<Changes> {
  const now = Date.now();
  const isPublic = new Map(listing.invalid.map((entry) => [entry.id, entry.isPublic]));
  const [known, unchanged] = [new Set<string>(), new Set<string>()];
  const hidden: MirroredEvent[] = [];
  let candidates: Candidate[] = [];
  let missing: ComparedEvent[] = [];
  let cursor: string | null = null;
  for (;;) {
    const args = { orgId, overAfter: window.after, cursor };
    const stored: { page: ComparedEvent[]; isDone: boolean; continueCursor: string } =
      await repeated(() => ctx.runQuery(internal.events.queries.getStoredEvents, args));
    for (const event of stored.page) {
      const { lumaEventId } = event;
      const listed = listing.listed.get(lumaEventId);
      if (listed !== undefined) {
        known.add(lumaEventId);
        if (isSameEvent(event, listed)) unchanged.add(lumaEventId);
        candidates.push({ ...listed, isDescribed: event.isDescribed });
      } else if (!isPublic.has(lumaEventId)) missing.push(event);
      else if (isPublic.get(lumaEventId)) candidates.push(event);
      // An entry that can't be read, and doesn't say that it's public, may have become private.
      else if (event.status === "listed") {
        hidden.push({ ...pick(mirroredEvent, event), status: "unlisted" });
      }
    }
    // Trimmed after each page, to save memory.
    candidates = selectCandidates(candidates, now);
    missing = selectMissing(missing, window, now);
    if (stored.isDone) break;
    cursor = stored.continueCursor;
  }
  const listed = [...listing.listed.values()];
  const added = listed
    .filter(({ lumaEventId }) => !known.has(lumaEventId))
    .map((event) => ({ ...event, isDescribed: false }));
  return {
    unchanged: unchanged.size,
    toWrite: [...listed.filter(({ lumaEventId }) => !unchanged.has(lumaEventId)), ...hidden],
    missing,
    candidates: selectCandidates([...candidates, ...added], now),
  };
}
