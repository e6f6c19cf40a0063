/**
 * The demo: the module's own functions on an engine in memory. Without a key, four organizations and a stand-in for
 * lu.ma; with LUMA_API_KEY, that real calendar, to try a key before deploying.
 */
import { addHours, startOfDay } from "date-fns";
import { ConvexError } from "convex/values";
import { api, internal } from "../../convex/_generated/api";
import type { Id } from "../../convex/_generated/dataModel";
import * as sync from "../../convex/events/sync";
import type { ShownEvent, SyncCounts } from "../../convex/events/validators";
import { aWireEvent, DAY_MS, getOrg, HOUR_MS } from "./builders";
import { loadModules, startEngine, withHandler, type Engine } from "./engine";
import { CURRENT_PATH, LumaServer, OLDER_PATH, status, type WireEvent } from "./lumaServer";
import { printTable } from "./tables";

/** The exit code: 0 when everything was as it should be. */
export async function main(): Promise<number> {
  await loadModules();
  return process.env.LUMA_API_KEY?.trim() ? await tryKey() : await showAll();
}

// With a key.

async function tryKey(): Promise<number> {
  const { t, log } = startObservedEngine();
  const orgId = await t.mutation(internal.orgs.mutations.createOrg, { name: "Your calendar" });
  await t.mutation(internal.orgs.mutations.setLumaConfig, {
    orgId,
    lumaApiKey: "env:LUMA_API_KEY",
  });
  say("Fetching your calendar's events, from 30 days ago to 90 days ahead …");
  try {
    const counts = await t.action(internal.events.sync.syncOrgEvents, { orgId });
    printTable([{ organization: "Your calendar", ...ordered(counts) }]);
    if (counts.invalid > 0) say(log.at(-1) ?? "");
  } catch (error) {
    console.error(error instanceof ConvexError ? String(error.data) : String(error));
    return 1;
  }
  const events = await t.run((ctx) =>
    ctx.db
      .query("events")
      .withIndex("by_org_start", (q) => q.eq("orgId", orgId))
      .collect(),
  );
  if (events.length === 0) say("\nThe calendar has no events in that time.");
  else {
    say("\nIts events (visitors see those that are listed):");
    printTable(events.map((event) => ({ ...toRow(event), status: event.status })));
  }
  return 0;
}

// Without a key.

const KEYS = { berlin: "key-of-berlin", chess: "key-of-chess", wrong: "a-mistyped-key" };

async function showAll(): Promise<number> {
  const luma = await LumaServer.start();
  try {
    return await show(luma);
  } finally {
    await luma.stop();
  }
}

