/** Connecting a calendar, where its key and its webhook's secret are stored, and the status of its syncs. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { api, internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import { configureLuma, readSyncStatus, requestSync } from "../convex/events/settings";
import { beginSync, getOrg, insertOrg } from "./support/builders";
import { setTime, useRealTime, useSimulatedTime } from "./support/clock";
import { startEngine, type Engine } from "./support/engine";
import { jobs } from "./support/faults";
import { failureOf, NOW, reasonOf } from "./support/fixtures";

const { setLumaConfig } = internal.orgs.mutations;
const { connectCalendar, getStatus, syncNow } = api.events.settings;
const createOrg = internal.organizations.create;
const { getById, getSyncStatus } = internal.orgs.queries;

// Time is simulated and never passes, so nothing that is scheduled runs.
let t: Engine;
/** Has neither a key nor a calendar URL. */
let orgId: Id<"organizations">;
beforeEach(async () => {
  useSimulatedTime(NOW);
  vi.stubEnv("CONVEX_SITE_URL", "https://acme.convex.site");
  t = startEngine();
  orgId = await insertOrg(t, { name: "Acme", lumaApiKey: undefined });
});
afterEach(useRealTime);

type Config = {
  lumaCalendarUrl?: string | null;
  lumaApiKey?: string | null;
  lumaWebhookSecret?: string | null;
};
async function configure(config: Config) {
  await t.mutation(setLumaConfig, { orgId, ...config });
  return await getOrg(t, orgId);
}

/** The secrets of all organizations. */
const secrets = () =>
  t.run(async (ctx) => {
    const all = await ctx.db.query("lumaSecrets").collect();
    return all.map(({ apiKey, webhookSecret }) => ({ apiKey, webhookSecret }));
  });
const getRawOrg = () => t.run((ctx) => ctx.db.get("organizations", orgId));
const patchOrg = (fields: object) => t.run((ctx) => ctx.db.patch("organizations", orgId, fields));
const statusOf = () => t.run((ctx) => readSyncStatus(ctx, orgId));

/** Why a configuration is refused. None of it may be stored. */
async function refusalOf(config: Config): Promise<string> {
  const before = [await getRawOrg(), await secrets()];
  const reason = await reasonOf(configure(config));
  expect([await getRawOrg(), await secrets()]).toEqual(before);
  return reason;
}

test("A new organization isn't connected to a calendar", async () => {
  const logoUrl = "https://images.example/logo.png";
  const newId = await t.mutation(createOrg, { name: " New ", slug: "new", logoUrl });
  const _creationTime = expect.any(Number) as number;
  const expected = { _id: newId, _creationTime, name: "New", slug: "new", logoUrl };
  expect(await getOrg(t, newId)).toEqual(expected);
});

test("A slug that is taken is refused, and the error says by whom", async () => {
  await t.mutation(createOrg, { name: "First", slug: "first" });
  const reason = await reasonOf(t.mutation(createOrg, { name: "Other", slug: " first" }));
  expect(reason).toContain('"first" is taken by the organization "First"');
  for (const name of ["No slug", "No slug either"]) await t.mutation(createOrg, { name });
});

const NO_LOGO = "http(s) URL of at most 2,000 characters";
test.for<[{ name?: string; slug?: string; logoUrl?: string }, string]>([
  [{ name: " " }, "needs a name"],
  [{ slug: "" }, "slug is empty"],
  [{ logoUrl: "data:image/png;base64,AAAA" }, NO_LOGO],
  [{ logoUrl: "logo.png" }, NO_LOGO],
  [{ logoUrl: "" }, NO_LOGO],
  [{ logoUrl: `https://x.example/${"x".repeat(2_000)}` }, NO_LOGO],
])("An organization with %j is refused", async ([fields, reason]) => {
  expect(await reasonOf(t.mutation(createOrg, { name: "New", ...fields }))).toContain(reason);
});

