/**
 * One sync at a time for each organization: the sync that began last is the only one that writes. Each gets a number when
 * it begins, and every transaction that writes for it asks here whether it still may.
 */
import { ConvexError, v } from "convex/values";
import type { Doc } from "../_generated/dataModel";
import { internalMutation, type MutationCtx, type QueryCtx } from "../_generated/server";
import { getOrg, orgId, requireOrg, toShownOrg, type Org, type OrgId } from "../orgs/app";
import { hasLumaKey } from "../orgs/lumaKey";
import type { FailureData } from "./reasons";
import { toLogItem } from "./text";

/**
 * Begins a sync of an organization and returns its number and the organization's name. From now on no sync that began
 * earlier writes anything more.
 *
 * @throws ConvexError when there is no such organization, or it has no key.
 */
export const beginSync = internalMutation({
  args: { orgId },
  returns: v.object({ syncNumber: v.number(), name: v.string() }),
  handler: async (ctx, { orgId }) => {
    const org = await requireOrg(ctx, orgId);
    const { name } = toShownOrg(org);
    if (!hasLumaKey(org)) {
      throw new ConvexError(
        `Organization "${name}" has no lu.ma API key: connect it with orgs/mutations:setLumaConfig first.`,
      );
    }
    const turns = await getTurns(ctx, orgId);
    // A new document begins where no number was before that deleteOrgEvents forgot; from there on they are counted.
    const syncNumber = turns === null ? Date.now() + Math.random() : turns.lastNumber + 1;
    if (turns === null) await ctx.db.insert("eventSyncs", { orgId, lastNumber: syncNumber });
    else await ctx.db.patch("eventSyncs", turns._id, { lastNumber: syncNumber });
    return { syncNumber, name };
  },
});

/** Ends the sync that is running, if any: the key that it uses was changed. */
export async function endTurns(ctx: MutationCtx, orgId: OrgId): Promise<void> {
  const turns = await getTurns(ctx, orgId);
  if (turns === null) return;
  await ctx.db.patch("eventSyncs", turns._id, { endedThrough: turns.lastNumber });
}

/**
 * The organization, for the sync with this number; without one, for whoever writes.
 *
 * @throws ConvexError when there is no such organization or, with FailureData, "overtaken" or "ended", when the sync may
 * not write any more.
 */
export async function requireTurn(ctx: QueryCtx, orgId: OrgId, syncNumber?: number): Promise<Org> {
  if (syncNumber === undefined) return await requireOrg(ctx, orgId);
  const [org, turns] = await Promise.all([getOrg(ctx, orgId), getTurns(ctx, orgId)]);
  if (org === null) throw orgWasDeleted(orgId);
  const name = toLogItem(toShownOrg(org).name);
  if (!hasLumaKey(org)) {
    throw ended(`Organization "${name}" was disconnected from lu.ma while it was being synced.`);
  }
  if (turns === null || syncNumber <= (turns.endedThrough ?? -Infinity)) {
    throw ended(
      `The lu.ma API key of the organization "${name}" was set while it was being synced: sync it again.`,
    );
  }
  if (syncNumber !== turns.lastNumber) {
    throw new ConvexError<FailureData>({
      message: `A later sync of the organization "${name}" has begun: this one writes nothing more.`,
      kind: "overtaken",
    });
  }
  return org;
}

export function orgWasDeleted(orgId: OrgId): ConvexError<FailureData> {
  return ended(`The organization with the id ${orgId} was deleted while it was being synced.`);
}

function ended(message: string): ConvexError<FailureData> {
  return new ConvexError<FailureData>({ message, kind: "ended" });
}

/** For an organization whose events are deleted for good. */
export async function forgetTurns(ctx: MutationCtx, orgId: OrgId): Promise<void> {
  const turns = await getTurns(ctx, orgId);
  if (turns !== null) await ctx.db.delete("eventSyncs", turns._id);
}

async function getTurns(ctx: QueryCtx, orgId: OrgId): Promise<Doc<"eventSyncs"> | null> {
  return await ctx.db
    .query("eventSyncs")
    .withIndex("by_org", (q) => q.eq("orgId", orgId))
    .first();
}
