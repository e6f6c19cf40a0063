/**
 * The contract between the app and the module, and the one file that an app edits: how its organizations are found and
 * shown, to which of them the signed-in person belongs, and what happens when events are published.
 */
import { ConvexError, v, type Infer } from "convex/values";
import type { PaginationOptions } from "convex/server";
import type { Doc, Id } from "../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import { getVariable } from "../events/environment";
import { toHttpUrl, toLogItem } from "../events/text";
import { Budget, within } from "../events/boundedReads";
import schema from "../schema";

export type OrgId = Id<"organizations">;
export type Org = Doc<"organizations">;
export const orgId = v.id("organizations");
export const orgDocument = schema.tables.organizations.validator.extend({
  _id: orgId,
  _creationTime: v.number(),
});

/** What messages and logs call an organization: on one line, for administrators. */
export function getOrgName(org: Org): string {
  return toLogItem(org.name);
}

/** What visitors see of an organization beside its events: the fields that your pages need of it, none secret. */
export const shownOrg = v.object({
  _id: orgId,
  name: v.string(),
  slug: v.optional(v.string()),
  logoUrl: v.optional(v.string()),
});
export type ShownOrg = Infer<typeof shownOrg>;

/**
 * Fills in `shownOrg`. A dashboard's query calls it once for each organization. A logo in Convex's storage:
 * `logoUrl: org.logoId && ((await ctx.storage.getUrl(org.logoId)) ?? undefined)`.
 */
export async function toShownOrg(_ctx: QueryCtx, org: Org): Promise<ShownOrg> {
  // Each event on a dashboard carries its organization: a logo in a `data:` URL would be sent hundreds of times.
  return { _id: org._id, name: org.name, slug: org.slug, logoUrl: toHttpUrl(org.logoUrl) };
}

/** Looks an organization up; `null` for one that does not exist. */
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

/** Writes only the fields that it is given; `undefined` clears one. */
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

type GetOwnMemberships = (ctx: QueryCtx, budget?: Budget) => Promise<OwnMembership[] | null>;

/**
 * The organizations that the signed-in person belongs to, at most 50; `null` for nobody. In `orgMemberships`, a
 * `userId` is the identity's subject or, where this deployment issued the token, the part of it before a `|`: Convex
 * Auth has `userId|sessionId` there.
 *
 * @param budget how much a query that reads more than memberships may read of them. Your documents are small? Leave it
 * out.
 */
export const getOwnMemberships: GetOwnMemberships = async (ctx, budget = new Budget()) => {
  const identity = await ctx.auth.getUserIdentity();
  if (identity === null) return null;
  const { subject, issuer } = identity;
  // Nobody knows what the part before a "|" says in another issuer's subject.
  const isOwn = issuer === getVariable("CONVEX_SITE_URL");
  const userId = (isOwn && subject.split("|")[0]) || subject;
  const memberships = ctx.db
    .query("orgMemberships")
    .withIndex("by_user", (q) => q.eq("userId", userId));
  const own: OwnMembership[] = [];
  for await (const { orgId, role } of within(budget, memberships, MAX_MEMBERSHIPS)) {
    own.push({ orgId, role });
  }
  return own;
};

type OnEventsPublished = (
  ctx: MutationCtx,
  published: { orgId: OrgId; eventIds: Id<"events">[] },
) => Promise<void>;

/**
 * For notifications and feeds. The module calls it when events that are not over become visible to visitors, in the
 * transaction that writes them: new ones, and ones that were hidden or removed before. It does not call it before the
 * first sync with a new key has succeeded, so that connecting a calendar notifies nobody. A sync gives at most 100
 * events a call. What you schedule here runs once, if the events are written. If this throws, they are not: the sync
 * tries again, and its error names this function.
 */
export const onEventsPublished: OnEventsPublished = async () => {};
