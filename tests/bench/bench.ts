/**
 * Shows what the mirror costs: one calendar's sync, its heap, full runs, and the public queries over a large table. Every
 * number is measured; each that has a bound is shown with it, and one beyond its bound ends in exit code 1.
 */
import { cpus } from "node:os";
import { measureHeap } from "./benchHeap";
import {
  ALL_ORGS,
  benchQueries,
  LARGE_ORGS,
  LISTED_ONE_IN,
  SMALL_ONE_IN,
  STORED_EVENTS,
} from "./benchQueries";
import { benchRuns, LUMA_ANSWER_MS } from "./benchRuns";
import { bounded, countBrokenBounds, quietly, type Row } from "./benchShared";
import { benchSyncs, DESCRIPTION_LENGTH } from "./benchSyncs";
import { printTable } from "./tables";

const HEAP_EVENTS = 10_000;
const CONVEX_HEAP_BYTES = 64 * 1024 * 1024;

export async function main(): Promise<number> {
  const startedAt = performance.now();
  console.log(`Node ${process.version} on ${cpus().length} × ${cpus()[0]?.model ?? "unknown CPU"}`);

  // First, because simulated time must come before any HTTP.
  print(
    "Full runs, in simulated time",
    `Each calendar is empty: one request, which lu.ma answers after ${LUMA_ANSWER_MS} ms. Convex's own time is not simulated. ` +
      "Finding the organizations is measured by itself, among ten times as many; the run has only those with a " +
      "key, because the test engine searches all at every step.",
    await benchRuns(),
  );
  const syncs = await benchSyncs();
  print(
    "One organization's sync",
    `All events are in the window and have descriptions of ${DESCRIPTION_LENGTH.toLocaleString("en")} characters. Seconds are the test ` +
      "engine's, which searches its tables from end to end, and the stand-in's for lu.ma, without the pauses between pages: " +
      "they say nothing about Convex. The counts do.",
    syncs.map(({ cost }) => cost),
  );
  print(
    "What these syncs send to mutations",
    "The arguments as JSON in UTF-8.",
    syncs.map(({ sent }) => sent),
  );
  print(
    `Heap of fetching, mapping and comparing ${HEAP_EVENTS.toLocaleString("en")} events`,
    "All of them stored already and all changed; above what was in use before. The live heap is what the sync " +
      "needs, and what to hold against Convex's 64 MiB; the rest is garbage that would be collected first.",
    await benchHeap(),
  );
  print(
    `Public queries, with ${STORED_EVENTS.toLocaleString("en")} events in the table`,
    `${ALL_ORGS} organizations; ${LARGE_ORGS} large ones have all but one in ${SMALL_ONE_IN} of the events. Mostly hidden: all but ` +
      `one in ${LISTED_ONE_IN} of the events are unlisted or removed.`,
    await benchQueries(),
  );

  console.log(`\nTook ${Math.round((performance.now() - startedAt) / 1_000)} s.`);
  const brokenBounds = countBrokenBounds();
  if (brokenBounds > 0) console.log(`${brokenBounds} bound(s) BROKEN, see above.`);
  return brokenBounds > 0 ? 1 : 0;
}

function print(title: string, caption: string, rows: Row[]): void {
  console.log(`\n## ${title}\n\n${caption}\n`);
  printTable(rows);
}

async function benchHeap(): Promise<Row[]> {
  const peaks = await quietly(() => measureHeap(HEAP_EVENTS, DESCRIPTION_LENGTH));
  const toMebibytes = (bytes: number) => bytes / 1024 / 1024;
  return [
    {
      peak: "live: collected before each sample",
      MiB: bounded(toMebibytes(peaks.liveBytes), toMebibytes(CONVEX_HEAP_BYTES), 1),
      samples: peaks.samples,
    },
    {
      peak: "with garbage not collected yet",
      MiB: toMebibytes(peaks.withGarbageBytes).toFixed(1),
      samples: peaks.samples,
    },
  ];
}
