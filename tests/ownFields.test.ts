/** Syncs in an app that has fields of its own, of any type, on every table. */
import { v } from "convex/values";
import { expect, vi } from "vitest";
import { api, internal } from "../convex/_generated/api";
import { lumaEvents } from "../convex/events/tables";
import schema from "../convex/schema";
import { aWireEvent, insertOrg, storedEvents } from "./support/builders";
import { passTime } from "./support/clock";
import { startEngine } from "./support/engine";
import { NOW, reasonOf, syncOrg, test } from "./support/fixtures";
import { failure } from "./support/lumaServer";
import { ownFieldsSchema } from "./support/ownFields";

test("lumaEvents adds fields of the app's own to the table of events", () => {
  const table = lumaEvents(v.id("organizations"), { likes: v.optional(v.number()) });
  const { likes, ...fields } = table.validator.fields;
  expect(likes).toEqual(v.optional(v.number()));
  expect(fields).toEqual(schema.tables.events.validator.fields);
  expect(table[" indexes"]()).toEqual(schema.tables.events[" indexes"]());
});

test("Syncs leave the app's own fields untouched, and visitors never see them", async ({
  luma,
}) => {
  vi.spyOn(console, "log").mockReturnValue();
  const t = startEngine({}, ownFieldsSchema);
  const own = { secret: ["secret", 1n, new ArrayBuffer(2)], deep: { secret: null } };
  const orgId = await insertOrg(t, { lumaApiKey: "key-1", own } as never);
  const membership = { userId: "user-1", orgId, role: "member" as const, own };
  await t.run((ctx) => ctx.db.insert("orgMemberships", membership as never));
  luma.setCalendar("key-1", [aWireEvent(), aWireEvent({ id: "evt-2" })]);
  await syncOrg(t, luma, orgId);
  await t.run(async (ctx) => {
    for (const event of await ctx.db.query("events").collect()) {
      await ctx.db.patch("events", event._id, { own } as never);
    }
  });
  expect(await syncOrg(t, luma, orgId)).toMatchObject({ unchanged: 2, described: 0 });
  luma.setCalendar("key-1", [aWireEvent({ name: "Renamed", description: "edited" })]);
  await t.mutation(internal.events.sync.runFullEventSync, {});
  await passTime(undefined, luma.activity);
  luma.setCalendar("key-1", [aWireEvent(), aWireEvent({ id: "evt-2" })]);
  expect(await syncOrg(t, luma, orgId)).toMatchObject({ updated: 2, described: 1 });

  luma.answerNext(failure(401, "No."));
  await reasonOf(syncOrg(t, luma, orgId));
  await t.mutation(internal.orgs.mutations.setLumaConfig, { orgId, lumaApiKey: "key-2" });

  for (const event of (await storedEvents(t)).values()) expect(event).toMatchObject({ own });
  expect(await t.run((ctx) => ctx.db.get("organizations", orgId))).toMatchObject({ own });
  const { getDashboardEvents, getOrgEvents } = api.events.queries;
  const member = t.withIdentity({ subject: "user-1" });
  const seen = [
    await t.query(getOrgEvents, { orgId, now: NOW }),
    await member.query(getDashboardEvents, { now: NOW }),
  ];
  expect(seen).toMatchObject([{ upcoming: [{}, {}] }, { userOrgEvents: [{}, {}] }]);
  expect(JSON.stringify(seen)).not.toMatch(/own"|secret/);
});
