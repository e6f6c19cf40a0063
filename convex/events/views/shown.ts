/** The wall between the tables and visitors: only fields that validators.ts names pass. */
import type { Doc } from "../../_generated/dataModel";
import type { ShownOrg } from "../../orgs/app";
import { pick, shownEvent, type DashboardEvent, type OrgPageEvent } from "../validators";

export function toOrgPageEvent(event: Doc<"events">): OrgPageEvent {
  const { description } = event;
  // An empty one is for the sync only: it says that lu.ma has none.
  return { ...pick(shownEvent, event), description: description === "" ? undefined : description };
}

export function toDashboardEvent(event: Doc<"events">, org: ShownOrg): DashboardEvent {
  return { ...pick(shownEvent, event), org };
}
