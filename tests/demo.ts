/**
 * The demo: runs the module's own functions in memory. Without a key, it shows four made-up organizations and a mock of
 * lu.ma. With LUMA_API_KEY, it syncs that calendar, so you can try a key before you deploy.
 */
import { ConvexError } from "convex/values";
import { api, internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import type { SyncFailure } from "../convex/events/failure";
import * as sync from "../convex/events/sync";
import type { OrgPageEvent } from "../convex/events/views/shapes";
import { aWireEvent, DAY_MS, HOUR_MS, insertOrg } from "./support/builders";
import { passTime, useRealTime, useSimulatedTime } from "./support/clock";
import { startEngine, withHandler, type Engine } from "./support/engine";
import { hearLog } from "./support/log";
import { LumaServer, status, type WireEvent } from "./support/lumaServer";
import { toTable } from "./support/tables";
import { toCall } from "./support/webhook";

export type Say = (line: string) => void;

/** @returns the exit code: 0 if everything went well. */
export async function main(): Promise<number> {
  const say: Say = console.log.bind(console);
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
  const t = startEngine();
  // Not with setLumaConfig, which would make the queue sync it as well.
  const orgId = await insertOrg(t, { name: "Your calendar", lumaApiKey: "env:LUMA_API_KEY" });
  try {
    // Prints what a deployment would log: each wait, and the result of the sync.
    await hearLog(() => t.action(internal.events.sync.syncOrgEvents, { orgId }), say);
  } catch (error) {
    say(error instanceof ConvexError ? (error.data as SyncFailure).message : String(error));
    return 1;
  }
  const events = await t.run((ctx) =>
    ctx.db
      .query("events")
      .withIndex("by_org_start", (q) => q.eq("orgId", orgId))
      .take(20_000),
  );
  if (events.length === 0) {
    say("\nThe calendar manages no events in that period.");
    return 0;
  }
  say("\nIts events (visitors see the listed ones):");
  say(toTable(events.map((event) => ({ ...toRow(event), status: event.status }))));
  return 0;
}

// Without a key.

const KEYS = { berlin: "key-of-berlin", chess: "key-of-chess", wrong: "a-mistyped-key" };

const SECRET = "whsec_of_chess";

/** Two days of four organizations, in simulated time: what each sync does, and what pages and a dashboard show. */
export async function showAll(luma: LumaServer, say: Say): Promise<void> {
  process.env.LUMA_LIST_EVENTS_URL = luma.url();
  const midnight = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  useSimulatedTime(midnight + 6 * HOUR_MS);
  // Only the waits: the tables show what each sync did.
  const hear: Say = (line) => (line.startsWith("lu.ma: ") ? say(line) : undefined);
  try {
    await hearLog(() => show(luma, say, midnight), hear);
  } finally {
    useRealTime();
  }
}

async function show(luma: LumaServer, say: Say, midnight: number): Promise<void> {
  const { t, outcomes } = startObservedEngine();
  const base = midnight + 17 * HOUR_MS;
  const letTimePass = (minutes: number) => passTime(minutes * 60_000, luma.activity);
  const waitUntil = (hour: number) =>
    letTimePass((midnight + hour * HOUR_MS - Date.now()) / 60_000);
  say(
    "Two days of four organizations in two seconds. LUMA_LIST_EVENTS_URL points to a mock of lu.ma.",
  );

  say(
    "\n06:00: The organizations are connected and synced right away. lu.ma rate limits Chess Club,",
  );
  say(
    "Berlin Makers has three pages of events, Gym Mitte's key is mistyped, and Book Circle has no",
  );
  say("key, just a page to embed.");
  luma.setCalendar(KEYS.berlin, berlinCalendar(base));
  luma.setCalendar(KEYS.chess, chessCalendar(base));
  luma.describeCalendar(KEYS.berlin, { name: "Makers" });
  luma.describeCalendar(KEYS.chess, { name: "Chess" });
  const slowDown = status(429, { message: "slow down" }, { "retry-after": "1" });
  luma.answerNext(slowDown, { key: KEYS.chess });
  const orgs = await createOrgs(t);
  const [chess] = orgs;
  if (chess === undefined) throw new Error("there is no Chess Club");
  const showSyncs = async () => {
    await letTimePass(1);
    const rows = orgs.map(async ({ orgId, name }) => toResultRow(name, await outcomes.get(orgId)));
    say(toTable(await Promise.all(rows)));
    outcomes.clear();
  };
  await showSyncs();

  await waitUntil(7);
  say("\n07:00: The daily run. Nothing has changed.");
  await t.mutation(internal.events.sync.runFullEventSync, {});
  await showSyncs();

  await waitUntil(9);
  say("\n09:00: Chess Club cancels its tournament, and lu.ma calls the webhook.");
  luma.dropEvent(TOURNAMENT);
  const body = JSON.stringify({ type: "event.canceled", data: { id: TOURNAMENT } });
  const { status: code } = await t.fetch(`/luma/${chess.orgId}`, toCall(body, SECRET));
  const isOnPage = async () => {
    const page = await t.query(api.events.queries.getOrgEvents, { orgId: chess.orgId, now: base });
    return page?.upcoming.some(({ title }) => title === "Tournament") ? "Yes" : "No";
  };
  const before = await isOnPage();
  await letTimePass(1);
  say(`The webhook answers ${code}. Is the tournament still on the page? ${before}.`);
  say(`A minute later? ${await isOnPage()}.`);
  outcomes.clear();

  await waitUntil(24 + 7);
  say(
    "\n07:00 the next day: Chess Club has renamed its next event and deleted the one after that.",
  );
  say("For Berlin Makers, a proxy answers instead of lu.ma.");
  luma.setCalendar(KEYS.chess, chessCalendar(base, "Blitz night"));
  for (const id of [TOURNAMENT, "evt-chess-2"]) luma.dropEvent(id);
  luma.answerNext(status(403, "<h1>Blocked</h1>"), { key: KEYS.berlin });
  await t.mutation(internal.events.sync.runFullEventSync, {});
  await showSyncs();

  await showStatus(t, say);
  await showPages(t, orgs, say);
}

async function showStatus(t: Engine, say: Say): Promise<void> {
  say("\nThe status, from orgs/queries:getSyncStatus:");
  const { page } = await t.query(internal.orgs.queries.getSyncStatus, {});
  const rows = page.map(({ name, calendar, lastSyncedAt, nextSyncAt, liveUpdates, error }) => ({
    organization: name,
    calendar: calendar?.name ?? "unknown",
    "last synced": lastSyncedAt ?? "never",
    "next sync": nextSyncAt ?? "next daily run",
    "live updates": liveUpdates,
    error: error ?? "",
  }));
  say(toTable(rows));
  for (const { error } of page) if (error !== null) say(error);
}

type Org = { orgId: Id<"organizations">; name: string };

async function createOrgs(t: Engine): Promise<Org[]> {
  const embed = "https://lu.ma/embed/calendar/cal-BookCircle/events";
  const configs = [
    // First, because it's always synced, and a table has the columns of its first row.
    { name: "Chess Club", lumaApiKey: KEYS.chess, lumaWebhookSecret: SECRET },
    { name: "Berlin Makers", lumaApiKey: KEYS.berlin },
    { name: "Gym Mitte", lumaApiKey: KEYS.wrong },
    { name: "Book Circle", lumaCalendarUrl: embed },
  ];
  const orgs: Org[] = [];
  for (const { name, ...config } of configs) {
    const orgId = await t.mutation(internal.organizations.create, { name });
    await t.mutation(internal.orgs.mutations.setLumaConfig, { orgId, ...config });
    orgs.push({ orgId, name });
  }
  return orgs;
}

/** Three pages of 100. */
const BERLIN_EVENTS = 225;
const BERLIN_UPCOMING = 6;

/** Starts 25 days ago, so that no event enters or leaves the window while the demo runs. */
function berlinCalendar(base: number): WireEvent[] {
  const workshops = Array.from({ length: BERLIN_EVENTS - 1 }, (_, index) => {
    const left = BERLIN_EVENTS - 1 - index;
    const isPast = left > BERLIN_UPCOMING;
    const inMs = isPast
      ? -25 * DAY_MS + index * 2.6 * HOUR_MS
      : (BERLIN_UPCOMING + 1 - left) * DAY_MS;
    return event(base, `evt-berlin-${index}`, `Workshop ${index + 1}`, inMs);
  });
  return [...workshops, openDay(base)];
}

const TOURNAMENT = "evt-chess-6";

function chessCalendar(base: number, nextEvening = "Chess evening"): WireEvent[] {
  const online = { meeting_url: "https://meet.example/secret", geo_address_json: null };
  const [hidden, atHome] = [{ visibility: "private" }, { location_visibility: "guests-only" }];
  return [
    event(base, "evt-chess-1", nextEvening, 2 * DAY_MS),
    event(base, "evt-chess-2", "Chess evening", 9 * DAY_MS),
    event(base, "evt-chess-3", "Online lesson", 4 * DAY_MS, online),
    event(base, "evt-chess-4", "Board meeting", 5 * DAY_MS, hidden),
    event(base, "evt-chess-5", "Dinner at a member's", 6 * DAY_MS, atHome),
    event(base, TOURNAMENT, "Tournament", 3 * DAY_MS),
    openDay(base),
  ];
}

/** Is on two calendars. */
function openDay(base: number): WireEvent {
  return event(base, "evt-open-day", "Open day of Makers and Chess Club", 8 * DAY_MS);
}

function event(base: number, id: string, name: string, inMs: number, fields = {}): WireEvent {
  return aWireEvent({
    id,
    name,
    description: `${name}: come as you are.`,
    start_at: new Date(base + inMs).toISOString(),
    end_at: new Date(base + inMs + 2 * HOUR_MS).toISOString(),
    ...fields,
  });
}

async function showPages(t: Engine, orgs: Org[], say: Say): Promise<void> {
  const [chess, , , books] = orgs;
  if (!chess || !books) throw new Error("an organization is missing");
  const now = Date.now();

  say(
    "\nChess Club's page. It leaves out the private board meeting, and shows only the city of the",
  );
  say("dinner, whose address is for guests only.");
  const { getDashboardEvents, getOrgEvents } = api.events.queries;
  const page = await t.query(getOrgEvents, { orgId: chess.orgId, now });
  const upcoming = page?.upcoming ?? [];
  say(toTable(upcoming.map((shown) => ({ ...toRow(shown), about: shown.description ?? "" }))));

  const embed = await t.query(getOrgEvents, { orgId: books.orgId, now });
  say(`\nBook Circle's page embeds ${embed?.calendarUrl}.`);

  say(
    "\nThe dashboard of a member of Chess Club: the club's events first, and then some from other",
  );
  say("organizations. The open day, which is on two calendars, appears once.");
  const membership = { userId: "user-1", orgId: chess.orgId, role: "member" } as const;
  await t.run((ctx) => ctx.db.insert("orgMemberships", membership));
  const member = t.withIdentity({ subject: "user-1" });
  const { userOrgEvents, otherOrgEvents } = await member.query(getDashboardEvents, { now });
  const rows = [...userOrgEvents, ...otherOrgEvents];
  say(toTable(rows.map((row) => ({ organization: row.org.name, ...toRow(row) }))));
}

type Outcome = sync.SyncCounts | "failed";

/** An engine that records the result of each organization's sync. */
function startObservedEngine() {
  const outcomes = new Map<string, Promise<Outcome>>();
  const syncOrgEvents = withHandler(sync.syncOrgEvents, (handler) => {
    const syncOrg = handler as (ctx: object, args: { orgId: string }) => Promise<sync.SyncCounts>;
    return ((ctx: object, args: { orgId: string }) => {
      const counts = syncOrg(ctx, args);
      const outcome = counts.catch((): Outcome => "failed");
      outcomes.set(args.orgId, outcome);
      return counts;
    }) as never;
  });
  return { t: startEngine({ "events/sync": { ...sync, syncOrgEvents } }), outcomes };
}

function toResultRow(organization: string, outcome: Outcome | "no key" = "no key") {
  const isSynced = typeof outcome === "object";
  return { organization, result: isSynced ? "synced" : outcome, ...(isSynced ? outcome : {}) };
}

type Shown = Pick<OrgPageEvent, "startAt" | "timezone" | "title" | "location" | "isVirtual">;

function toRow({ startAt, timezone, title, location, isVirtual }: Shown) {
  const format = { timeZone: timezone, dateStyle: "medium", timeStyle: "short" } as const;
  const start = new Date(startAt).toLocaleString("en-GB", format);
  return { start, title, where: [isVirtual && "online", location].filter(Boolean).join(", ") };
}
