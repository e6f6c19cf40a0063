/** The wall between the tables and visitors: each field that may pass is named here. */
import type { Doc, Id } from "../_generated/dataModel";
import type { QueryCtx } from "../_generated/server";
import type { PublicEvent, PublicOrg } from "./validators";

export async function getPublicOrg(
  ctx: QueryCtx,
  orgId: Id<"organizations">,
): Promise<PublicOrg | null> {
  const org = await ctx.db.get("organizations", orgId);
  if (org === null) return null;
  return { _id: org._id, name: org.name, slug: org.slug, logoUrl: org.logoUrl };
}

export function toPublicEvent(event: Doc<"events">): PublicEvent {
  return {
    _id: event._id,
    orgId: event.orgId,
    title: event.title,
    description: event.description,
    startAt: event.startAt,
    endAt: event.endAt,
    timezone: event.timezone,
    coverUrl: event.coverUrl,
    url: event.url,
    location: event.location,
    isVirtual: event.isVirtual,
  };
}
