/** All writes to the mirror: events, and what an organization remembers of its last sync. */
import { v } from "convex/values";
import type { Doc, Id } from "../_generated/dataModel";
import { internalMutation, type MutationCtx } from "../_generated/server";
import { hasLumaKey } from "../orgs/lumaKey";
import { isSameEvent } from "./changes";
import { isOvertaken, maySyncWrite, requireOrg } from "./syncGuard";
import { mirroredEvent, upsertCounts, type MirroredEvent, type UpsertCounts } from "./validators";

/**
 * Writes events that differ from what is stored, looked up by their lu.ma ids: inserts new ones, replaces changed
 * ones (a field that lu.ma cleared is cleared here too), moves one that changed calendars to its new
 * organization, and leaves the others untouched.
 *
 * `syncStartedAt` (ms) is when the calling sync began: given, nothing that a later sync has finished or written is
 * overwritten. The caller keeps within Convex's limits; 100 events and 4 MiB are well inside.
 *
 * @throws ConvexError when there is no such organization or, in a sync, when it was disconnected.
 */
export const upsertEvents = internalMutation({
  args: {
    orgId: v.id("organizations"),
    events: v.array(mirroredEvent),
    syncStartedAt: v.optional(v.number()),
  },
  returns: upsertCounts,
  handler: async (ctx, { orgId, events, syncStartedAt }) => {
    const counts: UpsertCounts = { inserted: 0, updated: 0, unchanged: 0 };
    if (syncStartedAt === undefined) {
      await requireOrg(ctx, orgId);
    } else if (!(await maySyncWrite(ctx, orgId, syncStartedAt))) {
      return { ...counts, unchanged: events.length };
    }
    for (const event of events) {
      counts[await upsertEvent(ctx, orgId, event, syncStartedAt)] += 1;
    }
    return counts;
  },
});

async function upsertEvent(
  ctx: MutationCtx,
  orgId: Id<"organizations">,
  event: MirroredEvent,
  syncStartedAt: number | undefined,
): Promise<keyof UpsertCounts> {
  const stored = await ctx.db
    .query("events")
    .withIndex("by_luma_id", (q) => q.eq("lumaEventId", event.lumaEventId))
    .first();
  const document = { ...event, orgId, syncedAt: Date.now(), syncStartedAt };
  if (stored === null) {
    await ctx.db.insert("events", document);
    return "inserted";
  }
  if (isSameEvent(stored, orgId, event) || isFromLaterSync(stored, syncStartedAt)) {
    return "unchanged";
  }
  await ctx.db.replace("events", stored._id, document);
  return "updated";
}

/**
 * Marks events that lu.ma no longer lists as removed, and returns how many. They stay in the table: one that comes
 * back is the same document again. An event that meanwhile moved to another organization, or that a later
 * sync wrote, is left alone.
 *
 * @throws ConvexError when the organization was deleted or disconnected.
 */
export const markEventsRemoved = internalMutation({
  args: {
    orgId: v.id("organizations"),
    eventIds: v.array(v.id("events")),
    syncStartedAt: v.number(),
  },
  returns: v.number(),
  handler: async (ctx, { orgId, eventIds, syncStartedAt }) => {
    if (!(await maySyncWrite(ctx, orgId, syncStartedAt))) return 0;
    let removed = 0;
    for (const eventId of eventIds) {
      const event = await ctx.db.get("events", eventId);
      if (event?.orgId !== orgId || event.status === "removed") continue;
      if (isFromLaterSync(event, syncStartedAt)) continue;
      await ctx.db.patch("events", eventId, {
        status: "removed",
        syncedAt: Date.now(),
        syncStartedAt,
      });
      removed += 1;
    }
    return removed;
  },
});

function isFromLaterSync(event: Doc<"events">, syncStartedAt: number | undefined): boolean {
  return (
    syncStartedAt !== undefined &&
    event.syncStartedAt !== undefined &&
    event.syncStartedAt > syncStartedAt
  );
}

/**
 * Stamps an organization as synced by a sync that began at `timestamp` (ms), and clears its last error. Does
 * nothing when a sync that began later has finished already: the stamp never goes back.
 *
 * @throws ConvexError when there is no such organization.
 */
export const updateOrgSyncTimestamp = internalMutation({
  args: { orgId: v.id("organizations"), timestamp: v.number() },
  returns: v.null(),
  handler: async (ctx, { orgId, timestamp }) => {
    const org = await requireOrg(ctx, orgId);
    if (isOvertaken(org, timestamp)) return null;
    await ctx.db.patch("organizations", orgId, {
      eventsLastSynced: timestamp,
      eventsSyncError: undefined,
    });
    return null;
  },
});

/**
 * Writes down why a sync that began at `syncStartedAt` (ms) failed, where administrators look. Events and
 * `eventsLastSynced` stay. Does nothing for an organization that is gone, disconnected, or has been synced by a
 * sync that began later.
 */
export const recordSyncError = internalMutation({
  args: { orgId: v.id("organizations"), reason: v.string(), syncStartedAt: v.number() },
  returns: v.null(),
  handler: async (ctx, { orgId, reason, syncStartedAt }) => {
    const org = await ctx.db.get("organizations", orgId);
    if (org === null || !hasLumaKey(org) || isOvertaken(org, syncStartedAt)) return null;
    if (org.eventsSyncError !== reason) {
      await ctx.db.patch("organizations", orgId, { eventsSyncError: reason });
    }
    return null;
  },
});
