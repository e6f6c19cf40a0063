/** Writes slowly: a mutation writes 1 MiB at most, and the next one waits as long as that takes at 1 MiB a second. */
import { getConvexSize, getDocumentSize, v, type Infer, type Value } from "convex/values";
import { repeated, sleep } from "./convexCalls";
import { SyncError } from "./failure";

/** A free deployment may write 4 MiB a second, for all of the app: the mirror takes a quarter of it. */
const WRITE_BYTES_PER_SECOND = 1024 * 1024;
/** So that no second sees much more than 2 MiB: a mutation just before it, and one in it. */
export const MAX_WRITE_BYTES = WRITE_BYTES_PER_SECOND;
/** Far inside Convex's limits, and as many as a sync asks for on a page of lu.ma's list. */
const MAX_BATCH_ITEMS = 100;
/** Of a mutation's arguments, which are sent again for what did not fit. */
const MAX_BATCH_BYTES = 256 * 1024;

/** How far a mutation came with the items that it was given, and the size of the documents that it wrote. */
export const written = v.object({ done: v.number(), bytes: v.number() });
type Written = Infer<typeof written>;

/** What one mutation of a sync may write: 1 MiB of whole documents, one document at least. */
export class WriteBudget {
  bytes = 0;
  private readonly maxBytes: number;

  /** Without a sync, nothing bounds it. */
  constructor(syncNumber: number | undefined) {
    this.maxBytes = syncNumber === undefined ? Infinity : MAX_WRITE_BYTES;
  }

  /** Whether a document may still be written. If so, counts it as it was or as it will be, whichever is larger. */
  spend(...states: Parameters<typeof getDocumentSize>[0][]): boolean {
    const bytes = Math.max(...states.map((state) => getDocumentSize(state)));
    if (this.bytes > 0 && this.bytes + bytes > this.maxBytes) return false;
    this.bytes += bytes;
    return true;
  }
}

/**
 * Writes items mutation by mutation.
 *
 * @param until when to give up, ms since 1970.
 * @returns what the mutations returned.
 */
export async function writeSlowly<Item, Result extends { written: Written }>(
  items: Item[],
  until: number,
  write: (batch: Item[]) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  for (let from = 0; from < items.length;) {
    if (Date.now() >= until) {
      throw new SyncError("7 minutes 30 after it began, it had events left to write", "convex");
    }
    const batch = takeBatch(items, from);
    const result = await repeated(() => write(batch));
    results.push(result);
    from += result.written.done;
    await sleep(Math.ceil((result.written.bytes / WRITE_BYTES_PER_SECOND) * 1_000));
  }
  return results;
}

function takeBatch<Item>(items: Item[], from: number): Item[] {
  let bytes = 0;
  const rest = items.slice(from, from + MAX_BATCH_ITEMS);
  const end = rest.findIndex((item, index) => {
    bytes += getConvexSize(item as Value);
    return index > 0 && bytes > MAX_BATCH_BYTES;
  });
  return end === -1 ? rest : rest.slice(0, end);
}
