/**
 * What an app edits: how its organizations are found and shown, and to which of them the signed-in person belongs. Only
 * this folder names their tables.
 */
import { ConvexError, v, type Infer } from "convex/values";
import type { PaginationOptions } from "convex/server";
import type { Doc, Id } from "../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import { toHttpUrl, toLogItem } from "../events/text";
import { Budget, within } from "../events/views/boundedReads";
import schema from "../schema";

export type OrgId = Id<"organizations">;
export type Org = Doc<"organizations">;
export const orgId = v.id("organizations");
export const orgDocument = schema.tables.organizations.validator.extend({
  _id: orgId,
  _creationTime: v.number(),
});

/** What messages call an organization. */
export function getOrgName(org: Org): string {
  return toLogItem(org.name);
}

/** What visitors are shown of an organization beside its events. */
export const shownOrg = v.object({
  _id: orgId,
  name: v.string(),
  slug: v.optional(v.string()),
  logoUrl: v.optional(v.string()),
});
export type ShownOrg = Infer<typeof shownOrg>;

export function toShownOrg(org: Org): ShownOrg {
  // Each event on a dashboard carries its organization: a logo in a `data:` URL would be sent hundreds of times.
  return { _id: org._id, name: org.name, slug: org.slug, logoUrl: toHttpUrl(org.logoUrl) };
}

export async function getOrg(ctx: QueryCtx, id: OrgId): Promise<Org | null> {
  return await ctx.db.get("organizations", id);
}

/** @throws ConvexError when there is no such organization. */
export async function requireOrg(ctx: QueryCtx, id: OrgId): Promise<Org> {
  const org = await getOrg(ctx, id);
  if (org === null) {
    throw new ConvexError(
      `There is no organization with the id ${id}: it was deleted, or the id is wrong.`,
    );
  }
  return org;
}

/** The fields that this module adds to an organization. */
export type LumaFields = Pick<
  Org,
  "lumaCalendarUrl" | "lumaApiKey" | "eventsLastSynced" | "eventsSyncError"
>;

export async function patchOrg(ctx: MutationCtx, id: OrgId, fields: Partial<LumaFields>) {
  await ctx.db.patch("organizations", id, fields);
}

/** A page of the organizations that have a `lumaApiKey`; reads only those. */
export async function paginateOrgsWithKey(ctx: QueryCtx, options: PaginationOptions) {
  return await ctx.db
    .query("organizations")
    .withIndex("by_luma_api_key", (q) => q.gt("lumaApiKey", undefined))
    .paginate(options);
}

/** More than anybody has; each is an organization whose events a dashboard reads. */
const MAX_MEMBERSHIPS = 50;

export type OwnMembership = { orgId: OrgId; role: "admin" | "member" };

/**
 * The organizations that the signed-in person belongs to, at most 50; `null` for nobody. A membership counts when its
 * `userId` is the identity's subject (Clerk, Auth0) or the part before its `|` (Convex Auth: `userId|sessionId`).
 *
 * @param budget bounds what a dashboard reads; only documents of many kilobytes need it.
 */
export async function getOwnMemberships(
  ctx: QueryCtx,
  budget = new Budget(),
): Promise<OwnMembership[] | null> {
  const identity = await ctx.auth.getUserIdentity();
  if (identity === null) return null;
  const userIds = new Set([identity.subject, identity.subject.replace(/\|.*/s, "")]);
  const own: OwnMembership[] = [];
  for (const userId of userIds) {
    const memberships = ctx.db
      .query("orgMemberships")
      .withIndex("by_user", (q) => q.eq("userId", userId));
    for await (const membership of within(budget, memberships)) {
      if (own.push(membership) === MAX_MEMBERSHIPS) return own;
    }
  }
  return own;
}
