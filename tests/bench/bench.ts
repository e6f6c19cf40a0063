/**
 * Shows what the mirror costs, and writes it down in RESULTS.md: mornings, outages, one calendar's sync, its heap, the
 * public queries over a large table, and reading what lu.ma lists. Every number is measured; each that has a bound is shown with it, and one beyond
 * its bound ends in exit code 1.
 */
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { hearLog } from "../support/log";
import { toTable } from "../support/tables";
import { measureHeap } from "./heap";
import { benchParsing } from "./parse";
import {
  ALL_ORGS,
  benchQueries,
  LARGE_ORGS,
  LISTED_ONE_IN,
  SMALL_ONE_IN,
  STORED_EVENTS,
} from "./queries";
import { benchReads } from "./reads";
import { benchOutages, LUMA_ANSWER_MS, measureMorning, MORNINGS } from "./runs";
import { bounded, countBrokenBounds, type Row } from "./shared";
import { benchSyncs, DESCRIPTION_LENGTH } from "./syncs";

const HEAP_EVENTS = 10_000;
const MIB = 1024 * 1024;
const CONVEX_HEAP_BYTES = 64 * MIB;
const RESULTS = new URL("RESULTS.md", import.meta.url);

export async function main(): Promise<number> {
  const startedAt = performance.now();
  const results: string[] = [];
  const add = (text: string) => {
    console.log(text);
    results.push(text);
  };
  const addTable = (title: string, caption: string, rows: Row[]) =>
    add(`\n## ${title}\n\n${caption}\n\n${toTable(rows)}`);

  add(
    `# What the mirror costs\n\nWritten by \`npm run bench\` with Node ${process.version} on ` +
      `${cpus().length} × ${cpus()[0]?.model ?? "unknown CPU"}.`,
  );
  // First: what the others leave in memory makes each collection slow.
  const heap = await benchHeap();
  const mornings: Row[] = [];
  for (const morning of MORNINGS) mornings.push(await measureMorning(morning));
  addTable(
    "Mornings",
    `A morning's run, from 07:00 UTC until its queue is empty, in simulated time: lu.ma answers after ${LUMA_ANSWER_MS} ms, and ` +
      "Convex's own time is not simulated. Nothing has changed, unless the row says so. Pages and single events (for their " +
      "descriptions, or because they are missing from the list) are requests to lu.ma. These numbers come out the same every time; the manual has them.",
    mornings,
  );
  addTable(
    "Outages",
    "lu.ma answers 503, or nothing at all, from 07:00 on, when the morning's run begins; one event to come each, nothing has " +
      "changed. A thousand organizations take more than an hour even without an outage.",
    await benchOutages(),
  );
  addTable(
    "Reads",
    "100 organizations with one evening a week each; descriptions have 2,000 characters. Before: what the same reads took " +
      "when each event's document held its description.",
    await benchReads(),
  );
  addTable(
    "One organization's sync",
    `100 events are to come, the others have ended; descriptions have ${DESCRIPTION_LENGTH.toLocaleString("en")} characters. Seconds are the test ` +
      "engine's, which searches its tables from end to end, and the stand-in's for lu.ma, without pauses: they say nothing " +
      "about Convex. The counts do. A mutation's arguments are measured as JSON in UTF-8.",
    await benchSyncs(),
  );
  addTable(
    `Heap of a sync of ${HEAP_EVENTS.toLocaleString("en")} events`,
    "All of them stored already and all changed, with an emoji in each text; above what was in use before. The live heap " +
      "is what the sync needs, and what to hold against Convex's 64 MiB; the rest is garbage that would be collected first.",
    heap,
  );
  addTable(
    `Public queries, with ${STORED_EVENTS.toLocaleString("en")} events in the table`,
    `${ALL_ORGS} organizations; ${LARGE_ORGS} large ones have all but one in ${SMALL_ONE_IN} of the events. Mostly hidden: all but ` +
      `one in ${LISTED_ONE_IN} of the events are unlisted or removed.`,
    await benchQueries(),
  );
  addTable(
    "Reading an entry of lu.ma's list",
    "The best of many rounds; the ratio to JSON.parse of the same text is what counts.",
    await benchParsing(),
  );
  writeFileSync(RESULTS, `${results.join("\n")}\n`);

  console.log(`\nTook ${Math.round((performance.now() - startedAt) / 1_000)} s.`);
  const brokenBounds = countBrokenBounds();
  if (brokenBounds > 0) console.log(`${brokenBounds} bound(s) BROKEN, see above.`);
  return brokenBounds > 0 ? 1 : 0;
}

async function benchHeap(): Promise<Row[]> {
  const { live, withGarbage } = await hearLog(() => measureHeap(HEAP_EVENTS, DESCRIPTION_LENGTH));
  const liveMiB = bounded(live.peakBytes / MIB, CONVEX_HEAP_BYTES / MIB, 1);
  const garbageMiB = (withGarbage.peakBytes / MIB).toFixed(1);
  return [
    { peak: "live: collected before each sample", MiB: liveMiB, samples: live.samples },
    { peak: "with garbage not collected yet", MiB: garbageMiB, samples: live.samples },
  ];
}