test("Configuring sets given fields, keeps omitted ones, and clears null ones", async () => {
  const lumaCalendarUrl = "https://lu.ma/acme";
  const both = await configure({ lumaCalendarUrl, lumaApiKey: " key-1 \n" });
  expect(both).toMatchObject({ lumaCalendarUrl, lumaApiKey: "stored" });
  const one = await configure({ lumaCalendarUrl: " https://luma.com/acme " });
  expect(one).toMatchObject({ lumaCalendarUrl: "https://luma.com/acme", lumaApiKey: "stored" });
  expect(await configure({ lumaApiKey: "key-2" })).toEqual(one);
  expect(await secrets()).toEqual([{ apiKey: "key-2" }]);
  const cleared = await configure({ lumaCalendarUrl: null, lumaApiKey: null });
  expect(cleared).not.toHaveProperty("lumaCalendarUrl");
  expect(cleared).not.toHaveProperty("lumaApiKey");
  expect(await secrets()).toEqual([]);
});

test.for<[string, string | null]>([
  ["cleared", null],
  ["set", "key-2"],
  ["set again", "key-1"],
])(
  "The last error is cleared when the key is %s, but not when the URL is set",
  async ([, lumaApiKey]) => {
    await configure({ lumaApiKey: "key-1" });
    await t.run((ctx) => ctx.db.patch("organizations", orgId, { eventsSyncError: "rejected" }));
    const kept = await configure({ lumaCalendarUrl: "https://lu.ma/a" });
    expect(kept.eventsSyncError).toBe("rejected");
    expect(await configure({ lumaApiKey })).not.toHaveProperty("eventsSyncError");
  },
);

const EMBED = "https://lu.ma/embed/calendar/cal-1/events?theme=dark";
test.for<[string, string]>([
  ["https://lu.ma/acme", "https://lu.ma/acme"],
  [" HTTPS://LuMa.com/Acme ", "https://luma.com/Acme"],
  ["https://lu.ma", "https://lu.ma/"],
  ["https://lu.ma:443/a/../acme", "https://lu.ma/acme"],
  ["https://lu.ma/café", "https://lu.ma/caf%C3%A9"],
  [EMBED, EMBED],
])("The calendar URL %s is stored as %s", async ([lumaCalendarUrl, stored]) => {
  expect((await configure({ lumaCalendarUrl })).lumaCalendarUrl).toBe(stored);
});

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

const EMPTY = "the lu.ma API key is empty: give one, or null to clear it";
const NO_KEY = "is longer than 200 characters, or contains spaces";
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
  [" stored ", '"stored" is no key: leave the field out to keep the one that is stored'],
])(
  "The key %j is refused, and the error names the organization and the problem",
  async ([lumaApiKey, what]) => {
    const lumaCalendarUrl = "https://lu.ma/acme";
    const reason = await refusalOf({ lumaCalendarUrl, lumaApiKey });
    expect(reason).toContain('"Acme"');
    expect(reason).toContain(what);
    if (what === NO_KEY) expect(reason).not.toContain(lumaApiKey);
  },
);

test.for([
  { input: "x".repeat(200), field: "stored", apiKey: "x".repeat(200) },
  { input: "secret-LUMA_API_KEY", field: "stored", apiKey: "secret-LUMA_API_KEY" },
  { input: "env:LUMA_API_KEY", field: "env:LUMA_API_KEY", apiKey: undefined },
  {
    input: `env:LUMA_API_KEY${"A".repeat(28)}`,
    field: `env:LUMA_API_KEY${"A".repeat(28)}`,
    apiKey: undefined,
  },
])("The key $input is shown as $field, and may be another organization's, too", async (row) => {
  await insertOrg(t, { name: "Parent", lumaApiKey: row.input });
  expect((await configure({ lumaApiKey: ` ${row.input}\n` })).lumaApiKey).toBe(row.field);
  expect(await secrets()).toEqual([{ apiKey: row.apiKey }]);
});

