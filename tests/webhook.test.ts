/** lu.ma's webhook calls: which are valid, what they lead to, and that all others get the same answer. */
import { expect, vi } from "vitest";
import { api, internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import { readSyncStatus } from "../convex/events/settings";
import { aWireEvent, insertOrg, MINUTE_MS, SECOND_MS } from "./support/builders";
import { passTime, setTime } from "./support/clock";
import { startCountedEngine, type CountedEngine } from "./support/counting";
import { NOW, test } from "./support/fixtures";
import type { LumaServer } from "./support/lumaServer";
import { signCall } from "./support/webhook";

const KEY = "secret-4711";
const SECRET = "whsec_0815";
/** Looks like a signature. */
const WRONG = "0".repeat(64);
const { setLumaConfig } = internal.orgs.mutations;

let luma: LumaServer;
let counted: CountedEngine;
let t: CountedEngine["t"];
let orgId: Id<"organizations">;
test.beforeEach(async ({ luma: given }) => {
  luma = given.stubFetch();
  for (const method of ["log", "warn"] as const) vi.spyOn(console, method).mockReturnValue();
  counted = startCountedEngine();
  t = counted.t;
  orgId = await insertOrg(t, { lumaApiKey: undefined });
  luma.setCalendar(KEY, [aWireEvent()]);
  await configure({ lumaApiKey: KEY, lumaWebhookSecret: SECRET });
  await passTime(10 * MINUTE_MS, luma.activity);
  luma.requests.length = 0;
  vi.mocked(console.warn).mockClear();
  counted.reset();
});
test.afterEach(() => counted.stop());

const configure = (config: { lumaApiKey?: string | null; lumaWebhookSecret?: string | null }) =>
  t.mutation(setLumaConfig, { orgId, ...config });

const seconds = (ms = Date.now()) => String(Math.floor(ms / SECOND_MS));

type Call = {
  path?: string;
  body?: string | Uint8Array;
  secret?: string;
  header?: string;
  time?: string;
};

/** A call as lu.ma makes it, with what matters to a test as overrides. */
async function call({
  path = `/luma/${orgId}`,
  body = JSON.stringify({ type: "event.updated", data: { id: "evt-1" } }),
  secret = SECRET,
  time = seconds(),
  header = `t=${time},v1=${sign(body, time, secret)}`,
}: Call = {}): Promise<Response> {
  const headers = { "content-type": "application/json", "webhook-signature": header };
  return await t.fetch(path, { method: "POST", body: body as string, headers });
}

const sign = (body: string | Uint8Array, time = seconds(), secret = SECRET) =>
  signCall(body, time, secret);

const syncs = () => luma.requestsOf("list").length;
/** The seconds from the start of each sync to the start of the next. */
const secondsBetweenSyncs = () => {
  const starts = luma.requestsOf("list").map(({ at }) => at);
  return starts.slice(1).map((at, index) => Math.round((at - starts[index]!) / SECOND_MS));
};
/** How many syncs a call leads to within 6 minutes. */
async function syncsAfter(given?: Call): Promise<number> {
  const before = syncs();
  expect((await call(given)).status).toBe(200);
  await passTime(6 * MINUTE_MS, luma.activity);
  return syncs() - before;
}

const status = async () => {
  const { liveUpdates, nextSyncAt } = await t.run((ctx) => readSyncStatus(ctx, orgId));
  return { liveUpdates, nextSyncAt };
};

async function expectUnauthorized(response: Response): Promise<void> {
  expect(response.status).toBe(401);
  expect(await response.text()).toBe("Unauthorized");
  expect(counted.counts.documentsWritten).toBe(0);
}

async function expectRefused(response: Response): Promise<void> {
  await expectUnauthorized(response);
  expect((await status()).nextSyncAt).toBeNull();
}

test("A valid call syncs the organization 20 s later, without urgency", async () => {
  expect((await call()).status).toBe(200);
  const sync = await t.run((ctx) => ctx.db.query("eventSyncs").first());
  expect(sync?.isUrgent).toBeUndefined();
  expect((await status()).nextSyncAt).toBe(new Date(Date.now() + 20 * SECOND_MS).toISOString());
  await passTime(19 * SECOND_MS, luma.activity);
  expect(syncs()).toBe(0);
  await passTime(2 * SECOND_MS, luma.activity);
  expect(syncs()).toBe(1);
});

test("An event that is canceled on lu.ma is off the page within a minute of the call", async () => {
  const page = () => t.query(api.events.queries.getOrgEvents, { orgId, now: NOW });
  expect((await page())?.upcoming).toHaveLength(1);
  luma.dropEvent("evt-1");
  const body = JSON.stringify({ type: "event.canceled", data: { id: "evt-1" } });
  expect((await call({ body })).status).toBe(200);
  await passTime(MINUTE_MS, luma.activity);
  expect((await page())?.upcoming).toEqual([]);
});

test.for(["event.created", "event.updated", "event.canceled", "calendar.event.added"])(
  "A call of the type %s leads to a sync",
  async (type) => {
    expect(await syncsAfter({ body: JSON.stringify({ type, data: {} }) })).toBe(1);
  },
);

test.for([
  JSON.stringify({ type: "guest.registered", data: {} }),
  JSON.stringify({ type: "event.updated.later" }),
  JSON.stringify({ type: 5 }),
  JSON.stringify({}),
  "[]",
  "null",
  "no JSON",
  "",
])("A valid call with the body '%s' is accepted, but leads to no sync", async (body) => {
  expect(await syncsAfter({ body })).toBe(0);
  expect((await status()).liveUpdates).not.toBe("no call yet");
});

test.for<[what: string, toHeader: (valid: string) => string]>([
  ["between spaces", (valid) => `t=${seconds()} , v1=${valid} `],
  ["in capitals", (valid) => `t=${seconds()},v1=${valid.toUpperCase()}`],
  ["among others", (valid) => `t=${seconds()},v1=${WRONG},v0=x,v1=${valid}`],
  ["in front of its time", (valid) => `v1=${valid},t=${seconds()}`],
  [
    "in a header of 1,000 characters",
    (valid) => `t=${seconds()},v1=${valid}`.padEnd(999, " ") + ",",
  ],
])("A valid signature %s is accepted", async ([, toHeader]) => {
  const body = JSON.stringify({ type: "event.updated" });
  expect((await call({ body, header: toHeader(sign(body)) })).status).toBe(200);
});

test.for<[minutes: number, outcome: "accepted" | "refused"]>([
  [-5, "accepted"],
  [5, "accepted"],
  [-5.02, "refused"],
  [5.02, "refused"],
])("A call whose time is %d minutes off is %s", async ([minutes, outcome]) => {
  setTime(Math.ceil(Date.now() / SECOND_MS) * SECOND_MS);
  const response = await call({ time: seconds(Date.now() + minutes * MINUTE_MS) });
  if (outcome === "accepted") expect(response.status).toBe(200);
  else await expectRefused(response);
});

test.for<[what: string, toHeader: (time: string) => string]>([
  ["without a signature header", () => ""],
  ["without a signature", (time) => `t=${time}`],
  ["without a time", () => `v1=${WRONG}`],
  ["with two times", (time) => `t=${time},t=${time},v1=${WRONG}`],
  ["with a time that isn't a number", () => `t=now,v1=${WRONG}`],
  ["with a signature that isn't hexadecimal", (time) => `t=${time},v1=${"x".repeat(64)}`],
  ["with a signature that is too long", (time) => `t=${time},v1=${WRONG}0`],
  ["with something before its time", (time) => `at=${time},v1=${WRONG}`],
  ["with something after its time", (time) => `t=${time}s,v1=${WRONG}`],
  ["with something before its signature", (time) => `t=${time},rv1=${WRONG}`],
  ["with a header of over 1,000 characters", (time) => `t=${time}${`,v1=${WRONG}`.repeat(15)}`],
])("A call %s is refused before anything is read", async ([, toHeader]) => {
  const response = await call({ header: toHeader(seconds()) });
  expect(counted.counts).toMatchObject({ queries: 0, documentsRead: 0 });
  await expectRefused(response);
  expect(console.warn).not.toHaveBeenCalled();
});

test("A call that is signed with another secret is refused and logged", async () => {
  await expectRefused(await call({ secret: "whsec_another" }));
  expect(vi.mocked(console.warn).mock.calls).toEqual([
    [`lu.ma webhook: a call for organization ${orgId} had an invalid signature.`],
  ]);
});

test("A call is refused if its body or time isn't what was signed", async () => {
  const header = `t=${seconds()},v1=${sign("{}")}`;
  await expectRefused(await call({ header, body: "{ }" }));
  await expectRefused(await call({ header, body: "\ufeff{}" }));
  const later = seconds(Date.now() + SECOND_MS);
  await expectRefused(await call({ header: `t=${later},v1=${sign("{}")}`, body: "{}" }));
});

test("A signature covers the body's byte order mark", async () => {
  const body = new TextEncoder().encode(`\ufeff${JSON.stringify({ type: "event.updated" })}`);
  expect(await syncsAfter({ body })).toBe(1);
});

test("A body of 1 MiB is accepted, and one of 1.1 MB is refused", async () => {
  const padded = (bytes: number) => {
    const body = JSON.stringify({ type: "event.updated", data: "" });
    return body.replace('""', `"${"x".repeat(bytes - body.length)}"`);
  };
  await expectRefused(await call({ body: padded(1_100_000) }));
  expect(console.warn).not.toHaveBeenCalled();
  expect(await syncsAfter({ body: padded(1024 * 1024) })).toBe(1);
});

const clearKey = () =>
  t.run((ctx) => ctx.db.patch("organizations", orgId, { lumaApiKey: undefined }));
const deleteOrg = () => t.run((ctx) => ctx.db.delete("organizations", orgId));
const insertMembership = () =>
  t.run((ctx) => ctx.db.insert("orgMemberships", { userId: "user-1", orgId, role: "member" }));
test.for<[what: string, toId: () => unknown]>([
  ["an invalid id", () => "acme"],
  ["no id", () => ""],
  ["a longer path", () => `${orgId}/x`],
  ["an id of another table", insertMembership],
  ["an organization without a secret", () => insertOrg(t, { name: "Other" })],
  ["a deleted organization", () => deleteOrg().then(() => orgId)],
  ["an organization whose key was cleared by hand", () => clearKey().then(() => orgId)],
])("A call for %s gets the same answer as a wrong signature", async ([, toId]) => {
  const path = `/luma/${String(await toId())}`;
  counted.reset();
  await expectUnauthorized(await call({ path }));
  expect(console.warn).not.toHaveBeenCalled();
});

test("The organization is read only if the signature is valid", async () => {
  await call({ secret: "whsec_another" });
  expect(counted.counts).toMatchObject({ organizationsRead: 0, documentsRead: 1 });
  await call();
  expect(counted.counts.organizationsRead).toBeGreaterThan(0);
});

test("A GET request is answered with 404", async () => {
  expect((await t.fetch(`/luma/${orgId}`)).status).toBe(404);
});

test("A changed secret replaces the old one at once", async () => {
  await configure({ lumaWebhookSecret: "whsec_new" });
  expect((await call()).status).toBe(401);
  expect((await call({ secret: "whsec_new" })).status).toBe(200);
});

test("A secret in an environment variable is read at each call", async () => {
  const lumaWebhookSecret = "env:LUMA_WEBHOOK_SECRET_ACME";
  await configure({ lumaWebhookSecret });
  expect((await status()).liveUpdates).toBe(
    "the environment variable LUMA_WEBHOOK_SECRET_ACME is not set on this deployment",
  );
  expect((await call()).status).toBe(401);
  vi.stubEnv("LUMA_WEBHOOK_SECRET_ACME", ` ${SECRET}\n`);
  expect((await status()).liveUpdates).toBe("no call yet");
  expect((await call()).status).toBe(200);
});

test("A repeated call counts as another one within 5 minutes, and is refused later", async () => {
  const [time, body] = [seconds(), JSON.stringify({ type: "event.updated" })];
  expect((await call({ time, body })).status).toBe(200);
  await passTime(MINUTE_MS, luma.activity);
  expect((await call({ time, body })).status).toBe(200);
  await passTime(5 * MINUTE_MS, luma.activity);
  // At 20 s, and 5 minutes after that.
  expect(syncs()).toBe(2);
  counted.reset();
  await expectRefused(await call({ time, body }));
});

test("A hundred calls in a minute lead to one sync, and to another 5 minutes later", async () => {
  for (let i = 0; i < 100; i += 1) {
    expect((await call()).status).toBe(200);
    await passTime(0.6 * SECOND_MS, luma.activity);
  }
  expect(syncs()).toBe(1);
  await passTime(30 * MINUTE_MS, luma.activity);
  expect(secondsBetweenSyncs()).toEqual([300]);
});

test("A call during a sync leads to another one, 5 minutes after that one began", async () => {
  luma.answerMs = ({ kind }) => (kind === "list" ? 20_000 : 0);
  await t.mutation(internal.events.sync.runFullEventSync, {});
  await passTime(5 * SECOND_MS, luma.activity);
  expect((await call()).status).toBe(200);
  await passTime(10 * MINUTE_MS, luma.activity);
  expect(secondsBetweenSyncs()).toEqual([300]);
});

test("A call syncs an organization again that failed permanently", async () => {
  luma.setCalendar("another", []);
  await configure({ lumaApiKey: "mistyped" });
  await passTime(10 * MINUTE_MS, luma.activity);
  expect((await status()).nextSyncAt).toBeNull();
  expect(await syncsAfter()).toBe(1);
});

test("The status says when the last valid call came, to the minute", async () => {
  expect(await status()).toMatchObject({ liveUpdates: "no call yet" });
  const now = new Date().toISOString().replace(/\d\d\dZ$/, "");
  await call({ secret: "whsec_another" });
  expect(await status()).toMatchObject({ liveUpdates: "no call yet" });
  await call({ body: JSON.stringify({ type: "guest.registered" }) });
  const first = (await status()).liveUpdates;
  expect(JSON.stringify(await t.run((ctx) => readSyncStatus(ctx, orgId)))).not.toContain(SECRET);
  expect(first).toContain(now);
  // The time is written at most once a minute.
  await passTime(59 * SECOND_MS);
  counted.reset();
  await call({ body: JSON.stringify({ type: "guest.registered" }) });
  expect(counted.counts.documentsWritten).toBe(0);
  await passTime(2 * SECOND_MS);
  await call({ body: JSON.stringify({ type: "guest.registered" }) });
  expect((await status()).liveUpdates).not.toBe(first);
  // Setting the same secret again changes nothing; a new one starts over.
  await configure({ lumaWebhookSecret: SECRET });
  expect((await status()).liveUpdates).not.toBe("no call yet");
  await configure({ lumaWebhookSecret: "whsec_new" });
  expect(await status()).toMatchObject({ liveUpdates: "no call yet" });
  await configure({ lumaWebhookSecret: null });
  expect(await status()).toMatchObject({ liveUpdates: "off" });
});

test("A call whose organization is disconnected before it is recorded is refused", async () => {
  await configure({ lumaWebhookSecret: null });
  const { acceptCall } = internal.events.webhook;
  expect(await t.mutation(acceptCall, { orgId, concernsEvents: true })).toBe(false);
});
