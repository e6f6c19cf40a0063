import { beforeEach, describe, expect, test, vi } from "vitest";
import { internal } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import { getOrg, insertOrg } from "./support/builders";
import { startEngine, type Engine } from "./support/engine";
import { reasonOf } from "./support/fixtures";

const { createOrg, setLumaConfig } = internal.orgs.mutations;

let t: Engine;
beforeEach(() => {
  t = startEngine();
});

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

  test("forgets the last error with the key, because no sync would clear it", async () => {
    await configure({ lumaApiKey: "key-1" });
    await t.run((ctx) => ctx.db.patch("organizations", orgId, { eventsSyncError: "rejected" }));
    expect((await configure({ lumaCalendarUrl: "https://lu.ma/a" })).eventsSyncError).toBe(
      "rejected",
    );
    expect(await configure({ lumaApiKey: null })).not.toHaveProperty("eventsSyncError");
  });

  test.for([
    "http://lu.ma/acme",
    "https://lu.ma.evil.example/acme",
    "https://evil.example/lu.ma",
    "https://lu.ma@evil.example/",
    "https://me:pass@lu.ma/acme",
    "https://lu.ma:8443/acme",
    "https://lu.\nma/acme",
    "javascript:alert(1)//lu.ma",
    "lu.ma/acme",
    "",
    `https://lu.ma/${"x".repeat(2_000)}`,
  ])("refuses the calendar URL %j", async (lumaCalendarUrl) => {
    expect(await reasonOf(configure({ lumaCalendarUrl }))).toContain(
      "https URL on lu.ma or luma.com",
    );
    expect(await getOrg(t, orgId)).not.toHaveProperty("lumaCalendarUrl");
  });

  test.for(["", "  ", "two words", "kéy", "env:", "env:CONVEX_DEPLOY_KEY", "ENV:LUMA_API_KEY"])(
    "refuses the key %j, naming the organization",
    async (lumaApiKey) => {
      expect(await reasonOf(configure({ lumaApiKey }))).toContain('"Acme"');
      expect(await getOrg(t, orgId)).not.toHaveProperty("lumaApiKey");
    },
  );

  test("accepts the name of a variable, set or not", async () => {
    expect((await configure({ lumaApiKey: "env:LUMA_API_KEY_ACME" })).lumaApiKey).toBe(
      "env:LUMA_API_KEY_ACME",
    );
    expect((await configure({ lumaApiKey: "env:LUMA_API_KEY" })).lumaApiKey).toBe(
      "env:LUMA_API_KEY",
    );
  });

  test.for<[string, string]>([
    ["secret-1", "secret-1"],
    ["env:LUMA_API_KEY_A", "env:LUMA_API_KEY_A"],
    ["env:LUMA_API_KEY_A", "secret-1"],
    ["secret-1", "env:LUMA_API_KEY_A"],
    ["env:LUMA_API_KEY_A", "env:LUMA_API_KEY_B"],
    ["env:LUMA_API_KEY_UNSET", "env:LUMA_API_KEY_UNSET"],
  ])("with %s taken, refuses %s, naming who has it but not the key", async ([taken, wanted]) => {
    vi.stubEnv("LUMA_API_KEY_A", "secret-1");
    vi.stubEnv("LUMA_API_KEY_B", " secret-1\n");
    await insertOrg(t, { name: "First", lumaApiKey: taken });
    const reason = await reasonOf(configure({ lumaApiKey: wanted }));
    expect(reason).toContain('"First" already has this lu.ma API key');
    expect(reason).not.toContain("secret-1");
    expect(await getOrg(t, orgId)).not.toHaveProperty("lumaApiKey");
  });

  test("lets an organization keep its own key, and others have other ones", async () => {
    vi.stubEnv("LUMA_API_KEY_A", "secret-1");
    await insertOrg(t, { name: "Unset", lumaApiKey: "env:LUMA_API_KEY_UNSET" });
    await configure({ lumaApiKey: "secret-1" });
    await configure({ lumaApiKey: "secret-1" });
    await configure({ lumaApiKey: "env:LUMA_API_KEY_A" });
    expect((await configure({ lumaApiKey: "env:LUMA_API_KEY_ALSO_UNSET" })).lumaApiKey).toBe(
      "env:LUMA_API_KEY_ALSO_UNSET",
    );
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