async function show(luma: LumaServer): Promise<number> {
  const checks: boolean[] = [];
  const { t, outcomes } = startObservedEngine();
  const orgs = await createOrgs(t);
  const run = async (path: string) => {
    process.env.LUMA_LIST_EVENTS_URL = luma.url(path);
    outcomes.clear();
    const result = await t.action(internal.events.sync.runFullEventSync, {});
    printTable(
      orgs.map(({ orgId, name }) => ({ organization: name, ...toResult(outcomes.get(orgId)) })),
    );
    checks.push(result.synced === 2, result.failed.length === 1, result.isDone);
    for (const { orgId, name, reason } of result.failed) {
      const { eventsSyncError } = await getOrg(t, orgId);
      say(eventsSyncError ?? `${name} has no eventsSyncError.`);
      checks.push(name === "Gym Mitte", eventsSyncError === reason);
    }
    return [...outcomes.values()].filter((outcome): outcome is SyncCounts => outcome !== "failed");
  };
  say(
    "A stand-in for lu.ma on this machine, four organizations, and the module's own full sync.\n",
  );

  say(
    "First run: Berlin Makers has three pages, lu.ma rate-limits Chess Club once (wait 1 s), Gym Mitte's",
  );
  say("key is mistyped, and Book Circle has no key, only a calendar to embed.");
  luma.setCalendar(KEYS.berlin, berlinCalendar());
  luma.setCalendar(KEYS.chess, chessCalendar());
  luma.answerNext(status(429, { message: "slow down" }, { "retry-after": "1" }), KEYS.chess);
  const first = await run(CURRENT_PATH);
  checks.push(hasListed(first, [BERLIN_EVENTS, 5]));
  checks.push(first.every((counts) => counts.inserted === counts.fetched));
  // Three pages; Chess Club's one, asked for twice; and the rejected key's.
  checks.push(luma.requests.length === 6);

  say("\nSecond run: nothing has changed (and lu.ma answers in its older wire format).");
  const second = await run(OLDER_PATH);
  checks.push(hasListed(second, [BERLIN_EVENTS, 5]));
  checks.push(second.every((counts) => counts.unchanged === counts.fetched && !counts.removed));

  say("\nThird run: Chess Club has renamed its next evening and cancelled the one after it.");
  luma.setCalendar(KEYS.chess, chessCalendar(true));
  const third = await run(CURRENT_PATH);
  checks.push(hasListed(third, [BERLIN_EVENTS, 4]));
  checks.push(third.every((counts) => counts.inserted === 0));
  checks.push(third.some((counts) => counts.updated === 1 && counts.removed === 1));

  checks.push(...(await showPages(t, orgs)));
  if (checks.every(Boolean)) return 0;
  console.error("\nThe demo did not show what it should.");
  return 1;
}

function hasListed(synced: SyncCounts[], expected: number[]): boolean {
  return synced.map(({ fetched }) => fetched).join() === expected.join();
}

type Org = { orgId: Id<"organizations">; name: string };

async function createOrgs(t: Engine): Promise<Org[]> {
  const configs = [
    { name: "Berlin Makers", lumaApiKey: KEYS.berlin },
    { name: "Chess Club", lumaApiKey: KEYS.chess },
    { name: "Gym Mitte", lumaApiKey: KEYS.wrong },
    { name: "Book Circle", lumaCalendarUrl: "https://lu.ma/book-circle" },
  ];
  const orgs: Org[] = [];
  for (const { name, ...config } of configs) {
    const orgId = await t.mutation(internal.orgs.mutations.createOrg, { name });
    await t.mutation(internal.orgs.mutations.setLumaConfig, { orgId, ...config });
    orgs.push({ orgId, name });
  }
  return orgs;
}

/**
 * Three pages of 100. From 25 days ago to 87 ahead: none may enter or leave the window while the demo runs, whatever
 * the time of day.
 */
const BERLIN_EVENTS = 225;

function berlinCalendar(): WireEvent[] {
  return Array.from({ length: BERLIN_EVENTS }, (_, index) =>
    event(`evt-berlin-${index}`, `Workshop ${index + 1}`, (index - 50) * 12 * HOUR_MS),
  );
}

function chessCalendar(isChanged = false): WireEvent[] {
  const events = [
    event("evt-chess-1", isChanged ? "Blitz night" : "Chess evening", 2 * DAY_MS),
    event("evt-chess-2", "Chess evening", 9 * DAY_MS),
    event("evt-chess-3", "Online lesson", 4 * DAY_MS, {
      meeting_url: "https://meet.example/secret",
    }),
    event("evt-chess-4", "Board meeting", 5 * DAY_MS, { visibility: "private" }),
    event("evt-chess-5", "Dinner at a member's", 6 * DAY_MS, {
      location_visibility: "guests-only",
    }),
  ];
  return isChanged ? events.filter(({ id }) => id !== "evt-chess-2") : events;
}

// The same for all runs: an event that moved would be an event that changed.
const BASE = addHours(startOfDay(Date.now()), 17).getTime();

function event(
  id: string,
  name: string,
  inMs: number,
  overrides: Partial<WireEvent> = {},
): WireEvent {
  const isOnline = overrides.meeting_url !== undefined;
  return aWireEvent({
    id,
    name,
    start_at: new Date(BASE + inMs).toISOString(),
    end_at: new Date(BASE + inMs + 2 * HOUR_MS).toISOString(),
    ...(isOnline ? { geo_address_json: null } : {}),
    ...overrides,
  });
}

