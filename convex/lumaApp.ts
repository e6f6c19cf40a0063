/**
 * What your app decides: which table has its organizations, what visitors see of them, who their members are, what
 * happens when events are published, and the module's settings. This is the only file of the module that you edit, and
 * updates leave it alone.
 */
import { v, type Infer } from "convex/values";
import type { Id } from "./_generated/dataModel";
import type { MutationCtx, QueryCtx } from "./_generated/server";
import type { Org, OrgId } from "./events/organizations";
import type { LumaSettings } from "./events/settings";
import { getVariable } from "./events/runtime";
import { toHttpUrl } from "./events/text";

/** Your table of organizations. */
export const orgTable = "organizations";

/** What errors and logs call an organization. */
export function getOrgName(org: Org): string {
  return org.name;
}

/** What visitors see of an organization, besides its events: only what your pages need, and nothing secret. */
export const shownOrg = v.object({
  _id: v.id(orgTable),
  name: v.string(),
  slug: v.optional(v.string()),
  logoUrl: v.optional(v.string()),
});
export type ShownOrg = Infer<typeof shownOrg>;

/**
 * Fills in `shownOrg`, or returns `null` to hide the organization and its events from this visitor; `ctx.auth` says who
 * that is. By default, everybody may see every organization. A dashboard calls this once per organization. Events that
 * you hide still count toward the number that it reads, so its discovery list may be shorter.
 *
 * For a logo in Convex's file storage, rename `_ctx` to `ctx`, and set
 * `logoUrl: org.logoId && ((await ctx.storage.getUrl(org.logoId)) ?? undefined)`.
 */
export async function toShownOrg(_ctx: QueryCtx, org: Org): Promise<ShownOrg | null> {
  // A dashboard's events include their organization, so a logo in a `data:` URL would be sent up to a hundred times.
  return { _id: org._id, name: org.name, slug: org.slug, logoUrl: toHttpUrl(org.logoUrl) };
}

/** More than anybody has. A dashboard reads the events of each. */
const MAX_MEMBERSHIPS = 50;

export type OwnMembership = { orgId: OrgId; role: "admin" | "member" };

/**
 * The organizations that the signed-in person belongs to, at most 50; `null` if nobody is signed in.
 *
 * Here, a membership's `userId` is the identity's subject. Convex Auth puts `userId|sessionId` there, so for tokens
 * that this deployment issued it is the part before the `|`.
 */
export async function getOwnMemberships(ctx: QueryCtx): Promise<OwnMembership[] | null> {
  const identity = await ctx.auth.getUserIdentity();
  if (identity === null) return null;
  const { subject, issuer } = identity;
  // In other issuers' subjects, a `|` may mean anything.
  const isOwnToken = issuer === getVariable("CONVEX_SITE_URL");
  const userId = (isOwnToken && subject.split("|")[0]) || subject;
  const memberships = await ctx.db
    .query("orgMemberships")
    .withIndex("by_user", (q) => q.eq("userId", userId))
    .take(MAX_MEMBERSHIPS);
  return memberships.map(({ orgId, role }) => ({ orgId, role }));
}

/** Whether the signed-in person may connect an organization's calendar and sync it. */
export async function isOrgAdmin(ctx: QueryCtx, orgId: OrgId): Promise<boolean> {
  const memberships = (await getOwnMemberships(ctx)) ?? [];
  return memberships.some((own) => own.orgId === orgId && own.role === "admin");
}

/**
 * For notifications and feeds. The module calls this when events that aren't over become visible: new ones, and ones
 * that were hidden or removed before. It isn't called for a calendar that has just been connected, while lu.ma doesn't
 * say which calendar a key belongs to, or for an event that has merely come into the window of 90 days. It is also
 * called for organizations that `toShownOrg` hides from some visitors.
 *
 * Each call gets at most 50 events, and runs in the transaction that writes them, so what you schedule here runs only
 * if they are written. Their descriptions may follow later. If this throws, the events aren't written, the sync is
 * retried, and its error names this function.
 */
export async function onEventsPublished(
  _ctx: MutationCtx,
  _published: { orgId: OrgId; eventIds: Id<"events">[] },
): Promise<void> {}

/** Overrides the module's defaults; see "What can be changed" in events/README.md. */
export const settings: LumaSettings = {};
