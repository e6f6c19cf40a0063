/**
 * The last step of a sync: asks lu.ma for the descriptions of some events, one by one, because its lists have none since
 * July 2026, and writes those that differ. It never fails a sync.
 */
import { ConvexError, getConvexSize } from "convex/values";
import { internal } from "../_generated/api";
import type { Doc } from "../_generated/dataModel";
import type { ActionCtx } from "../_generated/server";
import type { Org } from "../orgs/app";
import type { LumaKey } from "../orgs/lumaKey";
import type { LumaAddress } from "./luma/addresses";
import { LumaError } from "./luma/error";
import { pause } from "./luma/request";
import { fetchLumaDescription } from "./lumaClient";
import { writeSlowly } from "./pacing";
import { quoteConvex, toFailure } from "./reasons";
import type { EventDescription } from "./validators";

/** 100 a sync, 300 ms apart: a key has 200 requests a minute for all who use it. */
const MAX_ASKED_FOR = 100;
const REQUEST_PAUSE_MS = 300;
/** Of descriptions that wait to be written together. */
const MAX_BATCH_BYTES = 256 * 1024;

/** An event whose description may be asked for: stored, or about to be. */
export type Candidate = Pick<Doc<"events">, "lumaEventId" | "startAt" | "endAt" | "status"> & {
  /** What is stored; absent when it was not asked for yet. */
  description?: string;
};

/**
 * What one sync asks for, of events that are listed and have not ended: first what was not asked for yet, then the
 * others, the soonest first.
 */
export function selectCandidates(candidates: Candidate[], now: number): Candidate[] {
  const wasAskedFor = ({ description }: Candidate) => Number(description !== undefined);
  return candidates
    .filter(({ status, startAt, endAt }) => status === "listed" && (endAt ?? startAt) > now)
    .sort((a, b) => wasAskedFor(a) - wasAskedFor(b) || a.startAt - b.startAt)
    .slice(0, MAX_ASKED_FOR);
}

/** How many descriptions were new, changed or cleared, and a sentence for the log. */
export async function syncDescriptions(
  ctx: ActionCtx,
  sync: { org: Org; syncNumber: number; key: LumaKey; address: LumaAddress; deadline: number },
  candidates: Candidate[],
): Promise<{ described: number; undescribed?: string | null; note: string }> {
  const { org, syncNumber, deadline } = sync;
  let batch: EventDescription[] = [];
  let batchBytes = 0;
  let described = 0;
  const writeBatch = async () => {
    const descriptions = batch;
    batch = [];
    batchBytes = 0;
    const writes = writeSlowly(descriptions, (descriptions) => {
      const args = { orgId: org._id, descriptions, syncNumber };
      return ctx.runMutation(internal.events.mutations.describeEvents, args);
    });
    for await (const result of writes) described += result.described;
  };

  let undescribed: string | null | undefined = candidates.length === 0 ? undefined : null;
  let askedFor = 0;
  let end = candidates.length === MAX_ASKED_FOR ? "the most in one sync" : "all there are";
  try {
    for (const { lumaEventId, description: stored } of candidates) {
      await pause(askedFor > 0 ? REQUEST_PAUSE_MS : 0, deadline);
      askedFor += 1;
      const fetched = await fetchLumaDescription(lumaEventId, sync);
      if (stored !== undefined && (fetched ?? stored) === stored) continue;
      const bytes = getConvexSize(fetched ?? "");
      if (batchBytes + bytes > MAX_BATCH_BYTES) await writeBatch();
      // One that cannot be fetched counts as asked for, or a hundred such would keep all others waiting for ever.
      batch.push({ lumaEventId, description: fetched });
      batchBytes += bytes;
    }
  } catch (error) {
    end = `ended by ${explainEnd(error, org)}`;
    const isUnserved = error instanceof LumaError && error.consequences.isUnserved;
    if (isUnserved) undescribed = candidates[askedFor - 1]?.lumaEventId;
  }
  try {
    await writeBatch();
  } catch (error) {
    end = `ended by ${explainEnd(error, org)}`;
  }
  const note = `Descriptions: ${askedFor} asked for, ${end.replace(/\.$/, "")}.`;
  return { described, undescribed, note };
}

function explainEnd(error: unknown, org: Org): string {
  if (error instanceof LumaError) return error.what;
  // An overtaken or ended sync: the sentence says by what.
  if (error instanceof ConvexError) return toFailure(error, "").message;
  return `Convex, which refused to write them${quoteConvex(error, org)}`;
}
