/**
 * Receives lu.ma's webhook calls. A call only triggers a sync, which asks lu.ma what has changed. Whatever is wrong
 * with a call, the answer is the same, so nobody can find out which organizations exist or have a webhook.
 */
import { milliseconds } from "date-fns";
import { v } from "convex/values";
import * as z from "zod/v4";
import { internal } from "../_generated/api";
import { httpAction, internalMutation, internalQuery } from "../_generated/server";
import { orgTable } from "../lumaApp";
import { hasLumaKey } from "./luma/key";
import { getWebhookSecret } from "./luma/secrets";
import { getOrg, orgId } from "./organizations";
import { getSync, writeSync } from "./queue/syncs";
import { requestSyncAt } from "./settings";

const MAX_HEADER = 1_000;
const MAX_BODY_BYTES = 1024 * 1024;
/** Calls that are older, or further ahead, are refused, so that a recorded call can't be replayed later. */
const MAX_AGE_MS = milliseconds({ minutes: 5 });
/** lu.ma's list may lag behind its calls, and a burst of edits should cause just one sync. */
const SYNC_DELAY_MS = milliseconds({ seconds: 20 });
/** `webhookCalledAt` is written at most this often. */
const CALL_PRECISION_MS = milliseconds({ minutes: 1 });
/** Only calls of these types are about events; others are about guests, tickets and subscribers. */
const EVENT_TYPES = ["event.created", "event.updated", "event.canceled", "calendar.event.added"];

/** Mounted at `POST /luma/<orgId>` by http.ts. Answers a valid call with 200, and any other with 401. */
export const lumaWebhook = httpAction(async (ctx, request) => {
  const refused = () => new Response("Unauthorized", { status: 401 });
  const signature = parseSignature(request.headers.get("webhook-signature") ?? "");
  if (signature === undefined) return refused();
  const id = new URL(request.url).pathname.replace(/^\/luma\//, "");
  const found = await ctx.runQuery(internal.events.webhook.getSecret, { id });
  if (found === null) return refused();
  const body = await request.arrayBuffer();
  if (body.byteLength > MAX_BODY_BYTES) return refused();
  if (!(await isSigned(body, signature, found.secret))) {
    console.warn(`lu.ma webhook: a call for organization ${found.orgId} had an invalid signature.`);
    return refused();
  }
  const call = { orgId: found.orgId, concernsEvents: concernsEvents(body) };
  const isAccepted = await ctx.runMutation(internal.events.webhook.acceptCall, call);
  return isAccepted ? new Response() : refused();
});

/** `time` is in seconds since 1970, and `signatures` are hexadecimal. */
type Signature = { time: string; signatures: string[] };

/** Parses `t=<unix seconds>,v1=<hex>`. There may be several `v1`, of which one must match. */
function parseSignature(header: string): Signature | undefined {
  if (header.length > MAX_HEADER) return undefined;
  const parts = header.split(",").map((part) => part.trim());
  const [time, ...otherTimes] = parts.flatMap((part) => /^t=(\d{1,12})$/.exec(part)?.[1] ?? []);
  const signatures = parts.flatMap((part) => /^v1=([\da-f]{64})$/i.exec(part)?.[1] ?? []);
  if (time === undefined || otherTimes.length > 0 || signatures.length === 0) return undefined;
  if (Math.abs(Date.now() - Number(time) * 1_000) > MAX_AGE_MS) return undefined;
  return { time, signatures };
}

/** Checks the HMAC-SHA256 of `<t>.<raw body>`. The key is the secret as lu.ma shows it, including `whsec_`. */
async function isSigned(body: ArrayBuffer, { time, signatures }: Signature, secret: string) {
  const encoder = new TextEncoder();
  const [rawKey, begin] = [encoder.encode(secret), encoder.encode(`${time}.`)] as const;
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", rawKey, algorithm, false, ["verify"]);
  const signed = new Uint8Array(begin.length + body.byteLength);
  signed.set(begin);
  signed.set(new Uint8Array(body), begin.length);
  for (const hex of signatures) {
    const bytes = Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
    if (await crypto.subtle.verify("HMAC", key, bytes, signed)) return true;
  }
  return false;
}

const callBody = z.object({ type: z.string() });

function concernsEvents(body: ArrayBuffer): boolean {
  try {
    return EVENT_TYPES.includes(callBody.parse(JSON.parse(new TextDecoder().decode(body))).type);
  } catch {
    return false;
  }
}

/**
 * The organization's id and webhook secret; `null` without a usable secret. Doesn't check that it exists or has a key.
 */
export const getSecret = internalQuery({
  args: { id: v.string() },
  returns: v.union(v.object({ orgId, secret: v.string() }), v.null()),
  handler: async (ctx, { id }) => {
    const orgId = ctx.db.normalizeId(orgTable, id);
    const secret = orgId && (await getWebhookSecret(ctx, orgId));
    return secret && "text" in secret ? { orgId, secret: secret.text } : null;
  },
});

/**
 * Records a valid call and, if it is about events, requests a sync.
 *
 * @returns whether the organization still has a key and a webhook secret.
 */
export const acceptCall = internalMutation({
  args: { orgId, concernsEvents: v.boolean() },
  returns: v.boolean(),
  handler: async (ctx, { orgId, concernsEvents }) => {
    const org = await getOrg(ctx, orgId);
    // The organization may have been disconnected since its secret was read.
    const secret = org && hasLumaKey(org) && (await getWebhookSecret(ctx, orgId));
    if (!secret) return false;
    const now = Date.now();
    const sync = await getSync(ctx, orgId);
    if (now >= (sync?.webhookCalledAt ?? 0) + CALL_PRECISION_MS) {
      await writeSync(ctx, orgId, sync, { webhookCalledAt: now });
    }
    // Not urgent: nobody is waiting for it.
    if (concernsEvents) await requestSyncAt(ctx, orgId, now + SYNC_DELAY_MS);
    return true;
  },
});
