/**
 * The demo: the module's own functions on an engine in memory. Without a key, four organizations and a stand-in for
 * lu.ma; with LUMA_API_KEY, that real calendar, to try a key before deploying.
 */
import { addHours, startOfDay } from "date-fns";
import { ConvexError } from "convex/values";
import { api, internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import type { FailureData } from "../convex/events/reasons";
import * as sync from "../convex/events/sync";
import type { OrgPageEvent } from "../convex/events/views/shown";
import { NO_COUNTS, pick, syncCounts, type SyncResult } from "../convex/events/validators";
import { aWireEvent, DAY_MS, getOrg, HOUR_MS } from "./support/builders";
import { startEngine, withHandler, type Engine } from "./support/engine";
import { LumaServer, status, type WireEvent } from "./support/lumaServer";
import { toTable } from "./support/tables";

export type Say = (line: string) => void;

/** The exit code: 0 when everything went as it should. */
export async function main(): Promise<number> {
  const say: Say = console.log.bind(console);
  // The module's log is for a deployment's log.
  console.log = () => undefined;
  if (process.env.LUMA_API_KEY?.trim()) return await tryKey(say);
  const luma = await LumaServer.start();
  try {
    await showAll(luma, say);
    return 0;
  } finally {
    await luma.stop();
  }
}

// With a key.

/** Syncs the calendar of LUMA_API_KEY in memory and prints its events. */
export async function tryKey(say: Say): Promise<number> {
  say("LUMA_API_KEY is set: syncing its calendar from 30 days ago to 90 days ahead, in memory.");
  say("(Without it, the demo shows four made-up organizations.)\n");
  const restoreFetch = sayRetries(say);
  const t = startEngine();
  const orgId = await t.mutation(internal.orgs.mutations.createOrg, { name: "Your calendar" });
  const connection = { orgId, lumaApiKey: "env:LUMA_API_KEY" };
  await t.mutation(internal.orgs.mutations.setLumaConfig, connection);
  try {
    const counts = await t.action(internal.events.sync.syncOrgEvents, { orgId });
    say(toTable([toResultRow("Your calendar", counts)]));
  } catch (error) {
    say(error instanceof ConvexError ? (error.data as FailureData).message : String(error));
    return 1;
  } finally {
    restoreFetch();
  }
  const events = await t.run((ctx) =>
    ctx.db
      .query("events")
      .withIndex("by_org_start", (q) => q.eq("orgId", orgId))
      .take(20_000),
  );
  if (events.length === 0) {
    say("\nThe calendar manages no events in that time.");
    return 0;
  }
  say("\nIts events (visitors see those that are listed):");
  say(toTable(events.map((event) => ({ ...toRow(event), status: event.status }))));
  return 0;
}

/** Says on a line, while the module waits, what makes it ask again. Returns how to stop. */
function sayRetries(say: Say): () => void {
  const realFetch = globalThis.fetch;
  // What has happened to the request that is being made, by what it is answered with.
  let url = "";
  let [rateLimited, failed] = [0, 0];
  const sayRetry = (what: string, times: number, wait: string) => {
    if (times < 4) say(`${what}: asking again ${wait} (attempt ${rateLimited + failed} failed).`);
  };
  globalThis.fetch = async (...request) => {
    if (url !== String(request[0])) [url, rateLimited, failed] = [String(request[0]), 0, 0];
    const { host, pathname } = new URL(url);
    const sayFailure = (what: string) =>
      sayRetry(`${host} ${what}`, (failed += 1), `in ${2 ** (failed - 1)} s`);
    try {
      const response = await realFetch(...request);
      // The module reads the body, too: what is wrong with it shows here first.
      const body = await response.clone().text();
      const retryAfter = response.headers.get("retry-after");
      if (response.status === 429 && !pathname.endsWith("/get")) {
        const wait = retryAfter === null ? "in 60 s" : `when lu.ma says so (${retryAfter})`;
        sayRetry(`${host} answered 429, too many requests`, (rateLimited += 1), wait);
      } else if (response.status >= 500) sayFailure(`answered ${response.status}`);
      else if (response.ok && !isJson(body)) sayFailure("answered with a body that is not JSON");
      return response;
    } catch (error) {
      sayFailure("did not answer");
      throw error;
    }
  };
  return () => {
    globalThis.fetch = realFetch;
  };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

// Without a key.

const KEYS = { berlin: "key-of-berlin", chess: "key-of-chess", wrong: "a-mistyped-key" };

/** Three full runs over four organizations, and what their pages and a dashboard then show. Takes less than 30 s. */
export async function showAll(luma: LumaServer, say: Say): Promise<void> {
  process.env.LUMA_LIST_EVENTS_URL = luma.url();
  const { t, outcomes } = startObservedEngine();
  const orgs = await createOrgs(t);
  const said = new Set<string>();
  const sayOnce = (line: string) => {
    if (!said.has(line)) say(line);
    said.add(line);
  };
  const run = async () => {
    outcomes.clear();
    const { failed } = await t.action(internal.events.sync.runFullEventSync, {});
    say(toTable(orgs.map(({ orgId, name }) => toResultRow(name, outcomes.get(orgId)))));
    for (const { orgId } of failed) sayOnce((await getOrg(t, orgId)).eventsSyncError ?? "");
  };
  // The same for all runs: an event that moved would be an event that changed.
  const base = addHours(startOfDay(Date.now()), 17).getTime();
  say("A stand-in for lu.ma on this machine, four organizations, and the module's own full sync.");

  say("\nFirst run: Berlin Makers has three pages, lu.ma rate-limits Chess Club once (wait 1 s),");
  say("Gym Mitte's key is mistyped, and Book Circle has no key, only a calendar to embed.");
  luma.setCalendar(KEYS.berlin, berlinCalendar(base));
  luma.setCalendar(KEYS.chess, chessCalendar(base));
  luma.answerNext(status(429, { message: "slow down" }, { "retry-after": "1" }), {
    key: KEYS.chess,
  });
  await run();

  say("\nSecond run: nothing has changed.");
  await run();

  say("\nThird run: Chess Club has renamed its next evening and cancelled the one after it.");
  luma.setCalendar(KEYS.chess, chessCalendar(base, true));
  await run();

  await showPages(t, orgs, say);
}

type Org = { orgId: Id<"organizations">; name: string };

async function createOrgs(t: Engine): Promise<Org[]> {
  const configs = [
    { name: "Berlin Makers", lumaApiKey: KEYS.berlin },
    { name: "Chess Club", lumaApiKey: KEYS.chess },
    { name: "Gym Mitte", lumaApiKey: KEYS.wrong },
    {
      name: "Book Circle",
      lumaCalendarUrl: "https://lu.ma/embed/calendar/cal-BookCircle/events",
    },
  ];
  const orgs: Org[] = [];
  for (const { name, ...config } of configs) {
    const orgId = await t.mutation(internal.orgs.mutations.createOrg, { name });
    await t.mutation(internal.orgs.mutations.setLumaConfig, { orgId, ...config });
    orgs.push({ orgId, name });
  }
  return orgs;
}

/** Three pages of 100. */
const BERLIN_EVENTS = 225;
/** Few, because each is asked for its description at every run, 300 ms apart. */
const BERLIN_TO_COME = 6;

/** From 25 days ago on: none may enter or leave the window while the demo runs, whatever the time of day. */
function berlinCalendar(base: number): WireEvent[] {
  const past = Array.from({ length: BERLIN_EVENTS - BERLIN_TO_COME - 1 }, (_, index) =>
    event(
      base,
      `evt-berlin-${index}`,
      `Workshop ${index + 1}`,
      -25 * DAY_MS + index * 2.6 * HOUR_MS,
    ),
  );
  const toCome = Array.from({ length: BERLIN_TO_COME }, (_, index) =>
    event(
      base,
      `evt-berlin-next-${index}`,
      `Workshop ${past.length + index + 1}`,
      (index + 1) * DAY_MS,
    ),
  );
  return [...past, ...toCome, openDay(base)];
}

function chessCalendar(base: number, isChanged = false): WireEvent[] {
  const events = [
    event(base, "evt-chess-1", isChanged ? "Blitz night" : "Chess evening", 2 * DAY_MS),
    event(base, "evt-chess-2", "Chess evening", 9 * DAY_MS),
    event(base, "evt-chess-3", "Online lesson", 4 * DAY_MS, {
      meeting_url: "https://meet.example/secret",
    }),
    event(base, "evt-chess-4", "Board meeting", 5 * DAY_MS, { visibility: "private" }),
    event(base, "evt-chess-5", "Dinner at a member's", 6 * DAY_MS, {
      location_visibility: "guests-only",
    }),
    openDay(base),
  ];
  return isChanged ? events.filter(({ id }) => id !== "evt-chess-2") : events;
}

/** Two calendars manage it. */
function openDay(base: number): WireEvent {
  return event(base, "evt-open-day", "Open day of Makers and Chess Club", 8 * DAY_MS);
}

function event(
  base: number,
  id: string,
  name: string,
  inMs: number,
  overrides: Partial<WireEvent> = {},
): WireEvent {
  const isOnline = overrides.meeting_url !== undefined;
  return aWireEvent({
    id,
    name,
    description: `${name}: come as you are.`,
    start_at: new Date(base + inMs).toISOString(),
    end_at: new Date(base + inMs + 2 * HOUR_MS).toISOString(),
    ...(isOnline ? { geo_address_json: null } : {}),
    ...overrides,
  });
}

async function showPages(t: Engine, orgs: Org[], say: Say): Promise<void> {
  const [berlin, chess, , books] = orgs;
  if (!berlin || !chess || !books) throw new Error("an organization is missing");
  const now = Date.now();

  say("\nChess Club's page. The private board meeting is not on it; of the guests-only dinner's");
  say("place, it shows the city.");
  const page = await t.query(api.events.queries.getOrgEvents, { orgId: chess.orgId, now });
  say(
    toTable(
      (page?.upcoming ?? []).map((shown) => ({ ...toRow(shown), about: shown.description ?? "" })),
    ),
  );

  const embed = await t.query(api.events.queries.getOrgEvents, { orgId: books.orgId, now });
  say(`\nBook Circle's page embeds ${embed?.calendarUrl}.`);

  say(
    "\nThe dashboard of a member of Chess Club: its events, then some from elsewhere. The open day,",
  );
  say("which stands on two calendars, is there once.");
  await t.run((ctx) =>
    ctx.db.insert("orgMemberships", { userId: "user-1", orgId: chess.orgId, role: "member" }),
  );
  const member = t.withIdentity({ subject: "user-1" });
  const { userOrgEvents, otherOrgEvents } = await member.query(
    api.events.queries.getDashboardEvents,
    { now },
  );
  say(
    toTable(
      [...userOrgEvents, ...otherOrgEvents].map((row) => ({
        organization: row.org.name,
        ...toRow(row),
      })),
    ),
  );
}

type Outcome = SyncResult | "failed";

/** An engine that keeps what each organization's sync came to. */
function startObservedEngine() {
  const outcomes = new Map<string, Outcome>();
  const syncOrgEvents = withHandler(sync.syncOrgEvents, (handler) => {
    const syncOrg = handler as (ctx: object, args: { orgId: string }) => Promise<SyncResult>;
    return (async (ctx: object, args: { orgId: string }) => {
      outcomes.set(args.orgId, "failed");
      const counts = await syncOrg(ctx, args);
      outcomes.set(args.orgId, counts);
      return counts;
    }) as never;
  });
  return { t: startEngine({ "events/sync": { ...sync, syncOrgEvents } }), outcomes };
}

function toResultRow(
  organization: string,
  outcome: Outcome | undefined,
): Record<string, string | number> {
  if (outcome !== undefined && outcome !== "failed") {
    return { organization, result: "synced", ...pick(syncCounts, outcome) };
  }
  const blanks = Object.keys(NO_COUNTS).map((field) => [field, ""]);
  return { organization, result: outcome ?? "no key", ...Object.fromEntries(blanks) };
}

function toRow(
  shown: Pick<OrgPageEvent, "startAt" | "timezone" | "title" | "location" | "isVirtual">,
) {
  const start = new Date(shown.startAt).toLocaleString("en-GB", {
    timeZone: shown.timezone,
    dateStyle: "medium",
    timeStyle: "short",
  });
  const where = [shown.isVirtual ? "online" : "", shown.location ?? ""].filter(Boolean).join(", ");
  return { start, title: shown.title, where };
}
