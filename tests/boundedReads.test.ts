import { expect, test } from "vitest";
import type { Doc, Id } from "../convex/_generated/dataModel";
import { Budget, mergeByEnd, within } from "../convex/events/boundedReads";
import { aStoredEvent } from "./support/builders";

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

// Each event has a bit more than 1,000 bytes.
test.for<[string, Budget, number, number, number[]]>([
  ["takes the last document whole", new Budget(2_000), Infinity, Infinity, [1, 2]],
  ["takes of a part no more", new Budget().part(1_000), Infinity, Infinity, [1]],
  ["takes of a part what there is", new Budget(2_000).part(9_000), Infinity, Infinity, [1, 2]],
  ["of a spent budget takes nothing", new Budget(0), Infinity, Infinity, []],
  ["reads its query to the end", new Budget(), Infinity, Infinity, [1, 2, 3, 4]],
  ["ends at a number of documents", new Budget(), 2, Infinity, [1, 2]],
  ["ends when its reader has enough", new Budget(), Infinity, 1, [1]],
])("A bounded read %s, and closes its query", async ([, budget, count, wanted, expected]) => {
  const { events, seen } = source([1, 2, 3, 4], KB_TEXT);
  expect(await take(within(budget, events, count), wanted)).toEqual(expected);
  expect(seen).toEqual({ taken: expected.length, isClosed: expected.length > 0 });
});

test("A read stops when other reads, of a part of its budget too, have spent it", async () => {
  const budget = new Budget(3_000);
  const [first, second] = [source([1, 3, 5], KB_TEXT), source([2, 4, 6], KB_TEXT)];
  const sources = [within(budget.part(9_000), first.events), within(budget, second.events)];
  // What was read ahead is there all the same.
  expect(await take(mergeByEnd(sources))).toEqual([1, 2, 3]);
  expect([first.seen.taken, second.seen.taken]).toEqual([2, 1]);
  expect(budget.isSpent).toBe(true);
});

test("Merged events come in order of end and, at one time, of their sources", async () => {
  const sources = [source([2, 5, 9], "a"), source([]), source([1, 5], "b"), source([3], "c")];
  const merged: string[] = [];
  for await (const { overAt, description } of mergeByEnd(sources.map(({ events }) => events))) {
    merged.push(`${overAt}${description}`);
  }
  expect(merged).toEqual(["1b", "2a", "3c", "5a", "5b", "9a"]);
  expect(await take(mergeByEnd([]))).toEqual([]);
});

test("Sources that are merged are read one ahead and no more", async () => {
  const sources = [source([1, 4, 6]), source([2, 5, 7]), source([3, 8, 9])];
  const merged = mergeByEnd(sources.map(({ events }) => events));
  expect(await take(merged, 2)).toEqual([1, 2]);
  expect(sources.map(({ seen }) => seen.taken)).toEqual([2, 1, 1]);
});
