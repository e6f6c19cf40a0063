/** What tests are given: a lu.ma of their own on loopback, in simulated time, cleaned up after each test. */
import { test as base, vi } from "vitest";
import type { Id } from "../../convex/_generated/dataModel";
import { internal } from "../../convex/_generated/api";
import type { SyncCounts } from "../../convex/events/validators";
import { settle, useSimulatedTime } from "./clock";
import { loadModules, type Engine } from "./engine";
import { LumaServer } from "./lumaServer";

/** Noon, so that no test depends on where a day begins. */
export const NOW = Date.parse("2026-09-01T12:00:00.000Z");

export const test = base.extend<{ luma: LumaServer }>({
  // vitest reads the dependencies of a fixture from this pattern.
  // eslint-disable-next-line no-empty-pattern
  luma: async ({}, use) => {
    await loadModules();
    const luma = await LumaServer.start();
    vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url());
    useSimulatedTime(NOW);
    await use(luma);
    vi.useRealTimers();
    await luma.stop();
  },
});

/** Syncs one organization as an administrator would. */
export async function syncOrg(
  t: Engine,
  luma: LumaServer,
  orgId: Id<"organizations">,
): Promise<SyncCounts> {
  return await settle(t.action(internal.events.sync.syncOrgEvents, { orgId }), luma.activity);
}

/** The sentence that somebody reads when a call fails. */
export async function reasonOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error && "data" in error) return String(error.data);
    return error instanceof Error ? error.message : String(error);
  }
  throw new Error("the call did not fail");
}
