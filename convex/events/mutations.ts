/** All writes to the table `events`, and the stamp of a successful sync on its organization. */
import { ConvexError, v } from "convex/values";
import { internal } from "../_generated/api";
import type { Id } from "../_generated/dataModel";
import { internalMutation, type MutationCtx, type QueryCtx } from "../_generated/server";
import { getOrg, getOrgName, orgId, onEventsPublished, patchOrg, type OrgId } from "../orgs/app";
import { hasLumaKey } from "../orgs/lumaKey";
import { isSameEvent } from "./changes";
import { calendar, forgetSyncs, getSync, noteSuccess, requireSync } from "./eventSyncs";
import { MAX_WRITE_BYTES, WriteBudget, written } from "./slowWrites";
import { eventDescription, pick, upsertCounts, upsertedEvent } from "./validators";
import { Budget, within } from "./boundedReads";

/**
 * The number of the sync that writes, from eventSyncs.ts. With it, the mutation writes nothing once that sync is ended
 * or overtaken (ConvexError with SyncFailure), and no more than 1 MiB of documents: `written` says how far it came.
 * Without it, the mutation writes everything, whatever sync is running.
 */
const syncNumber = v.optional(v.number());

/**
 * Writes the organization's events that differ from what is stored, looked up by their lu.ma ids: inserts new ones,
 * updates changed ones (a field that lu.ma cleared is cleared here too), and leaves the others untouched. A description
 * that is not given and the app's own fields stay. Without a sync, the caller keeps within Convex's limits.
 *
 * @throws ConvexError when there is no such organization.
 */
export const upsertEvents = internalMutation({
  args: { orgId, events: v.array(upsertedEvent), syncNumber },
  returns: upsertCounts.extend({ written }),
  handler: async (ctx, { orgId, events, syncNumber }) => {
    await requireSync(ctx, orgId, syncNumber);
    const counts = { inserted: 0, updated: 0, unchanged: 0 };
    const published: Id<"events">[] = [];
    const budget = new WriteBudget(syncNumber);
    for (const event of events) {
      const stored = await findEvent(ctx, orgId, event.lumaEventId);
      const description = event.description ?? stored?.description;
      if (stored && isSameEvent(stored, event) && stored.description === description) {
        counts.unchanged += 1;
        continue;
      }
      // A mutation's arguments lack what lu.ma cleared: `pick` names it, which clears it here too.
      const mirrored = pick(upsertedEvent, { ...event, description });
      const overAt = event.endAt ?? event.startAt;
      const fields = { ...mirrored, orgId, overAt, syncedAt: Date.now() };
      if (!budget.spend(stored ?? fields, { ...stored, ...fields })) break;
      const id = stored?._id ?? (await ctx.db.insert("events", fields));
      if (stored) await ctx.db.patch("events", id, fields);
      counts[stored ? "updated" : "inserted"] += 1;
      const isNew = event.status === "listed" && stored?.status !== "listed";
      if (isNew && overAt > Date.now()) published.push(id);
    }
    // The first sync with a key may bring a whole calendar.
    const isFirst = (await getSync(ctx, orgId))?.syncedNumber === undefined;
    if (published.length > 0 && !isFirst) await publish(ctx, { orgId, eventIds: published });
    const done = counts.inserted + counts.updated + counts.unchanged;
    return { ...counts, written: { done, bytes: budget.bytes } };
  },
});

/** Throws a plain error even for a ConvexError of the app's: a sync takes it for a refused write. */
async function publish(ctx: MutationCtx, published: Parameters<typeof onEventsPublished>[1]) {
  try {
    await onEventsPublished(ctx, published);
  } catch (error) {
    throw new Error(`onEventsPublished of orgs/app.ts failed: ${String(error)}`);
  }
}

/**
 * Marks as removed the events that are gone from lu.ma, and counts them. They stay in the table: one that comes back is
 * the same document again.
 *
 * @throws ConvexError when there is no such organization.
 */
export const markEventsRemoved = internalMutation({
  args: { orgId, eventIds: v.array(v.id("events")), syncNumber },
  returns: v.object({ removed: v.number(), written }),
  handler: async (ctx, { orgId, eventIds, syncNumber }) => {
    await requireSync(ctx, orgId, syncNumber);
    const budget = new WriteBudget(syncNumber);
    let [removed, done] = [0, 0];
    for (const eventId of eventIds) {
      const event = await ctx.db.get("events", eventId);
      if (event?.orgId === orgId && event.status !== "removed") {
        if (!budget.spend(event)) break;
        await ctx.db.patch("events", eventId, { status: "removed", syncedAt: Date.now() });
        removed += 1;
      }
      done += 1;
    }
    return { removed, written: { done, bytes: budget.bytes } };
  },
});

