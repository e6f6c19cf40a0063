/** Why a sync failed: what a run must know of it, the sentence that the administrator reads, and where it is kept. */
import { ConvexError } from "convex/values";
import { internal } from "../_generated/api";
import type { ActionCtx } from "../_generated/server";
import { toShownOrg, type Org, type OrgId } from "../orgs/app";
import { resolveLumaKey } from "../orgs/lumaKey";
import { LumaError, quote } from "./luma/error";
import { repeated } from "./pacing";
import { toLogItem } from "./text";

/** The data of the module's own ConvexErrors in a sync. */
export type FailureData = {
  message: string;
  /**
   * `passing` may be over by itself; `lasting` is what only a person can mend; `ended` by a change of the key or of the
   * organization; `overtaken` by a later sync.
   */
  kind: "passing" | "lasting" | "ended" | "overtaken";
  /** lu.ma did not serve, as when it is down for all. */
  isUnserved?: boolean;
};

/** @param org as far as it is known: Convex is quoted only without the key. */
export function toFailure(error: unknown, name: string, org?: Org | null): FailureData {
  if (error instanceof ConvexError) return toData(error);
  if (error instanceof LumaError) {
    const { kind, isUnserved } = error.consequences;
    return { message: notSynced(name, error.message), kind, isUnserved };
  }
  const what = `Convex refused a step of it${org ? quoteConvex(error, org) : ""}. Sync again.`;
  return { message: notSynced(name, what), kind: "passing" };
}

export function outOfTime(org: Org): ConvexError<FailureData> {
  const what = "7 minutes 30 after it began, it had events left to write. Sync again.";
  return new ConvexError<FailureData>({
    message: notSynced(toShownOrg(org).name, what),
    kind: "passing",
  });
}

function notSynced(name: string, what: string): string {
  return `Organization "${toLogItem(name)}" was not synced: ${what}`;
}

/** Errors that are not a sync's own have their sentence for data: no such organization, no key. */
function toData({ data }: ConvexError<FailureData | string>): FailureData {
  return typeof data === "string" ? { message: data, kind: "lasting" } : data;
}

/** The first line of an error of Convex's. */
export function quoteConvex(error: unknown, org: Org): string {
  const key = resolveLumaKey(org);
  if (!("apiKey" in key)) return "";
  const message = error instanceof Error ? error.message : String(error);
  return ` (${quote(message.split("\n", 1).join(""), key.apiKey)})`;
}

/**
 * Writes down why a sync failed, and returns why. When the sync may not write any more, that is why; should writing fail,
 * the reason is in the log.
 */
export async function recordFailure(
  ctx: ActionCtx,
  sync: { orgId: OrgId; syncNumber: number },
  failure: FailureData,
): Promise<FailureData> {
  if (failure.kind === "ended" || failure.kind === "overtaken") return failure;
  const record = { ...sync, reason: failure.message };
  try {
    await repeated(() => ctx.runMutation(internal.events.mutations.recordSyncError, record));
  } catch (error) {
    if (error instanceof ConvexError) return toData(error);
    console.error(`Could not write down why a sync failed. ${failure.message}`);
  }
  return failure;
}
