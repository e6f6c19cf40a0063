/**
 * Measures what the mirror costs and writes it to RESULTS.md: daily runs, outages, what queries read, and the heap of a
 * large sync. A number with a bound is shown next to it. If one exceeds its bound, the exit code is 1.
 */
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { hearLog } from "../support/log";
import { toTable } from "../support/tables";
import { measureHeap } from "./heap";
import { benchReads } from "./reads";
import { benchOutages, LUMA_ANSWER_MS, measureDailyRun, DAILY_RUNS } from "./runs";
import { bounded, countBrokenBounds, type Row } from "./shared";

const HEAP_EVENTS = 10_000;
const DESCRIPTION_LENGTH = 1_000;
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
  // First, because collecting the others' leftovers would slow this down.
  const heap = await benchHeap();
  const dailyRuns: Row[] = [];
  for (const dailyRun of DAILY_RUNS) dailyRuns.push(await measureDailyRun(dailyRun));
  addTable(
    "Daily runs",
    `A daily run, from 07:00 UTC until its queue is empty, in simulated time. lu.ma takes ${LUMA_ANSWER_MS} ms to answer; Convex's ` +
      "own time is not simulated. Nothing has changed unless the row says so. Pages and single events are requests to lu.ma: a " +
      "single event is fetched for its description or because it is missing from the list. The numbers are the same on every " +
      "run, and the manual quotes them.",
    dailyRuns,
  );
  addTable(
    "Outages",
    "From 07:00, when the daily run begins, lu.ma answers 503 or not at all. Each organization has one upcoming event, and " +
      "nothing has changed. A thousand organizations take more than an hour even without an outage.",
    await benchOutages(),
  );
  addTable(
    "Reads",
    '100 organizations with one event a week each and descriptions of 2,000 characters. "Before" is what the same reads took ' +
      "when each event's document held its description.",
    await benchReads(),
  );
  addTable(
    `Heap of a sync of ${HEAP_EVENTS.toLocaleString("en")} events`,
    "All of them are stored already, all have changed, and each text has an emoji. Measured above what was in use before. " +
      "Compare the live heap to Convex's 64 MiB; the rest is garbage that hasn't been collected yet.",
    heap,
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
    { peak: "live (garbage collected before each sample)", MiB: liveMiB, samples: live.samples },
    { peak: "including garbage", MiB: garbageMiB, samples: live.samples },
  ];
}
