/**
 * Checks stored events that are missing from lu.ma's list. The list may be wrong for a minute, so each one is fetched
 * by itself.
 */
import type { Id } from "../../_generated/dataModel";
import { SyncError } from "../failure";
import type { ComparedEvent, EventDescription, MirroredEvent } from "../validators";
import { MAX_ASKED_FOR, type SingleEvents } from "./singleEvents";
import type { Window } from "./window";

/**
 * The events that one sync checks: `listed` ones in the window and, outside it, where the list says nothing, all that
 * aren't over. Upcoming events come first, in order of start.
 */
export function selectMissing(
  missing: ComparedEvent[],
  { after, before }: Window,
  now: number,
): ComparedEvent[] {
  const isOver = ({ overAt }: ComparedEvent) => overAt <= now;
  return missing
    .filter((event) => {
      if (event.status === "removed") return false;
      const isInWindow = event.startAt >= after && event.startAt <= before;
      return isInWindow ? event.status === "listed" : !isOver(event);
    })
    .sort((a, b) => Number(isOver(a)) - Number(isOver(b)) || a.startAt - b.startAt)
    .slice(0, MAX_ASKED_FOR);
}

export type Checked = {
  /** Events that still exist, as they are now: they were rescheduled, or the list was wrong. */
  found: MirroredEvent[];
  /** The descriptions of `found`. */
  descriptions: EventDescription[];
  gone: Id<"events">[];
  /** Why some couldn't be checked; absent if none failed. */
  failure?: SyncError;
};

/**
 * Finds out whether each event was rescheduled or is gone. If lu.ma's answer is of no use, the event stays as it is.
 *
 * @param calendarId the key's calendar, if it is known.
 */
export async function checkMissing(
  singleEvents: SingleEvents,
  missing: ComparedEvent[],
  calendarId: string | undefined,
): Promise<Checked> {
  const checked: Checked = { found: [], descriptions: [], gone: [] };
  let failed = 0;
  for (const { _id, lumaEventId } of missing) {
    const answer = await singleEvents.ask(lumaEventId, "check");
    if (answer === "gone") checked.gone.push(_id);
    else if (answer === "failed") failed += 1;
    // If failures ended the checks, the rest counts as failed. If time or the allowance did, it waits for the next sync.
    else if (answer === "not asked") failed += singleEvents.end === "failures" ? 1 : 0;
    else if (answer !== "nothing") {
      const { event, description, managedBy } = answer;
      const wasMovedAway = calendarId !== undefined && (managedBy ?? calendarId) !== calendarId;
      checked.found.push(wasMovedAway ? { ...event, status: "unlisted" } : event);
      checked.descriptions.push({ lumaEventId, description });
    }
  }
  if (failed > 0) {
    const what = `${failed} event${failed === 1 ? "" : "s"} that lu.ma no longer lists could not be checked`;
    checked.failure = new SyncError(`${what}: ${singleEvents.lastFailure?.message}`);
  }
  return checked;
}
