/** Reads that stop in time: a query that reads more than 16 MiB fails, and with it the page that shows it. */
import { getDocumentSize } from "convex/values";
import type { Doc, TableNames } from "../_generated/dataModel";
import type { QueryCtx } from "../_generated/server";

type Event = Doc<"events">;

export const MIB = 1024 * 1024;
/** Convex's 16 MiB, less 1 MiB for the last document, and 1 MiB for what else the app reads. */
const QUERY_BYTES = 14 * MIB;

/** How many bytes a query may still read. The document that crosses the line is read whole. */
export class Budget {
  private bytes: number;
  private readonly whole: Budget | undefined;

  constructor(bytes = QUERY_BYTES, whole?: Budget) {
    this.bytes = bytes;
    this.whole = whole;
  }

  get isSpent(): boolean {
    return this.bytes <= 0 || this.whole?.isSpent === true;
  }

  /** At most so many of the bytes; what is spent of the part is spent of the whole. */
  part(bytes: number): Budget {
    return new Budget(bytes, this);
  }

  spend(document: Doc<TableNames>): void {
    this.bytes -= getDocumentSize(document);
    this.whole?.spend(document);
  }
}

/** The first documents, `count` at most, as far as the budget goes. Reads none beyond them. */
export async function* within<Document extends Doc<TableNames>>(
  budget: Budget,
  documents: AsyncIterable<Document>,
  count = Infinity,
): AsyncGenerator<Document> {
  if (budget.isSpent) return;
  let left = count;
  for await (const document of documents) {
    budget.spend(document);
    yield document;
    left -= 1;
    if (left === 0 || budget.isSpent) return;
  }
}

/** An organization's `listed` events that are not over, in order of end. */
export function queryNotOver(ctx: QueryCtx, orgId: Event["orgId"], now: number) {
  return ctx.db
    .query("events")
    .withIndex("by_org_status_over", (q) =>
      q.eq("orgId", orgId).eq("status", "listed").gt("overAt", now),
    );
}

/**
 * Merges the events of several sources, each in order of end. Reads only one event ahead in each source, one source
 * after the other, so that they exceed a budget which they share by one document at most.
 */
export async function* mergeByEnd(sources: AsyncIterable<Event>[]): AsyncGenerator<Event> {
  const heads: { event: Event; reader: AsyncIterator<Event> }[] = [];
  for (const source of sources) {
    const reader = source[Symbol.asyncIterator]();
    const { done, value } = await reader.next();
    if (!done) heads.push({ event: value, reader });
  }
  for (;;) {
    const [head] = heads.sort((a, b) => a.event.overAt - b.event.overAt);
    if (head === undefined) return;
    yield head.event;
    const { done, value } = await head.reader.next();
    if (done) heads.shift();
    else head.event = value;
  }
}