/**
 * Writes descriptions that differ from what is stored, and counts those that were new, changed or cleared. Leaves alone
 * what is not the organization's, or no longer listed. Where none could be fetched, the stored one stays, and
 * an absent one becomes empty.
 *
 * @throws ConvexError when there is no such organization.
 */
export const describeEvents = internalMutation({
  args: { orgId, descriptions: v.array(eventDescription), syncNumber },
  returns: v.object({ described: v.number(), written }),
  handler: async (ctx, { orgId, descriptions, syncNumber }) => {
    await requireSync(ctx, orgId, syncNumber);
    const budget = new WriteBudget(syncNumber);
    let [described, done] = [0, 0];
    for (const { lumaEventId, description: fetched } of descriptions) {
      const stored = await findEvent(ctx, orgId, lumaEventId);
      const description = fetched ?? stored?.description ?? "";
      if (stored?.status === "listed" && stored.description !== description) {
        if (!budget.spend(stored, { ...stored, description })) break;
        await ctx.db.patch("events", stored._id, { description, syncedAt: Date.now() });
        // A first answer that is empty says only that lu.ma was asked.
        if ((stored.description ?? "") !== description) described += 1;
      }
      done += 1;
    }
    return { described, written: { done, bytes: budget.bytes } };
  },
});

async function findEvent(ctx: QueryCtx, orgId: OrgId, lumaEventId: string) {
  return await ctx.db
    .query("events")
    .withIndex("by_luma_id", (q) => q.eq("lumaEventId", lumaEventId).eq("orgId", orgId))
    .unique();
}

/**
 * Stamps an organization as synced by a sync that began at `timestamp` (ms), and clears its last error. The sync has
 * then succeeded, whatever becomes of its action.
 *
 * @returns the key's calendar, where it is known.
 * @throws ConvexError when there is no such organization.
 */
export const updateOrgSyncTimestamp = internalMutation({
  args: { orgId, timestamp: v.number(), syncNumber },
  returns: v.union(calendar, v.null()),
  handler: async (ctx, { orgId, timestamp, syncNumber }) => {
    await requireSync(ctx, orgId, syncNumber);
    await patchOrg(ctx, orgId, { eventsLastSynced: timestamp, eventsSyncError: undefined });
    if (syncNumber === undefined) return null;
    return (await noteSuccess(ctx, orgId, syncNumber)) ?? null;
  },
});

/** One batch deletes at most so many events, and at most 1 MiB. */
const MAX_DELETED = 500;
const PAUSE_MS = 1_000;

/**
 * Deletes all events of an organization that was deleted or disconnected for good, and what its syncs left. Goes on by
 * itself, batch by batch.
 *
 * @param isContinuation stops without an error when the organization has a key again.
 * @throws ConvexError while the organization has a key: the next sync would bring its events back.
 */
export const deleteOrgEvents = internalMutation({
  args: { orgId, isContinuation: v.optional(v.boolean()) },
  returns: v.null(),
  handler: async (ctx, { orgId, isContinuation = false }) => {
    const org = await getOrg(ctx, orgId);
    if (org !== null && hasLumaKey(org)) {
      if (isContinuation) return null;
      throw new ConvexError(
        `Organization "${getOrgName(org)}" has a lu.ma API key, and its next sync would bring its events back: ` +
          "disconnect it first, with orgs/mutations:setLumaConfig and lumaApiKey null.",
      );
    }
    const events = () => ctx.db.query("events").withIndex("by_org", (q) => q.eq("orgId", orgId));
    const batch: Id<"events">[] = [];
    const first = within(new Budget(MAX_WRITE_BYTES), events(), MAX_DELETED);
    for await (const event of first) batch.push(event._id);
    for (const eventId of batch) await ctx.db.delete("events", eventId);
    if ((await events().first()) === null) await forgetSyncs(ctx, orgId);
    else {
      const rest = { orgId, isContinuation: true };
      await ctx.scheduler.runAfter(PAUSE_MS, internal.events.mutations.deleteOrgEvents, rest);
    }
    return null;
  },
});
