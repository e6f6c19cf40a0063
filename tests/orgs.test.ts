import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import { getOrg, insertOrg } from "./support/builders";
import { useRealTime, useSimulatedTime } from "./support/clock";
import { startEngine, type Engine } from "./support/engine";
import { NOW, reasonOf } from "./support/fixtures";

const { setLumaConfig } = internal.orgs.mutations;
const { createOrg } = internal.orgs.createOrg;

// In simulated time, in which the queue's worker does nothing.
let t: Engine;
beforeEach(() => {
  useSimulatedTime(NOW);
  t = startEngine();
});
afterEach(useRealTime);

describe("createOrg", () => {
  test("creates an organization that is not connected yet", async () => {
    const logoUrl = "https://images.example/logo.png";
    const orgId = await t.mutation(createOrg, { name: " Acme ", slug: "acme", logoUrl });
    expect(await getOrg(t, orgId)).toEqual({
      _id: orgId,
      _creationTime: expect.any(Number) as number,
      name: "Acme",
      slug: "acme",
      logoUrl,
    });
  });

  test("refuses a slug that is taken, naming who has it", async () => {
    await t.mutation(createOrg, { name: "Acme", slug: "acme" });
    const reason = await reasonOf(t.mutation(createOrg, { name: "Other", slug: " acme" }));
    expect(reason).toContain('"acme" is taken by the organization "Acme"');
    await t.mutation(createOrg, { name: "Without a slug" });
    await t.mutation(createOrg, { name: "Without a slug either" });
  });

  test.for([
    "data:image/png;base64,AAAA",
    "logo.png",
    "",
    `https://x.example/${"x".repeat(2_000)}`,
  ])("refuses the logo %s", async (logoUrl) => {
    const reason = await reasonOf(t.mutation(createOrg, { name: "Acme", logoUrl }));
    expect(reason).toContain("http(s) URL of at most 2,000 characters");
  });

  test("refuses an empty name or slug", async () => {
    expect(await reasonOf(t.mutation(createOrg, { name: " " }))).toContain("needs a name");
    expect(await reasonOf(t.mutation(createOrg, { name: "A", slug: "" }))).toContain(
      "slug is empty",
    );
  });
});

describe("setLumaConfig", () => {
  let orgId: Id<"organizations">;
  beforeEach(async () => {
    orgId = await insertOrg(t, { name: "Acme", lumaApiKey: undefined });
  });

  async function configure(config: {
    lumaCalendarUrl?: string | null;
    lumaApiKey?: string | null;
  }) {
    await t.mutation(setLumaConfig, { orgId, ...config });
    return await getOrg(t, orgId);
  }

  test("sets what is given, leaves what is not, and clears what is null", async () => {
    const lumaCalendarUrl = "https://lu.ma/acme";
    expect(await configure({ lumaCalendarUrl, lumaApiKey: " key-1 \n" })).toMatchObject({
      lumaCalendarUrl,
      lumaApiKey: "key-1",
    });
    expect(await configure({ lumaCalendarUrl: " https://luma.com/acme " })).toMatchObject({
      lumaCalendarUrl: "https://luma.com/acme",
      lumaApiKey: "key-1",
    });
    const cleared = await configure({ lumaCalendarUrl: null, lumaApiKey: null });
    expect(cleared).not.toHaveProperty("lumaCalendarUrl");
    expect(cleared).not.toHaveProperty("lumaApiKey");
  });

  test.for<[string, string | null]>([
    ["cleared", null],
    ["set", "key-2"],
    ["set again", "key-1"],
  ])("forgets the last error when the key is %s", async ([, lumaApiKey]) => {
    await configure({ lumaApiKey: "key-1" });
    await t.run((ctx) => ctx.db.patch("organizations", orgId, { eventsSyncError: "rejected" }));
    const kept = await configure({ lumaCalendarUrl: "https://lu.ma/a" });
    expect(kept.eventsSyncError).toBe("rejected");
    expect(await configure({ lumaApiKey })).not.toHaveProperty("eventsSyncError");
  });

  test.for<[string, string]>([
    ["https://lu.ma/acme", "https://lu.ma/acme"],
    [" HTTPS://LuMa.com/Acme ", "https://luma.com/Acme"],
    ["https://lu.ma", "https://lu.ma/"],
    ["https://lu.ma:443/a/../acme", "https://lu.ma/acme"],
    ["https://lu.ma/café", "https://lu.ma/caf%C3%A9"],
    [
      "https://lu.ma/embed/calendar/cal-1/events?theme=dark",
      "https://lu.ma/embed/calendar/cal-1/events?theme=dark",
    ],
  ])(
    "stores the calendar URL %s as the URL parser writes it",
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
  ])("refuses the calendar URL %j", async (lumaCalendarUrl) => {
    expect(await reasonOf(configure({ lumaCalendarUrl }))).toContain(
      "https URL on lu.ma or luma.com, such as https://lu.ma/embed/calendar/cal-…/events.",
    );
    expect(await getOrg(t, orgId)).not.toHaveProperty("lumaCalendarUrl");
  });

  test.for([
    "",
    "  ",
    "two words",
    "kéy",
    "a\u001bb",
    "x".repeat(201),
    "env:",
    "env:CONVEX_DEPLOY_KEY",
    "ENV:LUMA_API_KEY",
    "env:LUMA_API_KEY_A-B",
    "env:LUMA_API_KEY_A B",
    "env:LUMA_API_KEY_A;",
    `env:LUMA_API_KEY${"A".repeat(29)}`,
  ])("refuses the key %j, naming the organization", async (lumaApiKey) => {
    expect(await reasonOf(configure({ lumaApiKey }))).toContain('"Acme"');
    expect(await getOrg(t, orgId)).not.toHaveProperty("lumaApiKey");
  });

  test.for(["LUMA_API_KEY_ACME", "LUMA_API_KEY", " luma_api_key_acme "])(
    "refuses %s, which is a variable's name and not a key, with the hint to write env: before it",
    async (lumaApiKey) => {
      expect(await reasonOf(configure({ lumaApiKey }))).toContain("write env: before it");
      expect(await getOrg(t, orgId)).not.toHaveProperty("lumaApiKey");
    },
  );

  test("accepts a key of 200 characters", async () => {
    const lumaApiKey = "x".repeat(200);
    expect(await configure({ lumaApiKey })).toMatchObject({ lumaApiKey });
  });

  test.for(["env:LUMA_API_KEY_ACME", "env:LUMA_API_KEY", `env:LUMA_API_KEY${"A".repeat(28)}`])(
    "accepts %s, the name of a variable, set or not",
    async (lumaApiKey) => {
      expect((await configure({ lumaApiKey: ` ${lumaApiKey}\n` })).lumaApiKey).toBe(lumaApiKey);
    },
  );

  test("accepts a key that only looks like a variable's name further on", async () => {
    expect((await configure({ lumaApiKey: "secret-LUMA_API_KEY" })).lumaApiKey).toBe(
      "secret-LUMA_API_KEY",
    );
  });

  test.for<[string, string]>([
    ["", "the lu.ma API key is empty: give one, or null to disconnect"],
    [
      "two words",
      "has more than 200 characters, or contains spaces or others that no key has: copy it",
    ],
    ["env:X", "such as env:LUMA_API_KEY_BERLIN"],
  ])("says of the key %j what is wrong with it", async ([lumaApiKey, what]) => {
    expect(await reasonOf(configure({ lumaApiKey }))).toContain(what);
  });

  test("lets two organizations have one calendar", async () => {
    await insertOrg(t, { name: "Parent", lumaApiKey: "secret-1" });
    expect((await configure({ lumaApiKey: "secret-1" })).lumaApiKey).toBe("secret-1");
  });

  test("changes nothing when part of it is refused", async () => {
    const config = { lumaCalendarUrl: "https://lu.ma/acme", lumaApiKey: "two words" };
    await reasonOf(configure(config));
    expect(await getOrg(t, orgId)).not.toHaveProperty("lumaCalendarUrl");
  });

  test("says which organization does not exist", async () => {
    await t.run((ctx) => ctx.db.delete("organizations", orgId));
    expect(await reasonOf(t.mutation(setLumaConfig, { orgId }))).toContain(orgId);
  });
});

