import { describe, expect, test } from "vitest";
import type { Doc, Id } from "../../convex/_generated/dataModel";
import { mergeByStart, within } from "../../convex/events/views/boundedReads";
import { aMirroredEvent } from "../support/builders";

type Event = Doc<"events">;

function anEvent(startAt: number, description = ""): Event {
  return {
    ...aMirroredEvent({ startAt }),
    _id: `${startAt}events` as Id<"events">,
    _creationTime: 0,
    orgId: "1organizations" as Id<"organizations">,
    syncedAt: 0,
    description,
  };
}

/** Events as a query gives them, one by one: counts what is taken, and whether it was closed. */
function source(starts: number[], description?: string) {
  const seen = { taken: 0, isClosed: false };
  async function* read(): AsyncGenerator<Event> {
    try {
      for (const start of starts) {
        seen.taken += 1;
        yield await Promise.resolve(anEvent(start, description));
      }
    } finally {
      seen.isClosed = true;
    }
  }
  return { events: read(), seen };
}

async function take(events: AsyncIterable<Event>, count = Infinity): Promise<number[]> {
  const starts: number[] = [];
  for await (const event of events) {
    starts.push(event.startAt);
    if (starts.length === count) break;
  }
  return starts;
}

const PLENTY = { documents: 1_000, bytes: 1_000_000 };

describe("a read within a budget", () => {
  test("takes so many documents and no more, and closes its query", async () => {
    const { events, seen } = source([1, 2, 3, 4]);
    expect(await take(within({ ...PLENTY, documents: 2 }, events))).toEqual([1, 2]);
    expect(seen).toEqual({ taken: 2, isClosed: true });
  });

  test("takes so many bytes, and of the last document what is beyond", async () => {
    const { events, seen } = source([1, 2, 3, 4], "x".repeat(1_000));
    expect(await take(within({ ...PLENTY, bytes: 2_000 }, events))).toEqual([1, 2]);
    expect(seen).toEqual({ taken: 2, isClosed: true });
  });

  test("ends with its query", async () => {
    const { events, seen } = source([1, 2]);
    expect(await take(within(PLENTY, events))).toEqual([1, 2]);
    expect(seen.isClosed).toBe(true);
  });

  test("closes its query when its reader has enough", async () => {
    const { events, seen } = source([1, 2, 3]);
    expect(await take(within(PLENTY, events), 1)).toEqual([1]);
    expect(seen).toEqual({ taken: 1, isClosed: true });
  });
});

describe("sources that are merged", () => {
  test("come in order of start, of equal ones the first source's first", async () => {
    const sources = [source([2, 5, 9]), source([]), source([1, 5]), source([3])];
    const merged = mergeByStart(sources.map(({ events }) => events));
    expect(await take(merged)).toEqual([1, 2, 3, 5, 5, 9]);
    for (const { seen } of sources) expect(seen.isClosed).toBe(true);
  });

  test("that start at the same time come in the order of the sources", async () => {
    const descriptions: unknown[] = [];
    const sources = ["first", "second"].map((description) => source([5], description).events);
    for await (const event of mergeByStart(sources)) descriptions.push(event.description);
    expect(descriptions).toEqual(["first", "second"]);
  });

  test("are read one ahead and no more, and all are closed when the reader has enough", async () => {
    const sources = [source([1, 4, 6]), source([2, 5, 7]), source([3, 8, 9])];
    const merged = mergeByStart(sources.map(({ events }) => events));
    expect(await take(merged, 2)).toEqual([1, 2]);
    expect(sources.map(({ seen }) => seen.taken)).toEqual([2, 1, 1]);
    for (const { seen } of sources) expect(seen.isClosed).toBe(true);
  });

  test("that are none have no event", async () => {
    expect(await take(mergeByStart([]))).toEqual([]);
  });
});
