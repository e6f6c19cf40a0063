/**
 * Whether a sync may still write: decided inside each transaction that writes, because the organization may
 * have been deleted, disconnected or synced anew since the sync began.
 */
import { ConvexError } from "convex/values";
import type { Doc, Id } from "../_generated/dataModel";
import type { QueryCtx } from "../_generated/server";
import { hasLumaKey } from "../orgs/lumaKey";

/**
 * Whether a sync that began later has finished meanwhile: then the older listing must not bring back what the
 * newer one hid or removed.
 */
export function isOvertaken(org: Doc<"organizations">, syncStartedAt: number): boolean {
  return org.eventsLastSynced !== undefined && org.eventsLastSynced > syncStartedAt;
}

/**
 * `false` for a sync that has been overtaken.
 *
 * @throws ConvexError when the organization was deleted or disconnected while it was being synced.
 */
export async function maySyncWrite(
  ctx: QueryCtx,
  orgId: Id<"organizations">,
  syncStartedAt: number,
): Promise<boolean> {
  const org = await requireOrg(ctx, orgId);
  if (!hasLumaKey(org)) {
    throw new ConvexError(
      `Organization "${org.name}" was disconnected from lu.ma while it was being synced: nothing more is written.`,
    );
  }
  return !isOvertaken(org, syncStartedAt);
}

/** @throws ConvexError when there is no such organization. */
export async function requireOrg(
  ctx: QueryCtx,
  orgId: Id<"organizations">,
): Promise<Doc<"organizations">> {
  const org = await ctx.db.get("organizations", orgId);
  if (org === null) throw new ConvexError(noSuchOrg(orgId));
  return org;
}

export function noSuchOrg(orgId: Id<"organizations">): string {
  return `There is no organization with the id ${orgId}: it was deleted, or the id is wrong.`;
}
