/**
 * Asks lu.ma for the stored events that its list lacks. The list may be wrong for a minute; what lu.ma says of a single
 * event counts.
 */
import type { Id } from "../_generated/dataModel";
import { SyncError } from "./failure";
import type { EventReader } from "./lumaClient";
import type { ComparedEvent, UpsertedEvent } from "./validators";
import type { Window } from "./window";

/** In one sync: a key has 200 requests a minute for all who use it. */
const MAX_CHECKED = 100;

/**
 * What one sync checks: `listed` events that start in the window, and all that are not over and start outside of it,
 * where the list does not reach. First those that are not over, the soonest first.
 */
export function selectLacking(
  lacking: ComparedEvent[],
  { after, before }: Window,
  now: number,
): ComparedEvent[] {
  const isOver = ({ overAt }: ComparedEvent) => overAt <= now;
  return lacking
    .filter((event) => {
      if (event.status === "removed") return false;
      const isInWindow = event.startAt >= after && event.startAt <= before;
      return isInWindow ? event.status === "listed" : !isOver(event);
    })
    .sort((a, b) => Number(isOver(a)) - Number(isOver(b)) || a.startAt - b.startAt)
    .slice(0, MAX_CHECKED);
}

export type Checked = {
  /** Events as lu.ma gives them now: they were moved, or the list was wrong. */
  found: UpsertedEvent[];
  gone: Id<"events">[];
  /** Why the others could not be checked; absent when all were, or when the time was up. */
  failure?: SyncError;
};

/** An event of which lu.ma says nothing that can be used is neither found nor gone. */
export async function checkLacking(
  reader: EventReader,
  lacking: ComparedEvent[],
): Promise<Checked> {
  const checked: Checked = { found: [], gone: [] };
  for (const [index, { _id, lumaEventId }] of lacking.entries()) {
    try {
      await reader.pause();
      const answer = await reader.fetchEvent(lumaEventId, "check");
      if (answer === "gone") checked.gone.push(_id);
      else if (answer !== "nothing") {
        checked.found.push({ ...answer.event, description: answer.description });
      }
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      // The others wait for the next sync.
      if (error.causes.includes("tooSlow")) return checked;
      const left = lacking.length - index;
      const what = `${left} event${left === 1 ? "" : "s"} that lu.ma no longer lists could not be checked`;
      return { ...checked, failure: new SyncError(`${what}: ${error.message}`, "unchecked") };
    }
  }
  return checked;
}
