/**
 * The last step of a sync: asks lu.ma for the descriptions of some events, one by one, because its lists have none
 * since July 2026, and writes those that differ. It never fails a sync.
 */
import { ConvexError } from "convex/values";
import { internal } from "../_generated/api";
import type { Doc } from "../_generated/dataModel";
import type { ActionCtx } from "../_generated/server";
import type { Org } from "../orgs/app";
import { quoteConvex, SyncError, toFailure } from "./failure";
import type { EventReader } from "./lumaClient";
import { writeSlowly } from "./slowWrites";
import type { EventDescription } from "./validators";

/** In one sync: a key has 200 requests a minute for all who use it. */
const MAX_ASKED_FOR = 100;

/** An event whose description may be asked for: stored, or about to be. */
export type Candidate = Pick<Doc<"events">, "lumaEventId" | "startAt" | "endAt" | "status"> & {
  /** What is stored; absent when it was not asked for yet. */
  description?: string;
};

/**
 * What one sync asks for, of events that are `listed` and not over: first what was not asked for yet, then the others,
 * the soonest first.
 */
export function selectCandidates(candidates: Candidate[], now: number): Candidate[] {
  const wasAskedFor = ({ description }: Candidate) => Number(description !== undefined);
  return candidates
    .filter(({ status, startAt, endAt }) => status === "listed" && (endAt ?? startAt) > now)
    .sort((a, b) => wasAskedFor(a) - wasAskedFor(b) || a.startAt - b.startAt)
    .slice(0, MAX_ASKED_FOR);
}

/**
 * @param until when to give up writing, ms since 1970.
 * @returns how many descriptions were new, changed or cleared, and a sentence for the log.
 */
export async function syncDescriptions(
  ctx: ActionCtx,
  { org, syncNumber, reader, until }: DescriptionSync,
  candidates: Candidate[],
): Promise<{ described: number; note: string }> {
  const toWrite: EventDescription[] = [];
  let askedFor = 0;
  let described = 0;
  let end = candidates.length === MAX_ASKED_FOR ? "the most in one sync" : "all there are";
  try {
    for (const { lumaEventId, description: stored } of candidates) {
      await reader.pause();
      askedFor += 1;
      // Whatever the answer, this event counts as asked for, or it would keep the others waiting in every sync.
      let description: string | undefined;
      try {
        const answer = await reader.fetchEvent(lumaEventId, "description");
        if (typeof answer === "object") description = answer.description;
      } finally {
        const isNews = stored === undefined || (description ?? stored) !== stored;
        if (isNews) toWrite.push({ lumaEventId, description });
      }
    }
  } catch (error) {
    end = `ended by ${explainEnd(error, org)}`;
  }
  try {
    const results = await writeSlowly(toWrite, until, (descriptions) => {
      const args = { orgId: org._id, descriptions, syncNumber };
      return ctx.runMutation(internal.events.mutations.describeEvents, args);
    });
    described = results.reduce((sum, result) => sum + result.described, 0);
  } catch (error) {
    end = `ended by ${explainEnd(error, org)}`;
  }
  const note = `Descriptions: ${askedFor} asked for, ${end.replace(/\.$/, "")}.`;
  return { described, note };
}

type DescriptionSync = { org: Org; syncNumber: number; reader: EventReader; until: number };

function explainEnd(error: unknown, org: Org): string {
  if (error instanceof SyncError) return error.message;
  // An overtaken or ended sync: the sentence says by what.
  if (error instanceof ConvexError) return toFailure(error, org._id, org).message;
  return `Convex, which refused to write them${quoteConvex(error, org)}`;
}
