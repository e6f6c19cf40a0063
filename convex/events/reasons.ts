/** Why a sync failed: the sentence that the administrator reads. */
import { ConvexError } from "convex/values";
import type { Doc } from "../_generated/dataModel";
import { resolveLumaKey } from "../orgs/lumaKey";
import { LumaError, quote } from "./luma/error";

export function toReason(error: unknown, org: Doc<"organizations">): string {
  if (error instanceof ConvexError && typeof error.data === "string") return error.data;
  const what =
    error instanceof LumaError
      ? error.message
      : `Convex did not let it finish (${quoteError(error, org)}). The next sync completes it.`;
  return `Organization "${org.name}" was not synced: ${what}`;
}

/** The first line of an error that is not ours, without the key. */
function quoteError(error: unknown, org: Doc<"organizations">): string {
  const message = error instanceof Error ? error.message : String(error);
  const resolved = resolveLumaKey(org.lumaApiKey ?? "");
  return quote(message.split("\n", 1).join(""), "apiKey" in resolved ? resolved.apiKey : undefined);
}
