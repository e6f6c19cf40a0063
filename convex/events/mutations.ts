/**
 * All writes to the tables `events` and `eventDescriptions`, and the stamp of a successful sync on its organization.
 * Once a sync has been ended or overtaken, its mutations throw a ConvexError with SyncFailure and write nothing.
 */
import { compareValues, ConvexError, v } from "convex/values";
import { internal } from "../_generated/api";
import type { Id } from "../_generated/dataModel";
import { internalMutation, type MutationCtx, type QueryCtx } from "../_generated/server";
import { onEventsPublished } from "../lumaApp";
import { hasLumaKey } from "./luma/key";
import { deleteSecrets } from "./luma/secrets";
import { getOrg, nameOf, orgId, patchOrg, type OrgId } from "./organizations";
import { forgetSyncs, requireRunning, runningSync, writeSync } from "./queue/syncs";
import { release } from "./queue/worker";
import { isSameEvent } from "./steps/changes";
import { DESCRIPTIONS_PER_WRITE, EVENTS_PER_WRITE, WRITE_PAUSE_MS } from "./steps/convexCalls";
import { toReach } from "./steps/window";
import { calendar } from "./tables";
import { eventDescription, mirroredEvent, pick, upsertCounts } from "./validators";
import { findDescription } from "./views/shapes";
import { DAY_MS } from "./views/upcoming";

/**
 * Upserts an organization's events by their lu.ma ids: inserts new ones, updates changed ones (including fields that
 * were cleared on lu.ma), and leaves the others untouched. The app's own fields stay.
 *
 * @param announces whether to call `onEventsPublished` for events that become visible.
 */
export const upsertEvents = internalMutation({
  args: {
    ...runningSync.fields,
    events: v.array(mirroredEvent),
    announces: v.optional(v.boolean()),
  },
  returns: upsertCounts,
  handler: async (ctx, { orgId, syncId, events, announces = false }) => {
    const { org } = await requireRunning(ctx, { orgId, syncId });
    const reach = toReach(org.eventsLastSynced ?? 0);
    const counts = { inserted: 0, updated: 0, unchanged: 0 };
    const published: Id<"events">[] = [];
    for (const event of events) {
      const stored = await findEvent(ctx, orgId, event.lumaEventId);
      if (stored && isSameEvent(stored, event)) {
        counts.unchanged += 1;
        continue;
      }
      const { startAt, endAt = startAt } = event;
      const fields = {
        // Arguments never contain `undefined`. `pick` restores it for absent fields, so the patch clears them.
        ...pick(mirroredEvent, event),
        orgId,
        overAt: endAt,
        isLong: endAt - startAt > DAY_MS,
        isDescribed: stored?.isDescribed ?? false,
        syncedAt: Date.now(),
      };
      const id = stored?._id ?? (await ctx.db.insert("events", fields));
      if (stored) await ctx.db.patch("events", id, fields);
      counts[stored ? "updated" : "inserted"] += 1;
      const isVisible = event.status === "listed" && endAt > Date.now();
      // An event beyond the last sync's window isn't news: it has only come into range.
      const isNews = stored?.status !== "listed" && startAt <= reach;
      if (isVisible && isNews) published.push(id);
    }
    if (announces && published.length > 0) await publish(ctx, { orgId, eventIds: published });
    return counts;
  },
});

/** Turns even the app's own ConvexErrors into plain errors: a sync would mistake them for the module's. */
async function publish(ctx: MutationCtx, published: Parameters<typeof onEventsPublished>[1]) {
  try {
    await onEventsPublished(ctx, published);
  } catch (error) {
    throw new Error(`onEventsPublished in lumaApp.ts failed: ${String(error)}`);
  }
}

/**
 * Marks events that are gone from lu.ma as removed, and counts them. They stay in the table, so an event that comes
 * back keeps its document.
 */
export const markEventsRemoved = internalMutation({
  args: { ...runningSync.fields, eventIds: v.array(v.id("events")) },
  returns: v.object({ removed: v.number() }),
  handler: async (ctx, { orgId, syncId, eventIds }) => {
    await requireRunning(ctx, { orgId, syncId });
    let removed = 0;
    for (const eventId of eventIds) {
      const event = await ctx.db.get("events", eventId);
      if (event?.orgId !== orgId || event.status === "removed") continue;
      await ctx.db.patch("events", eventId, { status: "removed", syncedAt: Date.now() });
      removed += 1;
    }
    return { removed };
  },
});

/**
 * Marks events as described, writes descriptions that differ from what is stored, and counts those that were new,
 * changed or cleared. Ignores events that aren't the organization's, or are no longer listed.
 */
