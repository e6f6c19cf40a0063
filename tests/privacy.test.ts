import { expect, vi } from "vitest";
import { api, internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import schema from "../convex/schema";
import { aWireEvent, insertOrg, wireEvents } from "./support/builders";
import { passTime } from "./support/clock";
import { modules, startEngine, type Engine } from "./support/engine";
import { NOW, syncOrg, test } from "./support/fixtures";
import { status, type Answer, type LumaServer } from "./support/lumaServer";

/** It has characters that URLs and JSON escape. */
const KEY = 'luma/secret"4711%';
/** The parts of the key that no escaping changes. */
const KEY_PARTS = /secret|4711/;

/** Answers that repeat the key in every place where they can. */
const ECHOES: Answer[] = [
  status(401, { message: `bad key ${KEY}` }),
  status(400, { message: `bad key ${KEY}`.padStart(210, ".") }),
  status(418, encodeURIComponent(KEY)),
  status(418, { problem: KEY }),
  status(302, "", { location: `http://127.0.0.1:1/?key=${KEY}` }),
  status(200, { entries: [{ ...aWireEvent({ id: `evt-${KEY}` }), name: null }], has_more: false }),
  status(200, { entries: [], has_more: true, next_cursor: null, [KEY]: KEY }),
  status(200, { [KEY]: [] }),
];

/** All documents except for the secrets, and everything that was ever scheduled. */
async function everythingStored(t: Engine): Promise<unknown[]> {
  const tables = Object.keys(schema.tables).filter((table) => table !== "lumaSecrets");
  return await t.run(async (ctx) => [
    ...(await Promise.all(tables.map((table) => ctx.db.query(table as "events").collect()))),
    ...(await ctx.db.system.query("_scheduled_functions").collect()),
  ]);
}

/** The result of a call, or all that its error shows. */
async function outcomeOf(call: Promise<unknown>): Promise<unknown> {
  try {
    return await call;
  } catch (error) {
    return error instanceof Error ? [error.message, error.stack, { ...error }] : error;
  }
}

async function syncEverything(t: Engine, luma: LumaServer, orgId: Id<"organizations">) {
  const seen: unknown[] = [];
  for (const echo of ECHOES) {
    luma.answerNext(echo);
    seen.push(await outcomeOf(syncOrg(t, luma, orgId)));
    luma.answerNext(echo);
    seen.push(await t.mutation(internal.events.sync.runFullEventSync, {}));
    await passTime(60_000, luma.activity);
  }
  luma.setCalendar(KEY, wireEvents(2));
  for (const echo of ECHOES) {
    luma.answerNext(echo, { kind: "event" });
    seen.push(await outcomeOf(syncOrg(t, luma, orgId)));
  }
  for (let i = 0; i < 4; i += 1) luma.answerNext(status(500, KEY));
  seen.push(await outcomeOf(syncOrg(t, luma, orgId)));
  return seen;
}

test.for([
  ["directly", KEY],
  ["in a variable", "env:LUMA_API_KEY_ACME"],
])(
  "A key that is set %s appears in no error, log line, result, document or schedule",
  async ([, lumaApiKey], { luma }) => {
    const t = startEngine();
    const logs = ["log", "warn", "error", "info"] as const;
    const consoles = logs.map((name) => vi.spyOn(console, name));
    vi.stubEnv("LUMA_API_KEY_ACME", KEY);
    const orgId = await insertOrg(t, { name: "Acme", lumaApiKey });
    const seen = await syncEverything(t, luma, orgId);

    luma.setCalendar(KEY, wireEvents(150));
    const { getDashboardEvents, getOrgEvents } = api.events.queries;
    seen.push(
      await syncOrg(t, luma, orgId),
      (await t.query(internal.events.queries.getOrgsWithLumaConfig, {})).page,
      (await t.query(internal.orgs.queries.getSyncStatus, {})).page,
      await t.query(getOrgEvents, { orgId, now: NOW }),
      await t.withIdentity({ subject: "u" }).query(getDashboardEvents, { now: NOW }),
    );
    const lines = consoles.flatMap((spy) => spy.mock.calls);
    expect(lines.length).toBeGreaterThan(5);
    for (const part of [seen, lines, await everythingStored(t)]) {
      const text = JSON.stringify(part);
      expect(text.length).toBeGreaterThan(100);
      expect(text).not.toMatch(KEY_PARTS);
    }
    // A key in a variable isn't stored at all.
    const secrets = JSON.stringify(await t.run((ctx) => ctx.db.query("lumaSecrets").collect()));
    expect(KEY_PARTS.test(secrets)).toBe(lumaApiKey === KEY);
    // lu.ma does receive the key, but not in a URL.
    expect(new Set(luma.requests.map(({ key }) => key))).toEqual(new Set([KEY]));
    for (const { query } of luma.requests) expect(query.toString()).not.toMatch(KEY_PARTS);
  },
);

type Registered = {
  isPublic?: boolean;
  isInternal?: boolean;
  exportArgs(): string;
  exportReturns(): string;
};

/** All registered functions, by names such as "events/queries:getOrgEvents". */
const FUNCTIONS = new Map<string, Registered>();
for (const [path, exports] of Object.entries(modules)) {
  const file = path.replace("../../convex/", "").replace(".ts", "");
  for (const [name, value] of Object.entries(exports)) {
    if (typeof value !== "function" || !("exportArgs" in value)) continue;
    FUNCTIONS.set(`${file}:${name}`, value as unknown as Registered);
  }
}

test("Only the queries of pages and the functions of the settings page are public", () => {
  const open = [...FUNCTIONS].filter(([, registered]) => registered.isPublic === true);
  const names = [
    "events/queries:getDashboardEvents",
    "events/queries:getOrgEvents",
    "events/settings:connectCalendar",
    "events/settings:getStatus",
    "events/settings:syncNow",
  ];
  expect(open.map(([name]) => name).toSorted()).toEqual(names);
  const rest = [...FUNCTIONS.values()].filter((registered) => registered.isInternal === true);
  expect(rest.length).toBe(FUNCTIONS.size - names.length);
});

test("Every function validates its arguments and its result", () => {
  expect(FUNCTIONS.size).toBeGreaterThan(10);
  for (const [name, registered] of FUNCTIONS) {
    expect(JSON.parse(registered.exportArgs()), name).toMatchObject({ type: "object" });
    expect(JSON.parse(registered.exportReturns()), name).not.toBeNull();
    expect(registered.exportReturns(), name).not.toContain('"type":"any"');
  }
});