async function showPages(t: Engine, orgs: Org[]): Promise<boolean[]> {
  const [berlin, chess, , books] = orgs;
  if (!berlin || !chess || !books) return [false];
  const now = Date.now();

  say(
    "\nChess Club's page (the private board meeting is not on it, nor is a guests-only address):",
  );
  const page = await t.query(api.events.queries.getOrgEvents, { orgId: chess.orgId, now });
  printTable((page?.upcoming ?? []).map(toRow));

  const embed = await t.query(api.events.queries.getOrgEvents, { orgId: books.orgId, now });
  say(`\nBook Circle's page embeds ${embed?.calendarUrl}.`);

  say("\nThe dashboard of a member of Chess Club: first its events, then some from elsewhere.");
  await t.run((ctx) =>
    ctx.db.insert("orgMemberships", { userId: "user-1", orgId: chess.orgId, role: "member" }),
  );
  const member = t.withIdentity({ subject: "user-1" });
  const dashboard = await member.query(api.events.queries.getDashboardEvents, { now });
  const discovery = dashboard.otherOrgEvents.slice(0, 3);
  printTable(
    [...dashboard.userOrgEvents, ...discovery].map((row) => ({
      organization: row.org.name,
      ...toRow(row),
    })),
  );
  const more = dashboard.otherOrgEvents.length - discovery.length;
  say(`and ${more} more from ${berlin.name}.`);

  const titles = page?.upcoming.map(({ title }) => title) ?? [];
  return [
    titles.join() === "Blitz night,Online lesson,Dinner at a member's",
    embed?.calendarUrl === "https://lu.ma/book-circle",
    dashboard.userOrgEvents.length === 3,
    dashboard.otherOrgEvents.length === 50,
  ];
}

// Both ways.

type Outcome = SyncCounts | "failed";

/** An engine that keeps the module's log to itself, and what each organization's sync came to. */
function startObservedEngine() {
  const outcomes = new Map<string, Outcome>();
  const log: string[] = [];
  const syncOrgEvents = withHandler(sync.syncOrgEvents, (handler) => {
    const syncOrg = handler as (ctx: object, args: { orgId: string }) => Promise<SyncCounts>;
    return (async (ctx: object, args: { orgId: string }) => {
      outcomes.set(args.orgId, "failed");
      const counts = await syncOrg(ctx, args);
      outcomes.set(args.orgId, counts);
      return counts;
    }) as never;
  });
  const t = startEngine({ "events/sync": { ...sync, syncOrgEvents } });
  console.log = (line: string) => {
    if (line.startsWith("lu.ma sync") || line.startsWith("Full lu.ma sync")) log.push(line);
    else say(line);
  };
  return { t, outcomes, log };
}

function ordered({ fetched, inserted, updated, unchanged, removed, invalid }: SyncCounts) {
  return { fetched, inserted, updated, unchanged, removed, invalid };
}

function toResult(outcome: Outcome | undefined): Record<string, string | number> {
  if (outcome === undefined || outcome === "failed") {
    const none = {
      fetched: "",
      inserted: "",
      updated: "",
      unchanged: "",
      removed: "",
      invalid: "",
    };
    return { result: outcome ?? "no key", ...none };
  }
  return { result: "synced", ...ordered(outcome) };
}

function toRow(
  shown: Pick<ShownEvent, "startAt" | "timezone" | "title" | "location" | "isVirtual">,
) {
  const start = new Date(shown.startAt).toLocaleString("en-GB", {
    timeZone: shown.timezone,
    dateStyle: "medium",
    timeStyle: "short",
  });
  const where = [shown.isVirtual ? "online" : "", shown.location ?? ""].filter(Boolean).join(", ");
  return { start: `${start} (${shown.timezone})`, title: shown.title, where };
}

const say = console.log.bind(console);
