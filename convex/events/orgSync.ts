/** One organization's sync: fetch the listing, compare it with what is stored, write what differs. */
import { milliseconds } from "date-fns";
import { internal } from "../_generated/api";
import type { Doc, Id } from "../_generated/dataModel";
import type { ActionCtx } from "../_generated/server";
import { resolveLumaKey } from "../orgs/lumaKey";
import {
  compareStored,
  noDifferences,
  toRemovalBatches,
  toUpsertBatches,
  type Differences,
  type Listing,
} from "./compare";
import { describeSync } from "./logLines";
import { fetchLumaEvents, type LumaListing } from "./lumaClient";
import { LumaError } from "./lumaError";
import { toListedEvent } from "./lumaMapping";
import type { SyncCounts } from "./validators";

const WINDOW_BACK_MS = milliseconds({ days: 30 });
const WINDOW_AHEAD_MS = milliseconds({ days: 90 });

type Window = { after: number; before: number };

/** @throws LumaError when lu.ma gave no complete listing, ConvexError when the organization went away. */
export async function syncOrg(
  ctx: ActionCtx,
  org: Doc<"organizations">,
  syncStartedAt: number,
): Promise<SyncCounts> {
  const orgId = org._id;
  const window = { after: syncStartedAt - WINDOW_BACK_MS, before: syncStartedAt + WINDOW_AHEAD_MS };
  const fetched = await fetchLumaEvents({ apiKey: getLumaKey(org), ...window });
  const listing = toListing(orgId, fetched);
  const differences = await compareWithStored(ctx, listing, window, syncStartedAt);

  const counts: SyncCounts = {
    fetched: listing.events.size,
    inserted: 0,
    updated: 0,
    unchanged: 0,
    removed: 0,
    invalid: fetched.invalid.length,
  };
  if (differences !== null) {
    counts.unchanged = differences.unchanged.size;
    for (const events of toUpsertBatches(listing, differences)) {
      const batch = { orgId, events, syncStartedAt };
      const written = await ctx.runMutation(internal.events.mutations.upsertEvents, batch);
      counts.inserted += written.inserted;
      counts.updated += written.updated;
      counts.unchanged += written.unchanged;
    }
    for (const eventIds of toRemovalBatches(differences)) {
      const batch = { orgId, eventIds, syncStartedAt };
      counts.removed += await ctx.runMutation(internal.events.mutations.markEventsRemoved, batch);
    }
    const stamp = { orgId, timestamp: syncStartedAt };
    await ctx.runMutation(internal.events.mutations.updateOrgSyncTimestamp, stamp);
  }
  console.log(describeSync(org, counts, fetched.invalid, differences === null));
  return counts;
}

function getLumaKey(org: Doc<"organizations">): string {
  const resolved = resolveLumaKey(org.lumaApiKey ?? "");
  if ("problem" in resolved) throw new LumaError(`${resolved.problem}.`);
  return resolved.apiKey;
}

function toListing(orgId: Id<"organizations">, fetched: LumaListing): Listing {
  const unreadable = new Set(fetched.invalid.map((entry) => entry.id));
  return {
    orgId,
    // The same id twice is one event, as it was listed last.
    events: new Map(fetched.events.map((event) => [event.id, toListedEvent(event)])),
    // An entry without a readable id may be any event: then none is known to be gone.
    isGone: (lumaEventId) => !unreadable.has(null) && !unreadable.has(lumaEventId),
  };
}

/** `null` when a sync that began later has finished: this one then has nothing to write. */
async function compareWithStored(
  ctx: ActionCtx,
  listing: Listing,
  window: Window,
  syncStartedAt: number,
): Promise<Differences | null> {
  const differences = noDifferences();
  let cursor: string | null = null;
  for (;;) {
    const stored: {
      isOvertaken: boolean;
      page: Doc<"events">[];
      isDone: boolean;
      continueCursor: string;
    } = await ctx.runQuery(internal.events.queries.getStoredWindow, {
      orgId: listing.orgId,
      ...window,
      syncStartedAt,
      cursor,
    });
    if (stored.isOvertaken) return null;
    for (const event of stored.page) compareStored(event, listing, differences);
    if (stored.isDone) return differences;
    cursor = stored.continueCursor;
  }
}
