/** Keys and webhook secrets: the only file that reads and writes the table `lumaSecrets`. No public function calls it. */
import type { Doc } from "../../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../../_generated/server";
import { patchOrg, type Org, type OrgId } from "../organizations";
import { hasKeyInField, parseSecret, readVariable, STORED, WEBHOOK_SECRET } from "./key";

type Secrets = Pick<Doc<"lumaSecrets">, "apiKey" | "webhookSecret">;

export async function getSecrets(ctx: QueryCtx, orgId: OrgId): Promise<Secrets> {
  return (await findSecrets(ctx, orgId)) ?? {};
}

/** The secret of the calendar's webhook, or why it can't be read; `undefined` if none is set. */
export async function getWebhookSecret(
  ctx: QueryCtx,
  orgId: OrgId,
): Promise<{ text: string } | { problem: string } | undefined> {
  const { webhookSecret } = await getSecrets(ctx, orgId);
  if (webhookSecret === undefined) return undefined;
  const parsed = parseSecret(webhookSecret, WEBHOOK_SECRET);
  return "variable" in parsed ? readVariable(parsed.variable) : parsed;
}

/** Writes only the fields that it is given; `undefined` clears one. */
export async function setSecrets(ctx: MutationCtx, orgId: OrgId, fields: Partial<Secrets>) {
  const stored = await findSecrets(ctx, orgId);
  if (stored === null) await ctx.db.insert("lumaSecrets", { orgId, ...fields });
  else await ctx.db.patch("lumaSecrets", stored._id, fields);
}

export async function deleteSecrets(ctx: MutationCtx, orgId: OrgId): Promise<void> {
  const stored = await findSecrets(ctx, orgId);
  if (stored !== null) await ctx.db.delete("lumaSecrets", stored._id);
}

/**
 * Moves a key that somebody wrote into an organization's document by hand.
 *
 * @returns whether that is another key than the one that was stored.
 */
export async function moveKey(ctx: MutationCtx, org: Org): Promise<boolean> {
  if (!hasKeyInField(org)) return false;
  const apiKey = org.lumaApiKey?.trim();
  const before = await getSecrets(ctx, org._id);
  await setSecrets(ctx, org._id, { apiKey });
  await patchOrg(ctx, org._id, { lumaApiKey: STORED });
  return apiKey !== before.apiKey;
}

async function findSecrets(ctx: QueryCtx, orgId: OrgId): Promise<Doc<"lumaSecrets"> | null> {
  return await ctx.db
    .query("lumaSecrets")
    .withIndex("by_org", (q) => q.eq("orgId", orgId))
    .first();
}
