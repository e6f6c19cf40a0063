/** What reading an entry of lu.ma's costs, in times JSON.parse of the same text. */
import * as z from "zod/v4";
import type * as Wire from "../../convex/events/luma/wire";
import current from "../answers/current.json";
import older from "../answers/older.json";
import { bounded, nth, type Row } from "./shared";

const MAX_RATIO = 3;
const ROUNDS = 1_000;
const CALLS_PER_ROUND = 100;

export async function benchParsing(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const jitless of [true, false]) {
    const { readEntry } = await loadWire(jitless);
    for (const [format, { body }] of Object.entries({ current, older })) {
      const entry: unknown = nth<unknown>(body.entries, 0);
      const text = JSON.stringify(entry);
      const [parsing, reading] = measure(
        () => JSON.parse(text) as unknown,
        () => readEntry(entry),
      );
      rows.push({
        entry: `${format}, ${text.length} bytes`,
        zod: jitless ? "without eval, as in Convex" : "with eval",
        "µs JSON.parse": parsing.toFixed(1),
        "µs reading": reading.toFixed(1),
        "times JSON.parse": bounded(reading / parsing, MAX_RATIO, 1),
      });
    }
  }
  return rows;
}

/** zod decides when a schema is made whether it compiles it: each way needs a module of its own. */
async function loadWire(jitless: boolean): Promise<typeof Wire> {
  z.config({ jitless });
  const file = `../../convex/events/luma/wire.ts?jitless=${jitless}`;
  return (await import(/* @vite-ignore */ file)) as typeof Wire;
}

/** The best µs of each, in turns: other work on the machine disturbs both alike. */
function measure(...works: (() => unknown)[]): [number, number] {
  const best = works.map(() => Infinity);
  for (let round = 0; round < ROUNDS; round += 1) {
    works.forEach((work, index) => {
      const startedAt = performance.now();
      for (let i = 0; i < CALLS_PER_ROUND; i += 1) work();
      const us = ((performance.now() - startedAt) * 1_000) / CALLS_PER_ROUND;
      best[index] = Math.min(nth(best, index), us);
    });
  }
  return [nth(best, 0), nth(best, 1)];
}
