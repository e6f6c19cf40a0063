/** What the benchmark's parts share: bounds, durations, and filling tables. */
import type { WithoutSystemFields } from "convex/server";
import type { Doc, Id, TableNames } from "../../convex/_generated/dataModel";
import type { Engine } from "../support/engine";

export type Row = Record<string, string | number>;

/** The engine allows 16,000 documents and 16 MiB in a transaction. */
const INSERTS_PER_TRANSACTION = 5_000;

let brokenBounds = 0;

/** A number next to its bound. */
export function bounded(measured: number, bound: number, fractionDigits = 0): string {
  const isBroken = measured > bound;
  if (isBroken) brokenBounds += 1;
  const format = (value: number) =>
    value.toLocaleString("en", { maximumFractionDigits: fractionDigits });
  return `${format(measured)} (≤ ${format(bound)})${isBroken ? " BROKEN" : ""}`;
}

/** How many numbers were beyond their bounds. */
export function countBrokenBounds(): number {
  return brokenBounds;
}

/** In transactions that stay within the engine's limits. */
export async function insertMany<Table extends TableNames>(
  t: Engine,
  table: Table,
  count: number,
  toDocument: (index: number) => WithoutSystemFields<Doc<Table>>,
): Promise<Id<Table>[]> {
  const ids: Id<Table>[] = [];
  while (ids.length < count) {
    await t.run(async (ctx) => {
      const end = Math.min(ids.length + INSERTS_PER_TRANSACTION, count);
      while (ids.length < end) ids.push(await ctx.db.insert(table, toDocument(ids.length)));
    });
  }
  return ids;
}

export function nth<Item>(items: readonly Item[], index: number): Item {
  const item = items[index];
  if (item === undefined) throw new Error(`there is no item ${index} among ${items.length}`);
  return item;
}

export function toDuration(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
