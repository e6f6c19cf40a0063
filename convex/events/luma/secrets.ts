/**
 * API keys and webhook secrets. Only this file reads and writes the table `lumaSecrets`, and no public function returns
 * what is in it.
 */
import type { Doc } from "../../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../../_generated/server";
import { patchOrg, type Org, type OrgId } from "../organizations";
import { hasKeyInField, parseSecret, readVariable, STORED, WEBHOOK_SECRET } from "./key";

type Secrets = Pick<Doc<"lumaSecrets">, "apiKey" | "webhookSecret">;

export async function getSecrets(ctx: QueryCtx, orgId: OrgId): Promise<Secrets> {
  return (await querySecrets(ctx, orgId).first()) ?? {};
}

/** The secret of an organization's webhook, or why it can't be used; `undefined` if none is set. */
export async function getWebhookSecret(
  ctx: QueryCtx,
  orgId: OrgId,
): Promise<{ text: string } | { problem: string } | undefined> {
  const { webhookSecret } = await getSecrets(ctx, orgId);
  if (webhookSecret === undefined) return undefined;
  const parsed = parseSecret(webhookSecret, WEBHOOK_SECRET);
  return "variable" in parsed ? readVariable(parsed.variable) : parsed;
}

/** Changes only the given fields; `undefined` clears one. */
export async function setSecrets(ctx: MutationCtx, orgId: OrgId, fields: Partial<Secrets>) {
  const stored = await querySecrets(ctx, orgId).first();
  if (stored === null) await ctx.db.insert("lumaSecrets", { orgId, ...fields });
  else await ctx.db.patch("lumaSecrets", stored._id, fields);
}

/** Deletes duplicates, too, which an import can leave behind. */
export async function deleteSecrets(ctx: MutationCtx, orgId: OrgId): Promise<void> {
  for await (const { _id } of querySecrets(ctx, orgId)) await ctx.db.delete("lumaSecrets", _id);
}

/**
 * Moves a key that somebody wrote into an organization's document by hand.
 *
 * @returns whether it differs from the key that was stored.
 */
export async function moveKey(ctx: MutationCtx, org: Org): Promise<boolean> {
  if (!hasKeyInField(org)) return false;
  const apiKey = org.lumaApiKey?.trim();
  const before = await getSecrets(ctx, org._id);
  await setSecrets(ctx, org._id, { apiKey });
  await patchOrg(ctx, org._id, { lumaApiKey: STORED });
  return apiKey !== before.apiKey;
}

function querySecrets(ctx: QueryCtx, orgId: OrgId) {
  return ctx.db.query("lumaSecrets").withIndex("by_org", (q) => q.eq("orgId", orgId));
}
