import { describe, expect, test } from "vitest";
import type { Doc, Id } from "../../convex/_generated/dataModel";
import { Budget, mergeByEnd, within } from "../../convex/events/views/boundedReads";
import { aStoredEvent } from "../support/builders";

type Event = Doc<"events">;

function anEvent(overAt: number, description = ""): Event {
  const orgId = "1organizations" as Id<"organizations">;
  const event = aStoredEvent(orgId, { startAt: -overAt, overAt, description });
  return { ...event, _id: `${overAt}events` as Id<"events">, _creationTime: 0 };
}

/** Events as a query gives them, one by one: counts what is taken, and whether it was closed. */
function source(ends: number[], description?: string) {
  const seen = { taken: 0, isClosed: false };
  async function* read(): AsyncGenerator<Event> {
    try {
      for (const end of ends) {
        seen.taken += 1;
        yield await Promise.resolve(anEvent(end, description));
      }
    } finally {
      seen.isClosed = true;
    }
  }
  return { events: read(), seen };
}

async function take(events: AsyncIterable<Event>, count = Infinity): Promise<number[]> {
  const ends: number[] = [];
  for await (const event of events) {
    ends.push(event.overAt);
    if (ends.length === count) break;
  }
  return ends;
}

const KB_TEXT = "x".repeat(1_000);

describe("a read within a budget", () => {
  // Each event has a bit more than 1,000 bytes.
  test.for<[string, Budget, number, number[]]>([
    ["takes the last document whole", new Budget(2_000), Infinity, [1, 2]],
    ["of a part of one takes that", new Budget().part(1_000), Infinity, [1]],
    ["of more than there is takes what there is", new Budget(2_000).part(9_000), Infinity, [1, 2]],
    ["that is spent takes nothing", new Budget(0), Infinity, []],
    ["ends with its query", new Budget(), Infinity, [1, 2, 3, 4]],
    ["ends when its reader has enough", new Budget(), 1, [1]],
  ])("%s, and closes its query", async ([, budget, count, expected]) => {
    const { events, seen } = source([1, 2, 3, 4], KB_TEXT);
    expect(await take(within(budget, events), count)).toEqual(expected);
    expect(seen).toEqual({ taken: expected.length, isClosed: expected.length > 0 });
  });

  test("stops when other reads, of a part of it too, have spent it", async () => {
    const budget = new Budget(3_000);
    const [first, second] = [source([1, 3, 5], KB_TEXT), source([2, 4, 6], KB_TEXT)];
    const sources = [within(budget.part(9_000), first.events), within(budget, second.events)];
    // What was read ahead is there all the same.
    expect(await take(mergeByEnd(sources))).toEqual([1, 2, 3]);
    expect([first.seen.taken, second.seen.taken]).toEqual([2, 1]);
    expect(budget.isSpent).toBe(true);
  });

  test("of so many documents at most takes no more, and closes its query", async () => {
    const { events, seen } = source([1, 2, 3, 4]);
    expect(await take(within(new Budget(), events, 2))).toEqual([1, 2]);
    expect(seen).toEqual({ taken: 2, isClosed: true });
  });
});

describe("sources that are merged", () => {
  test("come in order of end, of equal ones the first source's first", async () => {
    const sources = [source([2, 5, 9]), source([]), source([1, 5]), source([3])];
    const merged = mergeByEnd(sources.map(({ events }) => events));
    expect(await take(merged)).toEqual([1, 2, 3, 5, 5, 9]);
  });

  test("that end at the same time come in the order of the sources", async () => {
    const descriptions: unknown[] = [];
    const sources = ["first", "second"].map((description) => source([5], description).events);
    for await (const event of mergeByEnd(sources)) descriptions.push(event.description);
    expect(descriptions).toEqual(["first", "second"]);
  });

  test("are read one ahead and no more", async () => {
    const sources = [source([1, 4, 6]), source([2, 5, 7]), source([3, 8, 9])];
    const merged = mergeByEnd(sources.map(({ events }) => events));
    expect(await take(merged, 2)).toEqual([1, 2]);
    expect(sources.map(({ seen }) => seen.taken)).toEqual([2, 1, 1]);
  });

  test("that are none have no event", async () => {
    expect(await take(mergeByEnd([]))).toEqual([]);
  });
});
