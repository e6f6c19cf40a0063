/** Gives each test its own stand-in for lu.ma, on loopback and in simulated time. */
import { ConvexError } from "convex/values";
import { test as base, vi } from "vitest";
import type { Id } from "../../convex/_generated/dataModel";
import { internal } from "../../convex/_generated/api";
import type { SyncFailure } from "../../convex/events/failure";
import type { SyncCounts } from "../../convex/events/sync";
import { settle, useRealTime, useSimulatedTime } from "./clock";
import type { Engine } from "./engine";
import { LumaServer } from "./lumaServer";

/** Noon, so that no test depends on when a day begins. */
export const NOW = Date.parse("2026-09-01T12:00:00.000Z");

export const test = base.extend<{ luma: LumaServer }>({
  // vitest reads the dependencies of a fixture from this pattern.
  // eslint-disable-next-line no-empty-pattern
  luma: async ({}, use) => {
    const luma = await LumaServer.start();
    vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url());
    useSimulatedTime(NOW);
    await use(luma);
    useRealTime();
    await luma.stop();
  },
});

/** Syncs one organization, as an administrator would. */
export async function syncOrg(
  t: Engine,
  luma: LumaServer,
  orgId: Id<"organizations">,
): Promise<SyncCounts> {
  return await settle(t.action(internal.events.sync.syncOrgEvents, { orgId }), luma.activity);
}

/** The ids of the events that were requested since the last call; `null` for requests at the older address. */
export function takeEventIds(luma: LumaServer): (string | null)[] {
  const ids = luma.requestsOf("event").map(({ query }) => query.get("event_id"));
  luma.requests.length = 0;
  return ids;
}

/** The message that a person reads when a call fails. */
export async function reasonOf(promise: Promise<unknown>): Promise<string> {
  const error = await errorOf(promise);
  if (!(error instanceof ConvexError)) return (error as Error).message;
  const data = error.data as string | SyncFailure;
  return typeof data === "string" ? data : data.message;
}

/** What a failed sync throws to its caller. */
export async function failureOf(promise: Promise<unknown>): Promise<SyncFailure> {
  const error = await errorOf(promise);
  if (error instanceof ConvexError) return error.data as SyncFailure;
  throw error;
}

async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("the call did not fail");
}

/** Routes requests for lu.ma's own hosts to the stand-in, over real HTTP, and returns the hosts. */
export function routeLumaHosts(luma: LumaServer, unreachable: string[] = []): string[] {
  vi.stubEnv("LUMA_LIST_EVENTS_URL", undefined);
  const hosts: string[] = [];
  const realFetch = globalThis.fetch;
  vi.stubGlobal("fetch", async (input: string, init: RequestInit) => {
    const url = new URL(input);
    hosts.push(url.host);
    // Nobody listens on port 1.
    const origin = unreachable.includes(url.host) ? "http://127.0.0.1:1" : luma.origin;
    return await realFetch(`${origin}${url.pathname}${url.search}`, init);
  });
  return hosts;
}
