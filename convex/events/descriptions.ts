/**
 * The last step of a sync: asks lu.ma for the descriptions of some events, one by one, because its lists have none since
 * July 2026, and writes those that differ. It never fails a sync.
 */
import { getConvexSize, getDocumentSize } from "convex/values";
import { internal } from "../_generated/api";
import type { Doc } from "../_generated/dataModel";
import type { ActionCtx } from "../_generated/server";
import type { Org } from "../orgs/app";
import type { LumaKey } from "../orgs/lumaKey";
import { isGone, type Batch, type Comparison } from "./changes";
import type { LumaAddress } from "./luma/addresses";
import { LumaError } from "./luma/error";
import { pause } from "./luma/request";
import { fetchLumaDescription } from "./lumaClient";
import { writeSlowly } from "./pacing";
import { toFailure } from "./reasons";
import type { ComparedEvent, EventDescription } from "./validators";

/** 100 a sync, 300 ms apart: a key has 200 requests a minute for all who use it. */
const MAX_ASKED_FOR = 100;
const REQUEST_PAUSE_MS = 300;
const MAX_BATCH_BYTES = 256 * 1024;

/** An event whose description may be asked for. */
export type Candidate = {
  lumaEventId: string;
  startAt: number;
  /** What is stored; absent when it was not asked for yet. */
  description?: string;
  /** Of the document, nearly: with the description and the listing that were stored before. */
  bytes: number;
};

/** The stored events, of a page of them, that are listed and have not ended. */
export function toStoredCandidates(
  page: ComparedEvent[],
  comparison: Comparison,
  now: number,
): Candidate[] {
  return page.flatMap((stored) => {
    const { lumaEventId, description, bytes } = stored;
    const event = comparison.listed.get(lumaEventId);
    if (event === undefined && isGone(lumaEventId, comparison)) return [];
    const { startAt, endAt, status } = event ?? stored;
    if (!isShownAndAhead({ startAt, endAt, status }, now)) return [];
    return [{ lumaEventId, startAt, description, bytes }];
  });
}

/** The same of listed events that were not among the stored ones. */
export function toNewCandidates(comparison: Comparison, org: Org, now: number): Candidate[] {
  const { listed, unchanged, changedBytes } = comparison;
  return [...listed.values()]
    .filter(({ lumaEventId }) => !unchanged.has(lumaEventId) && !changedBytes.has(lumaEventId))
    .filter((event) => isShownAndAhead(event, now))
    .map((event) => ({
      lumaEventId: event.lumaEventId,
      startAt: event.startAt,
      bytes: getDocumentSize({ ...event, orgId: org._id, syncedAt: 0 }),
    }));
}

function isShownAndAhead(
  { status, startAt, endAt }: Pick<Doc<"events">, "status" | "startAt" | "endAt">,
  now: number,
): boolean {
  return status === "listed" && (endAt ?? startAt) > now;
}

/** What one sync asks for: first what was not asked for yet, then the others, the soonest first. */
export function selectCandidates(candidates: Candidate[]): Candidate[] {
  const wasAskedFor = ({ description }: Candidate) => Number(description !== undefined);
  return [...candidates]
    .sort((a, b) => wasAskedFor(a) - wasAskedFor(b) || a.startAt - b.startAt)
    .slice(0, MAX_ASKED_FOR);
}

/** How many descriptions were new, changed or cleared, and a sentence for the log. */
export async function syncDescriptions(
  ctx: ActionCtx,
  sync: { org: Org; syncNumber: number; key: LumaKey; address: LumaAddress; deadline: number },
  candidates: Candidate[],
): Promise<{ described: number; note: string }> {
  const { org, syncNumber, key, address, deadline } = sync;
  let batch: Batch<EventDescription> = { items: [], bytes: 0 };
  let described = 0;
  const writeBatch = async () => {
    const { items, bytes } = batch;
    batch = { items: [], bytes: 0 };
    if (items.length === 0) return;
    const write = { orgId: org._id, descriptions: items, syncNumber };
    described += await writeSlowly(bytes, () =>
      ctx.runMutation(internal.events.mutations.describeEvents, write),
    );
  };

  let askedFor = 0;
  let end = candidates.length === MAX_ASKED_FOR ? "the most in one sync" : "all there are";
  try {
    for (const { lumaEventId, description: stored, bytes } of candidates) {
      if (askedFor > 0) await pause(REQUEST_PAUSE_MS, deadline);
      askedFor += 1;
      const fetched = await fetchLumaDescription({ key, address, lumaEventId, deadline });
      // One that cannot be had counts as asked for, or a hundred such would keep all others waiting for ever.
      const description = fetched ?? stored ?? "";
      if (description === stored) continue;
      const newBytes = bytes + getConvexSize(description);
      if (batch.bytes + newBytes > MAX_BATCH_BYTES) await writeBatch();
      batch.items.push({ lumaEventId, description });
      batch.bytes += newBytes;
    }
  } catch (error) {
    end = `ended by ${explainEnd(error, org)}`;
  }
  try {
    await writeBatch();
  } catch (error) {
    end = `ended by ${explainEnd(error, org)}`;
  }
  return { described, note: `Descriptions: ${askedFor} asked for, ${end}.` };
}

function explainEnd(error: unknown, org: Org): string {
  return error instanceof LumaError ? error.what : toFailure(error, org._id, org).message;
}
