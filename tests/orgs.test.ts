import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import { readSyncStatus } from "../convex/orgs/syncStatus";
import { getOrg, insertOrg } from "./support/builders";
import { useRealTime, useSimulatedTime } from "./support/clock";
import { startEngine, type Engine } from "./support/engine";
import { NOW, reasonOf } from "./support/fixtures";

const { setLumaConfig } = internal.orgs.mutations;
const { createOrg } = internal.orgs.createOrg;
const { getById, getSyncStatus } = internal.orgs.queries;

// In simulated time, in which the queue's worker does nothing.
let t: Engine;
/** Has no key, nor a calendar's URL. */
let orgId: Id<"organizations">;
beforeEach(async () => {
  useSimulatedTime(NOW);
  t = startEngine();
  orgId = await insertOrg(t, { name: "Acme", lumaApiKey: undefined });
});
afterEach(useRealTime);

type Config = { lumaCalendarUrl?: string | null; lumaApiKey?: string | null };
async function configure(config: Config) {
  await t.mutation(setLumaConfig, { orgId, ...config });
  return await getOrg(t, orgId);
}

/** Why a configuration is refused, which leaves nothing of it. */
async function refusalOf(config: Config): Promise<string> {
  const before = await getOrg(t, orgId);
  const reason = await reasonOf(configure(config));
  expect(await getOrg(t, orgId)).toEqual(before);
  return reason;
}

test("An organization is created unconnected", async () => {
  const logoUrl = "https://images.example/logo.png";
  const newId = await t.mutation(createOrg, { name: " New ", slug: "new", logoUrl });
  const _creationTime = expect.any(Number) as number;
  const expected = { _id: newId, _creationTime, name: "New", slug: "new", logoUrl };
  expect(await getOrg(t, newId)).toEqual(expected);
});

test("A slug that is taken is refused, naming who has it", async () => {
  await t.mutation(createOrg, { name: "First", slug: "first" });
  const reason = await reasonOf(t.mutation(createOrg, { name: "Other", slug: " first" }));
  expect(reason).toContain('"first" is taken by the organization "First"');
  for (const name of ["Without a slug", "Without one either"])
    await t.mutation(createOrg, { name });
});

const NO_LOGO = "http(s) URL of at most 2,000 characters";
test.for<[{ name?: string; slug?: string; logoUrl?: string }, string]>([
  [{ name: " " }, "needs a name"],
  [{ slug: "" }, "slug is empty"],
  [{ logoUrl: "data:image/png;base64,AAAA" }, NO_LOGO],
  [{ logoUrl: "logo.png" }, NO_LOGO],
  [{ logoUrl: "" }, NO_LOGO],
  [{ logoUrl: `https://x.example/${"x".repeat(2_000)}` }, NO_LOGO],
])("An organization with %j is not created", async ([fields, reason]) => {
  expect(await reasonOf(t.mutation(createOrg, { name: "New", ...fields }))).toContain(reason);
});

test("Configuring sets what is given, leaves what is not, and clears what is null", async () => {
  const lumaCalendarUrl = "https://lu.ma/acme";
  const both = await configure({ lumaCalendarUrl, lumaApiKey: " key-1 \n" });
  expect(both).toMatchObject({ lumaCalendarUrl, lumaApiKey: "key-1" });
  const one = await configure({ lumaCalendarUrl: " https://luma.com/acme " });
  expect(one).toMatchObject({ lumaCalendarUrl: "https://luma.com/acme", lumaApiKey: "key-1" });
  const cleared = await configure({ lumaCalendarUrl: null, lumaApiKey: null });
  expect(cleared).not.toHaveProperty("lumaCalendarUrl");
  expect(cleared).not.toHaveProperty("lumaApiKey");
});

test.for<[string, string | null]>([
  ["cleared", null],
  ["set", "key-2"],
  ["set again", "key-1"],
])("The last error is forgotten when the key is %s, and only then", async ([, lumaApiKey]) => {
  await configure({ lumaApiKey: "key-1" });
  await t.run((ctx) => ctx.db.patch("organizations", orgId, { eventsSyncError: "rejected" }));
  const kept = await configure({ lumaCalendarUrl: "https://lu.ma/a" });
  expect(kept.eventsSyncError).toBe("rejected");
  expect(await configure({ lumaApiKey })).not.toHaveProperty("eventsSyncError");
});

const EMBED = "https://lu.ma/embed/calendar/cal-1/events?theme=dark";
test.for<[string, string]>([
  ["https://lu.ma/acme", "https://lu.ma/acme"],
  [" HTTPS://LuMa.com/Acme ", "https://luma.com/Acme"],
  ["https://lu.ma", "https://lu.ma/"],
  ["https://lu.ma:443/a/../acme", "https://lu.ma/acme"],
  ["https://lu.ma/café", "https://lu.ma/caf%C3%A9"],
  [EMBED, EMBED],
])(
  "The calendar URL %s is stored as %s, as a parser writes it",
  async ([lumaCalendarUrl, stored]) => {
    expect((await configure({ lumaCalendarUrl })).lumaCalendarUrl).toBe(stored);
  },
);

