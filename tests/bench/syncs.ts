/** What one organization's sync costs: the first, an unchanged one, and one with 1 % changed. */
import { internal } from "../../convex/_generated/api";
import type { Id } from "../../convex/_generated/dataModel";
import { bounded, type Row } from "./shared";
import { DAY_MS, insertOrg, wireEvents } from "../support/builders";
import { settle, useRealTime, useSimulatedTime } from "../support/clock";
import { startCountedEngine, type CountedEngine } from "../support/counting";
import { hearLog } from "../support/log";
import { LumaServer, type WireEvent } from "../support/lumaServer";

const MINUTE_MS = 60_000;
const CALENDAR_SIZES = [100, 1_000, 5_000];
/** The others have ended, so that the first sync asks for all descriptions that there are to ask for. */
const EVENTS_TO_COME = 100;
export const DESCRIPTION_LENGTH = 1_000;
const EVENTS_PER_PAGE = 100;
const MAX_EVENTS_PER_MUTATION = 100;
/** Beside the events: its start and its stamp, of the organization, of its syncs and of the queue. */
const MAX_WRITTEN_FOR_A_SYNC = 4;
/** 1 MiB. */
const MAX_KB_PER_MUTATION = 1_049;

export async function benchSyncs(): Promise<Row[]> {
  const luma = (await LumaServer.start()).stubFetch();
  useSimulatedTime();
  const rows: Row[] = [];
  for (const size of CALENDAR_SIZES) {
    const engine = startCountedEngine();
    const orgId = await insertOrg(engine.t);
    const now = Date.now();
    const events = wireEvents(size, (index) => {
      const description = `What happens at event ${index}`.padEnd(DESCRIPTION_LENGTH, ".");
      if (index < EVENTS_TO_COME) return { description };
      return { description, start_at: new Date(now - DAY_MS - index * MINUTE_MS).toISOString() };
    });
    const renamed = events.map((event, index) =>
      index % 100 === 0 ? { ...event, name: `${event.name}, renamed` } : event,
    );
    const all = { orgId, events, toWrite: size, described: EVENTS_TO_COME };
    const none = { orgId, events, toWrite: 0, described: 0 };
    rows.push(
      await benchSync(engine, luma, "first", all),
      await benchSync(engine, luma, "unchanged", none),
      await benchSync(engine, luma, "1 % changed", {
        ...none,
        events: renamed,
        toWrite: size / 100,
      }),
    );
    engine.stop();
  }
  useRealTime();
  await luma.stop();
  return rows;
}

type Given = {
  orgId: Id<"organizations">;
  events: WireEvent[];
  toWrite: number;
  described: number;
};

async function benchSync(
  { t, counts, reset }: CountedEngine,
  luma: LumaServer,
  sync: string,
  { orgId, events, toWrite, described }: Given,
): Promise<Row> {
  luma.setCalendar("key-of-Acme", events);
  luma.requests.length = 0;
  reset();
  const startedAt = performance.now();
  const { syncOrgEvents } = internal.events.sync;
  const result = await hearLog(() => settle(t.action(syncOrgEvents, { orgId })));
  const seconds = (performance.now() - startedAt) / 1_000;
  const written = result.inserted + result.updated;
  if (result.fetched !== events.length || written !== toWrite || result.described !== described) {
    throw new Error(`the ${sync} sync did something else: ${JSON.stringify(result)}`);
  }
  // What is written is looked up again, in the transaction that writes it.
  const mostEventsRead = (sync === "first" ? 0 : events.length + toWrite) + described;
  // The first sync also notes whose key it is, in the document of its organization's syncs, which it creates.
  const [noted, alsoWritten] = sync === "first" ? [1, 2] : [0, 0];
  // Two more than the writes need begin the sync and stamp the organization.
  const mostMutations =
    Math.ceil(toWrite / MAX_EVENTS_PER_MUTATION) + Math.sign(described) + noted + 2;
  const mostWritten = toWrite + described + alsoWritten + MAX_WRITTEN_FOR_A_SYNC;
  const largestKb = Math.ceil(counts.largestMutationBytes / 1_000);
  return {
    events: events.length,
    sync,
    pages: bounded(luma.requestsOf("list").length, Math.ceil(events.length / EVENTS_PER_PAGE)),
    descriptions: bounded(luma.requestsOf("event").length, EVENTS_TO_COME),
    queries: counts.queries,
    mutations: bounded(counts.mutations, mostMutations),
    "documents read": counts.documentsRead,
    "events among them": bounded(counts.eventsRead, mostEventsRead),
    "documents written": bounded(counts.documentsWritten, mostWritten),
    "kB in the largest mutation": bounded(largestKb, MAX_KB_PER_MUTATION),
    seconds: Number(seconds.toFixed(2)),
  };
}