describe("getById", () => {
  test("is null for an organization that does not exist", async () => {
    const orgId = await insertOrg(t);
    await t.run((ctx) => ctx.db.delete("organizations", orgId));
    expect(await t.query(internal.orgs.queries.getById, { orgId })).toBeNull();
  });
});

describe("getSyncStatus", () => {
  const { getSyncStatus } = internal.orgs.queries;

  test("says of each organization with a key how it is connected and how its syncs went, never the key", async () => {
    vi.stubEnv("LUMA_API_KEY_ACME", "secret-1");
    const synced = await insertOrg(t, {
      name: "Synced",
      lumaApiKey: "env:LUMA_API_KEY_ACME",
      eventsLastSynced: Date.UTC(2026, 8, 1, 7),
    });
    const failed = await insertOrg(t, {
      name: "Failed",
      lumaApiKey: "secret-2",
      eventsSyncError: "why",
    });
    await insertOrg(t, { name: "Embed only", lumaApiKey: undefined });
    await insertOrg(t, { name: "Blank", lumaApiKey: " " });
    const status = await t.query(getSyncStatus, {});
    expect(status.page).toEqual([
      {
        orgId: synced,
        name: "Synced",
        connectedBy: "env:LUMA_API_KEY_ACME",
        calendar: null,
        lastSyncedAt: "2026-09-01T07:00:00.000Z",
        error: null,
        nextSyncAt: null,
      },
      {
        orgId: failed,
        name: "Failed",
        connectedBy: "a stored key",
        calendar: null,
        lastSyncedAt: null,
        error: "why",
        nextSyncAt: null,
      },
    ]);
    expect(status.isDone).toBe(true);
    expect(JSON.stringify(status.page)).not.toContain("secret");
  });

  test.for(["env:secret-key", "env:LUMA_API_KEY secret", "ENV:LUMA_API_KEY_A"])(
    "shows nothing of %s, which is no variable's name",
    async (lumaApiKey) => {
      await insertOrg(t, { lumaApiKey });
      const { page } = await t.query(getSyncStatus, {});
      expect(page).toMatchObject([{ connectedBy: "a stored key" }]);
    },
  );

  test("comes in pages of 100 unless told otherwise", async () => {
    for (let i = 0; i < 101; i += 1) await insertOrg(t, { name: `Org ${i}` });
    const { page, isDone } = await t.query(getSyncStatus, {});
    expect([page.length, isDone]).toEqual([100, false]);
  });

  test("comes in pages", async () => {
    for (const name of ["a", "b", "c"]) await insertOrg(t, { name });
    const first = await t.query(getSyncStatus, { numItems: 2 });
    const rest = await t.query(getSyncStatus, { numItems: 2, cursor: first.continueCursor });
    expect([first.isDone, rest.isDone]).toEqual([false, true]);
    expect([...first.page, ...rest.page].map(({ name }) => name)).toEqual(["a", "b", "c"]);
  });
});
