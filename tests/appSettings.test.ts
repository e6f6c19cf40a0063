/** What an app sets in `settings` of lumaApp.ts replaces the module's defaults. */
import { expect, vi } from "vitest";
import { api } from "../convex/_generated/api";
import { aStoredEvent, DAY_MS, HOUR_MS, insertOrg, wireEvents } from "./support/builders";
import { passTime } from "./support/clock";
import { startEngine } from "./support/engine";
import { failureOf, NOW, syncOrg, test } from "./support/fixtures";
import { status } from "./support/lumaServer";

vi.mock(import("../convex/lumaApp"), async (importOriginal) => ({
  ...(await importOriginal()),
  settings: {
    windowBackDays: 10,
    windowAheadDays: 20,
    retryAfterHours: [1, 2],
    singleRequests: 3,
    maxUpcoming: 10,
    maxPast: 0,
  },
}));

test("A sync uses the app's window, retry schedule and limit of single requests", async ({
  luma,
}) => {
  vi.spyOn(console, "log").mockReturnValue();
  const t = startEngine();
  const orgId = await insertOrg(t, { lumaApiKey: "key-1" });
  luma.setCalendar("key-1", wireEvents(5));
  expect(await syncOrg(t, luma, orgId)).toMatchObject({ inserted: 5, described: 3 });
  const [list] = luma.requestsOf("list");
  expect([list?.query.get("after"), list?.query.get("before")]).toEqual([
    new Date(NOW - 10 * DAY_MS).toISOString(),
    new Date(NOW + 20 * DAY_MS).toISOString(),
  ]);
  luma.failBetween(-Infinity, Infinity, status(404));
  luma.requests.length = 0;
  await failureOf(syncOrg(t, luma, orgId));
  await passTime(DAY_MS, luma.activity);
  const [first = 0, ...retries] = luma.requestsOf("list").map(({ at }) => at);
  expect(retries.map((at) => Math.round((at - first) / HOUR_MS))).toEqual([1, 2]);
});

test("A page and a dashboard show at most as many events as the app allows", async () => {
  const t = startEngine();
  const orgId = await insertOrg(t);
  await t.run(async (ctx) => {
    for (let i = 0; i < 40; i += 1) {
      const sign = i % 2 === 0 ? 1 : -1;
      const event = { lumaEventId: `evt-${i}`, startAt: NOW + sign * (i + 1) * HOUR_MS };
      await ctx.db.insert("events", aStoredEvent(orgId, event));
    }
  });
  const page = await t.query(api.events.queries.getOrgEvents, { orgId, now: NOW });
  expect([page?.upcoming.length, page?.past.length]).toEqual([10, 0]);
  const viewer = t.withIdentity({ subject: "stranger" });
  const { otherOrgEvents } = await viewer.query(api.events.queries.getDashboardEvents, {
    now: NOW,
  });
  expect(otherOrgEvents).toHaveLength(10);
});
