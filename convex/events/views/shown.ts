/** The wall between the tables and visitors: only fields that validators.ts names pass. */
import type { Doc, Id } from "../../_generated/dataModel";
import type { QueryCtx } from "../../_generated/server";
import { shownEvent, type ShownEvent, type ShownOrg } from "../validators";

const SHOWN_FIELDS = Object.keys(shownEvent.fields) as (keyof ShownEvent)[];

export async function getShownOrg(
  ctx: QueryCtx,
  orgId: Id<"organizations">,
): Promise<ShownOrg | null> {
  const org = await ctx.db.get("organizations", orgId);
  if (org === null) return null;
  return { _id: org._id, name: org.name, slug: org.slug, logoUrl: org.logoUrl };
}

export function toShownEvent(event: Doc<"events">): ShownEvent {
  return Object.fromEntries(SHOWN_FIELDS.map((field) => [field, event[field]])) as ShownEvent;
}
