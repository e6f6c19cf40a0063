/** Fetches descriptions, one event at a time, because lu.ma's lists have had none since July 2026. */
import { ConvexError } from "convex/values";
import { internal } from "../../_generated/api";
import type { Doc } from "../../_generated/dataModel";
import type { ActionCtx } from "../../_generated/server";
import { describeConvexError, SyncError, type SyncFailure } from "../failure";
import type { LumaKey } from "../luma/key";
import type { RunningSync } from "../queue/syncs";
import type { EventDescription } from "../validators";
import { DESCRIPTIONS_PER_WRITE, type BatchWriter } from "./convexCalls";
import { MAX_ASKED_FOR, type SingleEvents } from "./singleEvents";

/** An event that may need a description. It's stored, or about to be. */
export type Candidate = Pick<
  Doc<"events">,
  "lumaEventId" | "startAt" | "endAt" | "status" | "isDescribed"
>;

/**
 * The events whose descriptions one sync fetches: `listed` ones that aren't over. Those that were never requested come
 * first, in order of start, and then the others.
 */
export function selectCandidates(candidates: Candidate[], now: number): Candidate[] {
  return candidates
    .filter(({ status, startAt, endAt }) => status === "listed" && (endAt ?? startAt) > now)
    .sort((a, b) => Number(a.isDescribed) - Number(b.isDescribed) || a.startAt - b.startAt)
    .slice(0, MAX_ASKED_FOR);
}

type DescriptionSync = RunningSync & {
  key: LumaKey;
  singleEvents: SingleEvents;
  writer: BatchWriter;
};

/**
 * The last step of a sync: fetches descriptions and writes them. If lu.ma or a write fails, the note says so.
 *
 * @param fetched descriptions that were fetched already, to be written as well.
 * @returns how many were new, changed or cleared, and a note for the log.
 */
export async function syncDescriptions(
  ctx: ActionCtx,
  { orgId, syncId, key, singleEvents, writer }: DescriptionSync,
  candidates: Candidate[],
  fetched: EventDescription[],
): Promise<{ described: number; note: string }> {
  const toWrite = [...fetched];
  for (const { lumaEventId } of candidates) {
    const answer = await singleEvents.ask(lumaEventId, "description");
    if (answer === "not asked") break;
    // Whatever the answer, this marks the event as requested. Otherwise, it would come first in every sync.
    const description = typeof answer === "object" ? answer.description : undefined;
    toWrite.push({ lumaEventId, description });
  }
  let described = 0;
  let problem = "";
  try {
    const { describeEvents } = internal.events.mutations;
    await writer.write(toWrite, DESCRIPTIONS_PER_WRITE, async (descriptions) => {
      described += (await ctx.runMutation(describeEvents, { orgId, syncId, descriptions }))
        .described;
    });
  } catch (error) {
    problem = `Not all descriptions were written: ${explain(error, key)}`;
  }
  return { described, note: `${singleEvents.describe()} ${problem}` };
}

function explain(error: unknown, key: LumaKey): string {
  if (error instanceof ConvexError) return (error.data as SyncFailure).message;
  const what = error instanceof SyncError ? error.message : describeConvexError(error, key);
  return `${what}.`;
}
