/** Reads that stop in time: a query that reads more than 16 MiB fails, and with it the page that shows it. */
import { getDocumentSize } from "convex/values";
import type { Doc, TableNames } from "../../_generated/dataModel";
import type { QueryCtx } from "../../_generated/server";
import type { OrgId } from "../../orgs/app";

type Events = AsyncIterable<Doc<"events">>;

export const MIB = 1024 * 1024;
/** Below Convex's 16 MiB by one document, which may be 1 MiB, and by 1 MiB more for what the app reads beside. */
const QUERY_BYTES = 14 * MIB;

/** The bytes that may be read, one document after the other; the one that crosses the line is read whole. */
export class Budget {
  constructor(
    private bytes = QUERY_BYTES,
    private readonly whole?: Budget,
  ) {}

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

/** The first documents, as far as the budget goes. */
export async function* within<Document extends Doc<TableNames>>(
  budget: Budget,
  documents: AsyncIterable<Document>,
): AsyncGenerator<Document> {
  if (budget.isSpent) return;
  for await (const document of documents) {
    budget.spend(document);
    yield document;
    if (budget.isSpent) return;
  }
}

/** The first documents, so many at most. Reads none beyond them. */
export async function* atMost<Document>(
  count: number,
  documents: AsyncIterable<Document>,
): AsyncGenerator<Document> {
  let taken = 0;
  for await (const document of documents) {
    yield document;
    taken += 1;
    if (taken === count) return;
  }
}

/** What an organization lists that is not over, in order of end. */
export function queryNotOver(ctx: QueryCtx, orgId: OrgId, now: number) {
  return ctx.db
    .query("events")
    .withIndex("by_org_status_over", (q) =>
      q.eq("orgId", orgId).eq("status", "listed").gt("overAt", now),
    );
}

/**
 * The events of several sources, each in order of end, in order of end. Reads one event ahead in each source, and no
 * more; one source after the other, so that a budget which they share is never exceeded by more than one document.
 */
export async function* mergeByEnd(sources: Events[]): AsyncGenerator<Doc<"events">> {
  const readers = sources.map((source) => source[Symbol.asyncIterator]());
  const heads: IteratorResult<Doc<"events">, unknown>[] = [];
  try {
    for (const reader of readers) heads.push(await reader.next());
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

/** Where the event that is over first is, of equal ones the first; -1 when all have been read. */
function indexOfFirst(heads: IteratorResult<Doc<"events">, unknown>[]): number {
  let first = -1;
  let earliest = Infinity;
  for (const [index, head] of heads.entries()) {
    if (head.done !== true && head.value.overAt < earliest) {
      first = index;
      earliest = head.value.overAt;
    }
  }
  return first;
}
