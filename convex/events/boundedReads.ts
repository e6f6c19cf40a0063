/**
 * Reads for the public queries that stop at a number of documents and at a number of bytes, whichever comes
 * first: a query that reads more than 16 MiB fails, and with it the page that shows it.
 */
import { getDocumentSize } from "convex/values";
import type { Doc } from "../_generated/dataModel";

/** What a reader may still read. */
export type Budget = { documents: number; bytes: number };

/** Reads until the budget is spent or `isEnough` says so; the last document may exceed the bytes. */
export async function readWithin(
  events: AsyncIterable<Doc<"events">>,
  budget: Budget,
  onEvent: (event: Doc<"events">) => Promise<void> | void,
  isEnough: () => boolean = () => false,
): Promise<void> {
  if (isSpent(budget)) return;
  for await (const event of events) {
    spend(budget, event);
    await onEvent(event);
    if (isSpent(budget) || isEnough()) return;
  }
}

/**
 * The events that start first among several sources, each in order of start. Reads one event ahead in each
 * source, and no more.
 */
export async function mergeByStart(
  sources: AsyncIterable<Doc<"events">>[],
  budget: Budget,
): Promise<Doc<"events">[]> {
  const readers = sources.map((source) => source[Symbol.asyncIterator]());
  const heads: (Doc<"events"> | undefined)[] = [];
  for (const reader of readers) heads.push(await readNext(reader));
  const merged: Doc<"events">[] = [];
  while (!isSpent(budget)) {
    const first = indexOfFirst(heads);
    const event = heads[first];
    const reader = readers[first];
    if (event === undefined || reader === undefined) break;
    spend(budget, event);
    merged.push(event);
    if (!isSpent(budget)) heads[first] = await readNext(reader);
  }
  for (const reader of readers) await reader.return?.();
  return merged;
}

async function readNext(reader: AsyncIterator<Doc<"events">>): Promise<Doc<"events"> | undefined> {
  const next = await reader.next();
  return next.done === true ? undefined : next.value;
}

/** Where the event with the earliest start is; of equal ones the first. */
function indexOfFirst(heads: (Doc<"events"> | undefined)[]): number {
  let first = -1;
  let earliest = Infinity;
  for (const [index, event] of heads.entries()) {
    if (event !== undefined && (first === -1 || event.startAt < earliest)) {
      first = index;
      earliest = event.startAt;
    }
  }
  return first;
}

function spend(budget: Budget, event: Doc<"events">): void {
  budget.documents -= 1;
  budget.bytes -= getDocumentSize(event);
}

function isSpent(budget: Budget): boolean {
  return budget.documents <= 0 || budget.bytes <= 0;
}
