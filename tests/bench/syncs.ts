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
const MAX_EVENTS_PER_MUTATION = 50;
const MAX_DESCRIPTIONS_PER_MUTATION = 10;
/** Beside the events: its start and its end, both in the queue, too, and its stamp. */
const MAX_WRITTEN_FOR_A_SYNC = 5;
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
  // What is written is looked up again, in the transaction that writes it; so is what is described.
  const mostEventsRead = (sync === "first" ? 0 : events.length + toWrite) + EVENTS_TO_COME;
  // Three more than the writes need begin the sync, stamp the organization, and end the sync.
  const mostMutations =
    Math.ceil(toWrite / MAX_EVENTS_PER_MUTATION) +
    EVENTS_TO_COME / MAX_DESCRIPTIONS_PER_MUTATION +
    3;
  // The first sync also moves the key, and writes down whose it is. A new description also marks its event.
  const alsoWritten = sync === "first" ? 3 : 0;
  const mostWritten = toWrite + 2 * described + alsoWritten + MAX_WRITTEN_FOR_A_SYNC;
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
