/**
 * Measures how much heap one organization's sync takes by itself: fetching, mapping, comparing, packing, and asking for
 * descriptions. The engine and its tables stay out: the sync is given stored events that are made for it, page by page,
 * and its mutations write nothing.
 */
import { getFunctionName } from "convex/server";
import type { Doc, Id } from "../../convex/_generated/dataModel";
import * as sync from "../../convex/events/sync";
import type { ComparedEvent } from "../../convex/events/validators";
import { aMirroredEvent, aWireEvent } from "../support/builders";
import { settle, useRealTime, useSimulatedTime } from "../support/clock";
import { LumaServer, type WireEvent } from "../support/lumaServer";

/** As many stored events as the module's own query gives at once. */
const STORED_PAGE = 1_000;
const ORG: Doc<"organizations"> = {
  _id: "1organizations" as Id<"organizations">,
  _creationTime: 0,
  name: "Acme",
  lumaApiKey: "stored",
};
const API_KEY = "key-of-acme";
/** A string with one character beyond Latin-1 in it takes twice the room. */
const EMOJI = "🎉";

/** Each text is longer than what is kept of it. */
function long(index: number, length: number): string {
  return `${EMOJI} ${index} `.padEnd(length, "text ");
}

/** Their texts are made whenever they are read: the stand-in for lu.ma holds next to nothing. */
function wireEvents(count: number, descriptionLength: number): WireEvent[] {
  const example = aWireEvent();
  return Array.from({ length: count }, (_, index) => ({
    ...example,
    id: `evt-${index}`,
    get name() {
      return long(index, 2_000);
    },
    get geo_address_json() {
      return { ...(example.geo_address_json as object), full_address: long(index, 2_000) };
    },
    get description() {
      return long(index, descriptionLength);
    },
  }));
}

/**
 * The most bytes above the start. Every event is stored already and every one has changed: nothing more can be held at
 * once. `live` is what was in use, because the garbage collector ran before each sample; `withGarbage` has what V8, which
 * had room, had not collected yet, too.
 */
export async function measureHeap(eventCount: number, descriptionLength: number) {
  const luma = (await LumaServer.start()).stubFetch();
  luma.setCalendar(API_KEY, wireEvents(eventCount, descriptionLength));
  useSimulatedTime();
  try {
    // The first sync's code, once compiled, is not the sync's own need.
    await measureSync(eventCount, false);
    const live = await measureSync(eventCount, true);
    const withGarbage = await measureSync(eventCount, false);
    return { live, withGarbage };
  } finally {
    useRealTime();
    await luma.stop();
  }
}

/** Samples while each page, of lu.ma's and of stored events, and each batch to write is held. */
async function measureSync(
  storedCount: number,
  collectsFirst: boolean,
): Promise<{ peakBytes: number; samples: number }> {
  const collect = globalThis.gc;
  if (collect === undefined) throw new Error("run Node with --expose-gc");
  collect();
  const before = process.memoryUsage().heapUsed;
  let peakBytes = 0;
  let samples = 0;
  const sample = () => {
    if (collectsFirst) collect();
    peakBytes = Math.max(peakBytes, process.memoryUsage().heapUsed - before);
    samples += 1;
  };
  const realFetch = globalThis.fetch;
  globalThis.fetch = async (...request) => {
    const response = await realFetch(...request);
    const body = await response.text();
    sample();
    return new Response(body, response);
  };
  try {
    const ctx = withoutDatabase(storedCount, sample);
    const { _handler } = sync.syncOrgEvents as unknown as {
      _handler: (ctx: object, args: object) => Promise<sync.SyncCounts>;
    };
    const counts = await settle(_handler(ctx, { orgId: ORG._id }));
    if (counts.updated < storedCount) throw new Error("the sync did not compare all events");
  } finally {
    globalThis.fetch = realFetch;
  }
  return { peakBytes, samples };
}

/** Answers the sync's queries and mutations, as JSON that is parsed, the way Convex does. */
function withoutDatabase(storedCount: number, sample: () => void) {
  const answers: Record<string, (args: Record<string, unknown>) => unknown> = {
    "events/queue/worker:beginSync": () => ({ startedAt: Date.now(), calendar: null }),
    "events/queue/worker:endSync": () => null,
    "orgs/queries:getById": () => ORG,
    "events/queries:getApiKey": () => API_KEY,
    "events/queries:getStoredEvents": ({ cursor }) => {
      const from = Number(cursor ?? 0);
      const to = Math.min(from + STORED_PAGE, storedCount);
      const page = storedEvents(from, to);
      return { page, isDone: to === storedCount, continueCursor: String(to) };
    },
    "events/mutations:upsertEvents": ({ events }) => {
      return { inserted: 0, updated: (events as unknown[]).length, unchanged: 0 };
    },
    "events/mutations:updateOrgSyncTimestamp": () => null,
    "events/mutations:describeEvents": ({ descriptions }) => {
      return { described: (descriptions as unknown[]).length };
    },
  };
  const call = (called: Parameters<typeof getFunctionName>[0], args: Record<string, unknown>) => {
    const name = getFunctionName(called);
    const answer = answers[name];
    if (answer === undefined) throw new Error(`nothing answers ${name}`);
    const sent = JSON.parse(JSON.stringify(args)) as Record<string, unknown>;
    const result = JSON.parse(JSON.stringify(answer(sent))) as unknown;
    sample();
    return Promise.resolve(result);
  };
  return { runQuery: call, runMutation: call };
}

function storedEvents(from: number, to: number): ComparedEvent[] {
  return Array.from({ length: to - from }, (_, offset) => {
    const event = aMirroredEvent({ lumaEventId: `evt-${from + offset}` });
    return {
      ...event,
      overAt: event.startAt,
      isDescribed: true,
      _id: `${from + offset}events` as Id<"events">,
    };
  });
}