test("A stored key is deleted when an environment variable replaces it", async () => {
  await configure({ lumaApiKey: "key-1", lumaWebhookSecret: "whsec_1" });
  await configure({ lumaApiKey: "env:LUMA_API_KEY" });
  expect(await secrets()).toEqual([{ webhookSecret: "whsec_1" }]);
});

test("Only an administrator can name an environment variable", async () => {
  const refusal = "env: can only be set by an administrator, with setLumaConfig";
  for (const config of [
    { lumaApiKey: "env:LUMA_API_KEY_OTHER" },
    { lumaWebhookSecret: "env:LUMA_WEBHOOK_SECRET_OTHER" },
  ]) {
    const configuring = t.run((ctx) => configureLuma(ctx, orgId, config));
    expect(await reasonOf(configuring)).toContain(refusal);
    await configure(config);
  }
  expect(await secrets()).toEqual([{ webhookSecret: "env:LUMA_WEBHOOK_SECRET_OTHER" }]);
});

// Keys that somebody writes into an organization's document by hand.

test.for([
  "key-1",
  " key-1\n",
  "no key at all",
  "env:AWS_SECRET",
  "env:secret-key",
  "env:LUMA_API_KEY secret",
  "ENV:LUMA_API_KEY_A",
])(
  "The key %j in a document is shown as stored, and moved when a sync begins",
  async (lumaApiKey) => {
    await patchOrg({ lumaApiKey });
    expect((await getOrg(t, orgId)).lumaApiKey).toBe("stored");
    expect(await statusOf()).toMatchObject({ connectedBy: "a stored key" });
    await beginSync(t, orgId);
    expect((await getRawOrg())?.lumaApiKey).toBe("stored");
    expect(await secrets()).toEqual([{ apiKey: lumaApiKey.trim() }]);
  },
);

test.for(["stored", " stored ", "env:LUMA_API_KEY"])(
  "A lumaApiKey of %j in a document stays as it is when a sync begins",
  async (lumaApiKey) => {
    await configure({ lumaApiKey: "key-1" });
    await patchOrg({ lumaApiKey });
    await beginSync(t, orgId);
    expect((await getRawOrg())?.lumaApiKey).toBe(lumaApiKey);
    expect(await secrets()).toEqual([{ apiKey: "key-1" }]);
  },
);

test("A sync whose stored key is missing fails and says what to do", async () => {
  await patchOrg({ lumaApiKey: "stored" });
  expect(await failureOf(t.action(internal.events.sync.syncOrgEvents, { orgId }))).toEqual({
    kind: "permanent",
    message:
      'Organization "Acme" was not synced: its stored key is missing. Set it on the settings page, or with setLumaConfig.',
  });
});

// Webhook secrets.

test("The webhook's secret is kept when the key changes, and cleared along with it", async () => {
  await configure({ lumaWebhookSecret: " whsec_1\n" });
  expect(await secrets()).toEqual([{ webhookSecret: "whsec_1" }]);
  expect(await statusOf()).toMatchObject({ liveUpdates: "off" });
  await configure({ lumaApiKey: "key-1" });
  await configure({ lumaApiKey: "key-2" });
  expect(await secrets()).toEqual([{ apiKey: "key-2", webhookSecret: "whsec_1" }]);
  await configure({ lumaApiKey: null });
  expect(await secrets()).toEqual([]);
  // If one call sets both, clearing the key doesn't clear the new secret.
  await configure({ lumaApiKey: null, lumaWebhookSecret: "whsec_2" });
  expect(await secrets()).toEqual([{ webhookSecret: "whsec_2" }]);
  await configure({ lumaApiKey: "key-3", lumaWebhookSecret: null });
  expect(await secrets()).toEqual([{ apiKey: "key-3" }]);
});

