/**
 * Reads that stop at a number of documents and at a number of bytes, whichever comes first: a query that reads more
 * than 16 MiB fails, and with it the page that shows it.
 */
import { getDocumentSize } from "convex/values";
import type { Doc } from "../../_generated/dataModel";

type Events = AsyncIterable<Doc<"events">>;

/** What may be read; the last document may exceed the bytes. */
export type Budget = { documents: number; bytes: number };

/** The first events of `events`, as far as the budget goes. */
export async function* within(budget: Budget, events: Events): AsyncGenerator<Doc<"events">> {
  let { documents, bytes } = budget;
  for await (const event of events) {
    yield event;
    documents -= 1;
    bytes -= getDocumentSize(event);
    if (documents <= 0 || bytes <= 0) return;
  }
}

/**
 * The events of several sources, each in order of start, in order of start. Reads one event ahead in each source,
 * and no more.
 */
export async function* mergeByStart(sources: Events[]): AsyncGenerator<Doc<"events">> {
  const readers = sources.map((source) => source[Symbol.asyncIterator]());
  try {
    const heads = await Promise.all(readers.map((reader) => reader.next()));
    for (;;) {
      const first = indexOfFirst(heads);
      const head = heads[first];
      const reader = readers[first];
      if (head === undefined || head.done === true || reader === undefined) return;
      yield head.value;
      heads[first] = await reader.next();
    }
  } finally {
    for (const reader of readers) await reader.return?.();
  }
}

/** Where the event with the earliest start is, of equal ones the first; -1 when all have been read. */
function indexOfFirst(heads: IteratorResult<Doc<"events">, unknown>[]): number {
  let first = -1;
  let earliest = Infinity;
  for (const [index, head] of heads.entries()) {
    if (head.done !== true && head.value.startAt < earliest) {
      first = index;
      earliest = head.value.startAt;
    }
  }
  return first;
}
