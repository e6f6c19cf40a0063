/** The wall between the tables and visitors: only the fields that these shapes name pass. */
import { v, type Infer } from "convex/values";
import type { Doc } from "../../_generated/dataModel";
import { shownOrg, type ShownOrg } from "../../orgs/app";
import schema from "../../schema";
import { pick } from "../validators";

const storedEvent = schema.tables["events"].validator;

/** What visitors see of a `listed` event, on every page. */
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

const orgPageEvent = shownEvent.extend(storedEvent.pick("description").fields);
export type OrgPageEvent = Infer<typeof orgPageEvent>;

export const orgPage = v.object({
  calendarUrl: v.union(v.string(), v.null()),
  lastSyncedAt: v.union(v.number(), v.null()),
  upcoming: v.array(orgPageEvent),
  past: v.array(orgPageEvent),
});

/** Without a description: no card shows 50,000 characters, and every member would be sent them. */
const dashboardEvent = shownEvent.extend({ org: shownOrg });
export type DashboardEvent = Infer<typeof dashboardEvent>;

export const dashboard = v.object({
  userOrgEvents: v.array(dashboardEvent),
  otherOrgEvents: v.array(dashboardEvent),
});

export function toOrgPageEvent(event: Doc<"events">): OrgPageEvent {
  const { description } = event;
  // An empty one is for the sync only: it says that lu.ma was asked.
  return { ...pick(shownEvent, event), description: description === "" ? undefined : description };
}

export function toDashboardEvent(event: Doc<"events">, org: ShownOrg): DashboardEvent {
  return { ...pick(shownEvent, event), org };
}

/** Sorts events that were read in order of end. */
export function inOrderOfStart<Event extends { startAt: number }>(
  events: Iterable<Event>,
): Event[] {
  return [...events].sort((a, b) => a.startAt - b.startAt);
}
