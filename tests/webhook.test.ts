/** lu.ma's webhook calls: which are taken, what they lead to, and that all others look alike. */
import { expect, vi } from "vitest";
import { api, internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import { readSyncStatus } from "../convex/events/settings";
import { aWireEvent, insertOrg } from "./support/builders";
import { passTime, setTime } from "./support/clock";
import { startCountedEngine, type CountedEngine } from "./support/counting";
import { NOW, test } from "./support/fixtures";
import type { LumaServer } from "./support/lumaServer";
import { signCall } from "./support/webhook";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const KEY = "secret-4711";
const SECRET = "whsec_0815";
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

async function expectRefused(response: Response): Promise<void> {
  expect(response.status).toBe(401);
  expect(await response.text()).toBe("Unauthorized");
  expect(counted.counts.documentsWritten).toBe(0);
  expect((await status()).nextSyncAt).toBeNull();
}

test("A good call has the organization synced 20 s later", async () => {
  expect((await call()).status).toBe(200);
  expect((await status()).nextSyncAt).toBe(new Date(Date.now() + 20 * SECOND_MS).toISOString());
  await passTime(19 * SECOND_MS, luma.activity);
  expect(syncs()).toBe(0);
  await passTime(2 * SECOND_MS, luma.activity);
  expect(syncs()).toBe(1);
});

test("An event that lu.ma cancels is off the page within a minute of the call", async () => {
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
])("A call that says %s is good, and means nothing", async (body) => {
  expect(await syncsAfter({ body })).toBe(0);
  expect((await status()).liveUpdates).not.toBe("no call yet");
});

test.for<{ what: string; header: (good: string) => string }>([
  { what: "with spaces", header: (good) => `t=${seconds()} , v1=${good} ` },
  { what: "in capitals", header: (good) => `t=${seconds()},v1=${good.toUpperCase()}` },
  {
    what: "among several",
    header: (good) => `t=${seconds()},v1=${"0".repeat(64)},v0=x,v1=${good}`,
  },
  { what: "before its time", header: (good) => `v1=${good},t=${seconds()}` },
])("A signature $what is good", async ({ header }) => {
  const body = JSON.stringify({ type: "event.updated" });
  expect((await call({ body, header: header(sign(body)) })).status).toBe(200);
});

test.for<{ minutes: number; isGood: boolean }>([
  { minutes: -5, isGood: true },
  { minutes: 5, isGood: true },
  { minutes: -5.02, isGood: false },
  { minutes: 5.02, isGood: false },
])("A call whose time is off by $minutes minutes is good: $isGood", async ({ minutes, isGood }) => {
  setTime(Math.ceil(Date.now() / SECOND_MS) * SECOND_MS);
  const response = await call({ time: seconds(Date.now() + minutes * MINUTE_MS) });
  if (isGood) expect(response.status).toBe(200);
  else await expectRefused(response);
});

test.for<{ what: string; header: string }>([
  { what: "no header", header: "" },
  { what: "no signature", header: `t=${seconds(NOW)}` },
  { what: "no time", header: `v1=${"0".repeat(64)}` },
  { what: "two times", header: `t=${seconds(NOW)},t=${seconds(NOW)},v1=${"0".repeat(64)}` },
  { what: "a time that is no number", header: `t=now,v1=${"0".repeat(64)}` },
  { what: "a signature that is not hexadecimal", header: `t=${seconds(NOW)},v1=${"x".repeat(64)}` },
  {
    what: "a header of more than 1,000 characters",
    header: `t=${seconds(NOW)},v1=${"0".repeat(1_000)}`,
  },
])("A call with $what is refused before anything is read", async ({ header }) => {
  setTime(NOW + 10 * MINUTE_MS);
  const now = header.replaceAll(seconds(NOW), seconds());
  counted.reset();
  const response = await call({ header: now });
  expect(counted.counts).toMatchObject({ queries: 0, documentsRead: 0 });
  await expectRefused(response);
  expect(console.warn).not.toHaveBeenCalled();
});

test("A call with another secret's signature is refused, and is one line of the log", async () => {
  await expectRefused(await call({ secret: "whsec_another" }));
  expect(vi.mocked(console.warn).mock.calls).toEqual([
    [`lu.ma webhook: a call for organization ${orgId} had an invalid signature.`],
  ]);
});

test("A call is refused when its body or its time is not what was signed", async () => {
  const header = `t=${seconds()},v1=${sign("{}")}`;
  await expectRefused(await call({ header, body: "{ }" }));
  await expectRefused(await call({ header, body: "\ufeff{}" }));
  const later = seconds(Date.now() + SECOND_MS);
  await expectRefused(await call({ header: `t=${later},v1=${sign("{}")}`, body: "{}" }));
});

test("A body with a byte order mark is checked as it came", async () => {
  const body = new TextEncoder().encode(`\ufeff${JSON.stringify({ type: "event.updated" })}`);
  expect([...body.slice(0, 3)]).toEqual([0xef, 0xbb, 0xbf]);
  expect(await syncsAfter({ body })).toBe(1);
});

test("A body of 1 MiB is read, and one of 1.1 MB refused", async () => {
  const padded = (bytes: number) => {
    const body = JSON.stringify({ type: "event.updated", data: "" });
    return body.replace('""', `"${"x".repeat(bytes - body.length)}"`);
  };
  await expectRefused(await call({ body: padded(1_100_000) }));
  expect(await syncsAfter({ body: padded(1024 * 1024) })).toBe(1);
});

test.for<{ what: string; path: () => Promise<string> }>([
  { what: "an id that is none", path: () => Promise.resolve("/luma/acme") },
  { what: "no id", path: () => Promise.resolve("/luma/") },
  { what: "an id and more", path: () => Promise.resolve(`/luma/${orgId}/x`) },
  {
    what: "another table's id",
    path: async () => {
      const membership = { userId: "user-1", orgId, role: "member" as const };
      return `/luma/${await t.run((ctx) => ctx.db.insert("orgMemberships", membership))}`;
    },
  },
  {
    what: "an organization without a secret",
    path: async () => `/luma/${await insertOrg(t, { name: "Other" })}`,
  },
  {
    what: "an organization that was deleted",
    path: async () => {
      await t.run((ctx) => ctx.db.delete("organizations", orgId));
      return `/luma/${orgId}`;
    },
  },
  {
    what: "an organization that was disconnected by hand",
    path: async () => {
      await t.run((ctx) => ctx.db.patch("organizations", orgId, { lumaApiKey: undefined }));
      return `/luma/${orgId}`;
    },
  },
])("A call for $what is refused like any other", async ({ path }) => {
  const given = await path();
  counted.reset();
  const response = await call({ path: given });
  expect(response.status).toBe(401);
  expect(await response.text()).toBe("Unauthorized");
  expect(counted.counts.documentsWritten).toBe(0);
  expect(console.warn).not.toHaveBeenCalled();
});

test("The organization is read only after the signature has matched", async () => {
  await call({ secret: "whsec_another" });
  expect(counted.counts).toMatchObject({ organizationsRead: 0, documentsRead: 1 });
  await call();
  expect(counted.counts.organizationsRead).toBeGreaterThan(0);
});

test("A GET is not found", async () => {
  expect((await t.fetch(`/luma/${orgId}`)).status).toBe(404);
});

test("A secret that was changed counts from then on, and the old one no more", async () => {
  await configure({ lumaWebhookSecret: "whsec_new" });
  expect((await call()).status).toBe(401);
  expect((await call({ secret: "whsec_new" })).status).toBe(200);
});

test("A secret in a variable is read at each call", async () => {
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

test("A call that is sent again within 5 minutes means what a second call means, and later nothing", async () => {
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

test("A hundred calls in a minute are one sync, and one more 5 minutes after it began", async () => {
  for (let i = 0; i < 100; i += 1) {
    expect((await call()).status).toBe(200);
    await passTime(0.6 * SECOND_MS, luma.activity);
  }
  expect(syncs()).toBe(1);
  await passTime(30 * MINUTE_MS, luma.activity);
  const [first, second, ...others] = luma.requestsOf("list").map(({ at }) => at);
  expect(others).toEqual([]);
  expect(Math.round(((second ?? 0) - (first ?? 0)) / SECOND_MS)).toBe(300);
});

test("A call while a sync is running leads to another one, 5 minutes after that one began", async () => {
  luma.answerMs = ({ kind }) => (kind === "list" ? 20_000 : 0);
  await t.mutation(internal.events.sync.runFullEventSync, {});
  await passTime(5 * SECOND_MS, luma.activity);
  expect((await call()).status).toBe(200);
  await passTime(10 * MINUTE_MS, luma.activity);
  const [first, second, ...others] = luma.requestsOf("list").map(({ at }) => at);
  expect(others).toEqual([]);
  expect(Math.round(((second ?? 0) - (first ?? 0)) / SECOND_MS)).toBe(300);
});

test("An organization that failed permanently is synced again after a call", async () => {
  luma.setCalendar("another", []);
  await configure({ lumaApiKey: "mistyped" });
  await passTime(10 * MINUTE_MS, luma.activity);
  expect((await status()).nextSyncAt).toBeNull();
  expect(await syncsAfter()).toBe(1);
});

test("The status says when the last good call came, to the minute", async () => {
  expect(await status()).toMatchObject({ liveUpdates: "no call yet" });
  const now = new Date().toISOString().replace(/\d\d\dZ$/, "");
  await call({ secret: "whsec_another" });
  expect(await status()).toMatchObject({ liveUpdates: "no call yet" });
  await call({ body: JSON.stringify({ type: "guest.registered" }) });
  const first = (await status()).liveUpdates;
  expect(first).toContain(now);
  // Written at most once a minute.
  await passTime(59 * SECOND_MS);
  counted.reset();
  await call({ body: JSON.stringify({ type: "guest.registered" }) });
  expect(counted.counts.documentsWritten).toBe(0);
  await passTime(2 * SECOND_MS);
  await call({ body: JSON.stringify({ type: "guest.registered" }) });
  expect((await status()).liveUpdates).not.toBe(first);
  // The same secret again changes nothing; a new one does.
  await configure({ lumaWebhookSecret: SECRET });
  expect((await status()).liveUpdates).not.toBe("no call yet");
  await configure({ lumaWebhookSecret: "whsec_new" });
  expect(await status()).toMatchObject({ liveUpdates: "no call yet" });
  await configure({ lumaWebhookSecret: null });
  expect(await status()).toMatchObject({ liveUpdates: "off" });
});
