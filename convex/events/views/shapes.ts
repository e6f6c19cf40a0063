/** What visitors see: only the fields that these shapes name reach them. */
import { v, type Infer } from "convex/values";
import type { Doc, Id } from "../../_generated/dataModel";
import type { QueryCtx } from "../../_generated/server";
import { shownOrg, type ShownOrg } from "../../lumaApp";
import { pick, storedEvent } from "../validators";

/** A `listed` event, on every page. */
const shownEvent = storedEvent
  .pick(
    "orgId",
    "title",
    "startAt",
    "endAt",
    "timezone",
    "coverUrl",
    "url",
    "location",
    "isVirtual",
  )
  .extend({ _id: v.id("events") });

const orgPageEvent = shownEvent.extend({
  /** Untrusted Markdown: use a renderer that ignores HTML. */
  description: v.optional(v.string()),
});
export type OrgPageEvent = Infer<typeof orgPageEvent>;

export const orgPage = v.object({
  calendarUrl: v.union(v.string(), v.null()),
  lastSyncedAt: v.union(v.number(), v.null()),
  upcoming: v.array(orgPageEvent),
  past: v.array(orgPageEvent),
});

/** Without a description: a dashboard's cards don't show it. */
const dashboardEvent = shownEvent.extend({ org: shownOrg });
export type DashboardEvent = Infer<typeof dashboardEvent>;

export const dashboard = v.object({
  userOrgEvents: v.array(dashboardEvent),
  otherOrgEvents: v.array(dashboardEvent),
});

export async function toOrgPageEvent(ctx: QueryCtx, event: Doc<"events">): Promise<OrgPageEvent> {
  const described = event.isDescribed ? await findDescription(ctx, event._id) : null;
  return { ...pick(shownEvent, event), description: described?.text };
}

export async function findDescription(ctx: QueryCtx, eventId: Id<"events">) {
  return await ctx.db
    .query("eventDescriptions")
    .withIndex("by_event", (q) => q.eq("eventId", eventId))
    .first();
}

export function toDashboardEvent(event: Doc<"events">, org: ShownOrg): DashboardEvent {
  return { ...pick(shownEvent, event), org };
}
