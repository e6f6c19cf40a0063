/** The syncs' log lines. Each is one line, below Convex's 4 KiB. */
import { toOneLine } from "./text";
import type { InvalidEntry } from "./lumaClient";
import type { RunProgress, SyncCounts, SyncFailure } from "./validators";

const MAX_LISTED = 20;
/** With 4 bytes for a character at the worst, still below 4 KiB for most texts; Convex cuts the rest. */
const MAX_LINE_UNITS = 3_500;
const MAX_ITEM_UNITS = 150;

export function describeSync(
  org: { _id: string; name: string },
  counts: SyncCounts,
  invalid: InvalidEntry[],
  isOvertaken: boolean,
): string {
  const numbers = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  return toLine(
    `lu.ma sync of "${toOneLine(org.name, MAX_ITEM_UNITS)}" (${org._id}): ${numbers.join(", ")}.`,
    isOvertaken ? "Overtaken: a sync that began later has finished, so nothing was written." : "",
    listSome(
      "Invalid",
      invalid.map((entry) => `${entry.label} (${entry.reason})`),
    ),
  );
}

export function describeSlice(
  progress: RunProgress,
  slice: { synced: number; failed: SyncFailure[]; left: number },
): string {
  return toLine(
    `Full lu.ma sync, slice ${progress.slices}: ${slice.synced} synced, ${slice.failed.length} failed, ` +
      `${slice.left} left.`,
    listSome(
      "Failed",
      slice.failed.map((failure) => `${failure.orgId}: ${failure.reason}`),
    ),
  );
}

export function describeRun(progress: RunProgress, now: number): string {
  const seconds = Math.round((now - progress.startedAt) / 1_000);
  return (
    `Full lu.ma sync done: ${progress.synced} synced, ${progress.failed} failed, ` +
    `in ${progress.slices} slice(s) and ${seconds} s.`
  );
}

function listSome(title: string, items: string[]): string {
  if (items.length === 0) return "";
  const some = items.slice(0, MAX_LISTED).map((item) => toOneLine(item, MAX_ITEM_UNITS));
  const more = items.length - some.length;
  return `${title}: ${some.join("; ")}${more > 0 ? `; and ${more} more` : ""}.`;
}

function toLine(...parts: string[]): string {
  return toOneLine(parts.filter((part) => part !== "").join(" "), MAX_LINE_UNITS);
}