test.for([
  { secret: "", refusal: "the webhook's secret is empty" },
  {
    secret: "two words",
    refusal: "the webhook's secret is longer than 200 characters, or contains",
  },
  { secret: "x".repeat(201), refusal: "the webhook's secret is longer than 200 characters" },
  { secret: "env:LUMA_API_KEY", refusal: "such as env:LUMA_WEBHOOK_SECRET_BERLIN" },
  { secret: `env:LUMA_WEBHOOK_SECRET${"A".repeat(22)}`, refusal: "at most 40 in all" },
  { secret: "LUMA_WEBHOOK_SECRET_ACME", refusal: "write env: before it" },
])("The webhook's secret $secret is refused", async ({ secret, refusal }) => {
  const reason = await refusalOf({ lumaApiKey: "key-1", lumaWebhookSecret: secret });
  expect(reason).toContain(refusal);
  if (secret.length > 200) expect(reason).not.toContain(secret);
});

// The settings page.

const admin = () => t.withIdentity({ subject: "admin" });

test("Only an organization's own admins can use its settings page", async () => {
  const otherId = await insertOrg(t, { name: "Other" });
  await t.run(async (ctx) => {
    const insert = (userId: string, orgId: Id<"organizations">, role: "admin" | "member") =>
      ctx.db.insert("orgMemberships", { userId, orgId, role });
    await insert("admin", orgId, "admin");
    await insert("member", orgId, "member");
    await insert("admin of another", otherId, "admin");
  });
  const lumaApiKey = "key-1";
  const strangers = ["member", "admin of another"].map((subject) => t.withIdentity({ subject }));
  for (const stranger of [t, ...strangers]) {
    for (const call of [
      stranger.mutation(connectCalendar, { orgId, lumaApiKey }),
      stranger.mutation(syncNow, { orgId }),
    ]) {
      expect(await reasonOf(call)).toBe("Not allowed.");
    }
    expect(await stranger.query(getStatus, { orgId })).toBeNull();
  }
  expect(await secrets()).toEqual([]);

  const lumaCalendarUrl = "https://lu.ma/acme";
  await admin().mutation(connectCalendar, { orgId, lumaApiKey, lumaCalendarUrl });
  expect(await getOrg(t, orgId)).toMatchObject({ lumaApiKey: "stored", lumaCalendarUrl });
  const variable = { orgId, lumaApiKey: "env:LUMA_API_KEY" };
  expect(await reasonOf(admin().mutation(connectCalendar, variable))).toContain("administrator");
  await beginSync(t, orgId);
  setTime(NOW + 60_000);
  await admin().mutation(syncNow, { orgId });
  expect(await admin().query(getStatus, { orgId })).toMatchObject({
    name: "Acme",
    connectedBy: "a stored key",
    syncingSince: expect.stringContaining("T12:00:00") as string,
    nextSyncAt: expect.stringContaining("T12:05:00") as string,
    webhookUrl: `https://acme.convex.site/luma/${orgId}`,
  });
  await t.run((ctx) => ctx.db.insert("lumaSecrets", { orgId, apiKey: "from an import" }));
  await admin().mutation(connectCalendar, { orgId, lumaApiKey: null, lumaCalendarUrl: null });
  expect(await secrets()).toEqual([]);
  await t.run((ctx) => ctx.db.delete("organizations", orgId));
  expect(await admin().query(getStatus, { orgId })).toBeNull();
});

test("A new key and a requested sync are urgent", async () => {
  const isUrgent = async () => (await t.run((ctx) => ctx.db.query("eventSyncs").first()))?.isUrgent;
  await configure({ lumaApiKey: "key-1" });
  expect(await isUrgent()).toBe(true);
  await beginSync(t, orgId);
  expect(await isUrgent()).toBeUndefined();
  await t.run((ctx) => requestSync(ctx, orgId));
  expect(await isUrgent()).toBe(true);
});

test("Requesting a sync of an organization without a key fails and says what to do", async () => {
  const requesting = t.run((ctx) => requestSync(ctx, orgId));
  expect(await reasonOf(requesting)).toBe(
    'Organization "Acme" has no lu.ma API key: connect it on the settings page, or with setLumaConfig.',
  );
});

// What queries return.