export const describeEvents = internalMutation({
  args: { ...runningSync.fields, descriptions: v.array(eventDescription) },
  returns: v.object({ described: v.number() }),
  handler: async (ctx, { orgId, syncId, descriptions }) => {
    await requireRunning(ctx, { orgId, syncId });
    let described = 0;
    for (const { lumaEventId, description } of descriptions) {
      const event = await findEvent(ctx, orgId, lumaEventId);
      if (event?.status !== "listed") continue;
      if (!event.isDescribed) {
        await ctx.db.patch("events", event._id, { isDescribed: true, syncedAt: Date.now() });
      }
      if (description === undefined) continue;
      const stored = await findDescription(ctx, event._id);
      if ((stored?.text ?? "") === description) continue;
      described += 1;
      const fields = { eventId: event._id, orgId, text: description };
      if (stored === null) await ctx.db.insert("eventDescriptions", fields);
      else if (description === "") await ctx.db.delete("eventDescriptions", stored._id);
      else await ctx.db.replace("eventDescriptions", stored._id, fields);
    }
    return { described };
  },
});

async function findEvent(ctx: QueryCtx, orgId: OrgId, lumaEventId: string) {
  return await ctx.db
    .query("events")
    .withIndex("by_luma_id", (q) => q.eq("lumaEventId", lumaEventId).eq("orgId", orgId))
    .first();
}

/**
 * Stamps an organization as synced. From here on, the sync counts as successful, even if its action crashes.
 *
 * @param timestamp when the sync began (ms).
 * @param calendar the calendar that it found; absent if that isn't known.
 * @param error becomes the organization's `eventsSyncError`; if absent, the error is cleared.
 */
export const updateOrgSyncTimestamp = internalMutation({
  args: {
    ...runningSync.fields,
    timestamp: v.number(),
    calendar: v.optional(calendar),
    error: v.optional(v.string()),
  },
  returns: v.null(),
  handler: async (ctx, { orgId, syncId, timestamp, calendar, error }) => {
    const { sync } = await requireRunning(ctx, { orgId, syncId });
    await patchOrg(ctx, orgId, { eventsLastSynced: timestamp, eventsSyncError: error });
    if (compareValues(sync.calendar, calendar) !== 0) {
      await writeSync(ctx, orgId, sync, { calendar });
    }
    return null;
  },
});

/** An app may have added large fields to its events. */
const MAX_DELETED_BYTES = 1024 * 1024;

/**
 * Deletes the events of an organization that was deleted or disconnected for good, with their descriptions, its sync
 * state and its secrets. Works in batches, and schedules the next one itself.
 *
 * @param isContinuation set by the module: stops without an error if the organization has a key again.
 * @throws ConvexError if the organization has a key, because the next sync would bring its events back.
 */
export const deleteOrgEvents = internalMutation({
  args: { orgId, isContinuation: v.optional(v.boolean()) },
  returns: v.null(),
  handler: async (ctx, { orgId, isContinuation = false }) => {
    const org = await getOrg(ctx, orgId);
    if (org !== null && hasLumaKey(org)) {
      if (isContinuation) return null;
      throw new ConvexError(
        `Organization "${nameOf(org)}" has a lu.ma API key, and its next sync would bring its events back: ` +
          "disconnect it first, on the settings page, or with setLumaConfig and lumaApiKey null.",
      );
    }
    await deleteSecrets(ctx, orgId);
    if (await deleteBatch(ctx, orgId)) {
      await forgetSyncs(ctx, orgId);
      await release(ctx, orgId);
    } else {
      const rest = { orgId, isContinuation: true };
      const { deleteOrgEvents } = internal.events.mutations;
      await ctx.scheduler.runAfter(WRITE_PAUSE_MS, deleteOrgEvents, rest);
    }
    return null;
  },
});

/** @returns whether that was the last batch. */
async function deleteBatch(ctx: MutationCtx, orgId: OrgId): Promise<boolean> {
  const descriptions = await ctx.db
    .query("eventDescriptions")
    .withIndex("by_org", (q) => q.eq("orgId", orgId))
    .take(DESCRIPTIONS_PER_WRITE);
  for (const { _id } of descriptions) await ctx.db.delete("eventDescriptions", _id);
  if (descriptions.length > 0) return false;
  const events = await ctx.db
    .query("events")
    .withIndex("by_org", (q) => q.eq("orgId", orgId))
    .paginate({ cursor: null, numItems: EVENTS_PER_WRITE, maximumBytesRead: MAX_DELETED_BYTES });
  for (const { _id } of events.page) await ctx.db.delete("events", _id);
  return events.isDone;
}
