/**
 * Asks lu.ma for stored events that are missing from its list. The list may be wrong for a minute; what lu.ma says about
 * a single event counts.
 */
import type { Id } from "../../_generated/dataModel";
import { SyncError } from "../failure";
import type { ComparedEvent, EventDescription, MirroredEvent } from "../validators";
import { MAX_ASKED_FOR, type SingleEvents } from "./singleEvents";
import type { Window } from "./window";

/**
 * What one sync checks: `listed` events that start in the window, and all that are not over and start outside of it,
 * where the list does not reach. Those that are not over come first, the soonest first.
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
  /** Events as lu.ma gives them now: they were moved, or the list was wrong. */
  found: MirroredEvent[];
  /** Of the events that were found. */
  descriptions: EventDescription[];
  gone: Id<"events">[];
  /** Why some could not be checked; absent if none failed. */
  failure?: SyncError;
};

/**
 * An event about which lu.ma says nothing that can be used stays as it is, and so does one that could not be checked.
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
    // After too many failures, nobody can say what the others are; out of time, they wait for the next sync.
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