test.for([
  "http://lu.ma/acme",
  "https://lu.ma.evil.example/acme",
  "https://evil.example/lu.ma",
  "https://lu.ma@evil.example/",
  "https://me:pass@lu.ma/acme",
  "https://lu.ma:8443/acme",
  "https://lu.\nma/acme",
  "https:lu.ma/acme",
  "https:lu.ma/?next=https://lu.ma/acme",
  "https://me@lu.ma/acme",
  "https://:pass@lu.ma/acme",
  "https:\\\\lu.ma\\acme",
  "https://lu.ma/a b",
  `https://lu.ma/${"é".repeat(700)}`,
  "javascript:alert(1)//lu.ma",
  "lu.ma/acme",
  "",
  `https://lu.ma/${"x".repeat(2_000)}`,
])("The calendar URL %j is refused", async (lumaCalendarUrl) => {
  expect(await refusalOf({ lumaCalendarUrl })).toContain(
    "https URL on lu.ma or luma.com, such as https://lu.ma/embed/calendar/cal-…/events.",
  );
});

const EMPTY = "the lu.ma API key is empty: give one, or null to disconnect";
const NO_KEY =
  "has more than 200 characters, or contains spaces or others that no key has: copy it";
const NO_VARIABLE = "such as env:LUMA_API_KEY_BERLIN";
const NAME_ALONE = "write env: before it";
test.for<[string, string]>([
  ["", EMPTY],
  ["  ", EMPTY],
  ["two words", NO_KEY],
  ["kéy", NO_KEY],
  ["a\u001bb", NO_KEY],
  ["x".repeat(201), NO_KEY],
  ["env:", NO_VARIABLE],
  ["env:X", NO_VARIABLE],
  ["env:CONVEX_DEPLOY_KEY", NO_VARIABLE],
  ["ENV:LUMA_API_KEY", NO_VARIABLE],
  ["env:LUMA_API_KEY_A-B", NO_VARIABLE],
  ["env:LUMA_API_KEY_A B", NO_VARIABLE],
  ["env:LUMA_API_KEY_A;", NO_VARIABLE],
  [`env:LUMA_API_KEY${"A".repeat(29)}`, NO_VARIABLE],
  ["LUMA_API_KEY_ACME", NAME_ALONE],
  ["LUMA_API_KEY", NAME_ALONE],
  [" luma_api_key_acme ", NAME_ALONE],
])(
  "The key %j is refused, naming the organization and what is wrong",
  async ([lumaApiKey, what]) => {
    const lumaCalendarUrl = "https://lu.ma/acme";
    const reason = await refusalOf({ lumaCalendarUrl, lumaApiKey });
    expect(reason).toContain('"Acme"');
    expect(reason).toContain(what);
  },
);

test.for([
  "x".repeat(200),
  "secret-LUMA_API_KEY",
  "env:LUMA_API_KEY",
  "env:LUMA_API_KEY_ACME",
  `env:LUMA_API_KEY${"A".repeat(28)}`,
])(
  "The key %s is accepted, be it a variable's name or another organization's, too",
  async (lumaApiKey) => {
    await insertOrg(t, { name: "Parent", lumaApiKey });
    expect((await configure({ lumaApiKey: ` ${lumaApiKey}\n` })).lumaApiKey).toBe(lumaApiKey);
  },
);

test("An organization that does not exist is null, and cannot be configured", async () => {
  await t.run((ctx) => ctx.db.delete("organizations", orgId));
  expect(await t.query(getById, { orgId })).toBeNull();
  expect(await reasonOf(t.mutation(setLumaConfig, { orgId }))).toContain(orgId);
});

test("The status of each organization with a key says how its syncs went, never the key", async () => {
  vi.stubEnv("LUMA_API_KEY_ACME", "secret-1");
  const connectedBy = "env:LUMA_API_KEY_ACME";
  const [eventsLastSynced, lastSyncedAt] = [Date.UTC(2026, 8, 1, 7), "2026-09-01T07:00:00.000Z"];
  const first = { name: "Synced", lumaApiKey: connectedBy, eventsLastSynced };
  const second = { name: "Failed", lumaApiKey: "secret-2", eventsSyncError: "why" };
  const [synced, failed] = [await insertOrg(t, first), await insertOrg(t, second)];
  await insertOrg(t, { name: "Blank", lumaApiKey: " " });
  const { page, isDone } = await t.query(getSyncStatus, {});
  const none = { calendar: null, lastSyncedAt: null, error: null, nextSyncAt: null };
  expect(page).toEqual([
    { ...none, orgId: synced, name: "Synced", connectedBy, lastSyncedAt },
    { ...none, orgId: failed, name: "Failed", connectedBy: "a stored key", error: "why" },
  ]);
  expect(isDone).toBe(true);
});

test.for(["env:secret-key", "env:LUMA_API_KEY secret", "ENV:LUMA_API_KEY_A"])(
  "The status shows nothing of %s, which is no variable's name",
  async (lumaApiKey) => {
    await insertOrg(t, { lumaApiKey });
    const { page } = await t.query(getSyncStatus, {});
    expect(page).toMatchObject([{ connectedBy: "a stored key" }]);
  },
);

test("The status comes in pages, of 100 unless told otherwise", async () => {
  const names = Array.from({ length: 101 }, (_, i) => `Org ${1_000 + i}`);
  for (const name of names) await insertOrg(t, { name });
  const first = await t.query(getSyncStatus, {});
  const options = { numItems: 2, cursor: first.continueCursor };
  const rest = await t.query(getSyncStatus, options);
  expect([first.page.length, first.isDone, rest.isDone]).toEqual([100, false, true]);
  expect([...first.page, ...rest.page].map(({ name }) => name)).toEqual(names);
});

test("the status of an organization without a key says so, and names no next sync", async () => {
  for (const lumaApiKey of [undefined, " "]) {
    const orgId = await insertOrg(t, { lumaApiKey });
    const status = await t.run((ctx) => readSyncStatus(ctx, orgId));
    expect(status).toMatchObject({ connectedBy: "no key", calendar: null, nextSyncAt: null });
  }
});
