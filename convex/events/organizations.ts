/** Reads the app's organizations, and patches the module's fields in them. */
import { ConvexError, v } from "convex/values";
import type { PaginationOptions } from "convex/server";
import type { Doc, Id } from "../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import { getOrgName, orgTable } from "../lumaApp";
import schema from "../schema";
import { hasLumaKey } from "./luma/key";
import type { lumaOrgFields } from "./tables";
import { toLogItem } from "./text";

export type Org = Doc<typeof orgTable>;
export type OrgId = Id<typeof orgTable>;
export const orgId = v.id(orgTable);
export const orgDocument = schema.tables[orgTable].validator.extend({
  _id: orgId,
  _creationTime: v.number(),
});

/** The fields that the module adds to an organization. */
type LumaFields = Pick<Org, keyof typeof lumaOrgFields>;

/** What errors and logs call an organization: its name in one line, or its id if it was deleted. */
export function nameOf(org: Org | OrgId): string {
  if (typeof org === "string") return org;
  try {
    return toLogItem(String(getOrgName(org)));
  } catch {
    // One document that the app's code can't handle must not stop the daily run of all others.
    return org._id;
  }
}

export async function getOrg(ctx: QueryCtx, id: OrgId): Promise<Org | null> {
  return await ctx.db.get(orgTable, id);
}

/** @throws ConvexError if there is no such organization. */
export async function requireOrg(ctx: QueryCtx, id: OrgId): Promise<Org> {
  const org = await getOrg(ctx, id);
  if (org === null) throw new ConvexError(noSuchOrg(id));
  return org;
}

export function noSuchOrg(id: OrgId): string {
  return `There is no organization with the id ${id}: it was deleted, or the id is wrong.`;
}

export function noKey(org: Org): string {
  return `Organization "${nameOf(org)}" has no lu.ma API key: connect it on the settings page, or with setLumaConfig.`;
}

/** Changes only the given fields; `undefined` clears one. */
export async function patchOrg(ctx: MutationCtx, id: OrgId, fields: Partial<LumaFields>) {
  await ctx.db.patch(orgTable, id, fields);
}

/** An app's organizations may be large, so a page may have to be shorter. */
const PAGE_BYTES = 4 * 1024 * 1024;

/** A page of the organizations that have a key. Reads no others. */
export async function paginateConnectedOrgs(ctx: QueryCtx, options: PaginationOptions) {
  const found = await ctx.db
    .query(orgTable)
    // A missing field sorts before every value.
    .withIndex("by_luma_api_key", (q) => q.gt("lumaApiKey", undefined))
    .paginate({ ...options, maximumBytesRead: PAGE_BYTES });
  return { ...found, page: found.page.filter(hasLumaKey) };
}
