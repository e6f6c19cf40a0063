/** Which events a sync mirrors, by their start. */
import { milliseconds } from "date-fns";
import { settings } from "../../lumaApp";

const WINDOW_BACK_MS = milliseconds({ days: settings.windowBackDays ?? 30 });
const WINDOW_AHEAD_MS = milliseconds({ days: settings.windowAheadDays ?? 90 });
/** No window begins earlier, however long ago the last successful sync was. */
const MAX_WINDOW_BACK_MS = milliseconds({ days: 365 });

/** A range of starts, ms since 1970, UTC. */
export type Window = { after: number; before: number };

/**
 * From 30 days before the last successful sync began, so that the sync notices what was hidden since, to 90 days ahead.
 *
 * @param lastSynced absent if never. A time in the future counts as now.
 */
export function toWindow(lastSynced: number | undefined, now: number): Window {
  const from = Math.min(lastSynced ?? now, now) - WINDOW_BACK_MS;
  return { after: Math.max(from, now - MAX_WINDOW_BACK_MS), before: toReach(now) };
}

/** The end of the window of a sync that began at `syncedAt` (ms). */
export function toReach(syncedAt: number): number {
  return syncedAt + WINDOW_AHEAD_MS;
}
