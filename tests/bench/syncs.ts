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
const MAX_BYTES_PER_MUTATION = 1024 * 1024;

export async function benchSyncs(): Promise<Row[]> {
  const luma = (await LumaServer.start()).stubFetch();
  useSimulatedTime();
  const rows: Row[] = [];
  for (const size of CALENDAR_SIZES) {
    const engine = startCountedEngine();
    const orgId = await insertOrg(engine.t);
    const now = Date.now();
    const events = wireEvents(size, (index) => ({
      description: `What happens at event ${index}`.padEnd(DESCRIPTION_LENGTH, "."),
      ...(index < EVENTS_TO_COME
        ? {}
        : { start_at: new Date(now - DAY_MS - index * MINUTE_MS).toISOString() }),
    }));
    const renamed = events.map((event, index) =>
      index % 100 === 0 ? { ...event, name: `${event.name}, renamed` } : event,
    );
    const described = EVENTS_TO_COME;
    rows.push(
      await benchSync(engine, luma, { orgId, sync: "first", events, toWrite: size, described }),
      await benchSync(engine, luma, { orgId, sync: "unchanged", events, toWrite: 0 }),
      await benchSync(engine, luma, {
        orgId,
        sync: "1 % changed",
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

async function benchSync(
  { t, counts, reset }: CountedEngine,
  luma: LumaServer,
  given: {
    orgId: Id<"organizations">;
    sync: string;
    events: WireEvent[];
    toWrite: number;
    described?: number;
  },
): Promise<Row> {
  const { orgId, sync, events, toWrite, described = 0 } = given;
  luma.setCalendar("key-of-Acme", events);
  luma.requests.length = 0;
  reset();
  const startedAt = performance.now();
  const result = await hearLog(() =>
    settle(t.action(internal.events.sync.syncOrgEvents, { orgId })),
  );
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
  return {
    events: events.length,
    sync,
    pages: bounded(luma.requestsOf("list").length, Math.ceil(events.length / EVENTS_PER_PAGE)),
    descriptions: bounded(luma.requestsOf("event").length, EVENTS_TO_COME),
    queries: counts.queries,
    mutations: bounded(counts.mutations, mostMutations),
    "documents read": counts.documentsRead,
    "events among them": bounded(counts.eventsRead, mostEventsRead),
    "documents written": bounded(
      counts.documentsWritten,
      toWrite + described + alsoWritten + MAX_WRITTEN_FOR_A_SYNC,
    ),
    "kB in the largest mutation": bounded(
      Math.ceil(counts.largestMutationBytes / 1_000),
      Math.ceil(MAX_BYTES_PER_MUTATION / 1_000),
    ),
    seconds: Number(seconds.toFixed(2)),
  };
}
