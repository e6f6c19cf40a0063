/** Signs calls as lu.ma's webhooks do. */
import { createHmac } from "node:crypto";

export function signCall(body: string | Uint8Array, seconds: string, secret: string): string {
  return createHmac("sha256", secret).update(`${seconds}.`).update(body).digest("hex");
}

/** For `t.fetch`. */
export function toCall(body: string, secret: string) {
  const seconds = String(Math.floor(Date.now() / 1_000));
  const signature = `t=${seconds},v1=${signCall(body, seconds, secret)}`;
  return { method: "POST", body, headers: { "webhook-signature": signature } };
}