const lumaApiKey = "secret-1";
test.for<{ way: string; set: () => Promise<unknown> }>([
  { way: "with setLumaConfig", set: () => configure({ lumaApiKey }) },
  { way: "by the app", set: () => t.run((ctx) => configureLuma(ctx, orgId, { lumaApiKey })) },
  {
    way: "on the settings page",
    set: async () => {
      const membership = { userId: "admin", orgId, role: "admin" as const };
      await t.run((ctx) => ctx.db.insert("orgMemberships", membership));
      await admin().mutation(connectCalendar, { orgId, lumaApiKey });
    },
  },
  { way: "by hand", set: () => patchOrg({ lumaApiKey }).then(() => beginSync(t, orgId)) },
])("A key that is set $way is in no organization, query result or scheduled call", async (row) => {
  await row.set();
  const { page } = await t.query(getSyncStatus, {});
  const orgs = await t.query(internal.events.queries.getOrgsWithLumaConfig, {});
  const { getDashboardEvents, getOrgEvents } = api.events.queries;
  const seen = [
    await t.run((ctx) => ctx.db.query("organizations").collect()),
    await t.query(getById, { orgId }),
    [page, orgs.page, await statusOf()],
    await t.query(getOrgEvents, { orgId, now: NOW }),
    await admin().query(getDashboardEvents, { now: NOW }),
    (await jobs(t)).map(({ args }) => args),
  ];
  expect(JSON.stringify(seen)).not.toContain(lumaApiKey);
  expect(await secrets()).toEqual([{ apiKey: lumaApiKey }]);
});

test("A deleted organization is null and can't be configured", async () => {
  await t.run((ctx) => ctx.db.delete("organizations", orgId));
  expect(await t.query(getById, { orgId })).toBeNull();
  expect(await reasonOf(t.mutation(setLumaConfig, { orgId }))).toContain(orgId);
});

test("The status lists the organizations with a key and how their syncs went", async () => {
  vi.stubEnv("LUMA_API_KEY_ACME", "secret-1");
  const connectedBy = "env:LUMA_API_KEY_ACME";
  const [eventsLastSynced, lastSyncedAt] = [Date.UTC(2026, 8, 1, 7), "2026-09-01T07:00:00.000Z"];
  const first = { name: "Synced", lumaApiKey: connectedBy, eventsLastSynced };
  const second = { name: "Failed", lumaApiKey: "secret-2", eventsSyncError: "why" };
  const [synced, failed] = [await insertOrg(t, first), await insertOrg(t, second)];
  await insertOrg(t, { name: "Blank", lumaApiKey: " " });
  const { page, isDone } = await t.query(getSyncStatus, {});
  const none = { calendar: null, lastSyncedAt: null, error: null, nextSyncAt: null };
  const rest = (orgId: string) => ({
    syncingSince: null,
    liveUpdates: "off",
    orgId,
    webhookUrl: `https://acme.convex.site/luma/${orgId}`,
  });
  expect(page).toEqual([
    { ...none, ...rest(synced), name: "Synced", connectedBy, lastSyncedAt },
    { ...none, ...rest(failed), name: "Failed", connectedBy: "a stored key", error: "why" },
  ]);
  expect(isDone).toBe(true);
});

test("The status comes in pages of 100 organizations, or of another size", async () => {
  const names = Array.from({ length: 101 }, (_, i) => `Org ${1_000 + i}`);
  for (const name of names) await insertOrg(t, { name });
  const first = await t.query(getSyncStatus, {});
  const options = { numItems: 2, cursor: first.continueCursor };
  const rest = await t.query(getSyncStatus, options);
  expect([first.page.length, first.isDone, rest.isDone]).toEqual([100, false, true]);
  expect([...first.page, ...rest.page].map(({ name }) => name)).toEqual(names);
});

test("The status of an organization without a key says so, and shows no next sync", async () => {
  for (const lumaApiKey of [undefined, " "]) {
    const orgId = await insertOrg(t, { lumaApiKey });
    const status = await t.run((ctx) => readSyncStatus(ctx, orgId));
    expect(status).toMatchObject({ connectedBy: "no key", calendar: null, nextSyncAt: null });
  }
});
