/** A whole sync: what it mirrors, how it fails, and what happens if two run at once. */
import { getFunctionName } from "convex/server";
import { expect, vi } from "vitest";
import { api, internal } from "../convex/_generated/api";
import type { Doc, Id } from "../convex/_generated/dataModel";
import { isSameEvent } from "../convex/events/steps/changes";
import {
  aMirroredEvent,
  aWireEvent,
  beginSync,
  getOrg,
  insertOrg,
  MINUTE_MS,
  storedDescriptions,
  storedEvents,
  wireEvents,
} from "./support/builders";
import { passTime, passTimeUntil, setTime, settle } from "./support/clock";
import type { Engine } from "./support/engine";
import { startFaultyEngine, type FaultyEngine } from "./support/faults";
import { failureOf, NOW, syncOrg, test } from "./support/fixtures";
import { failure, OLDER_PATH, status } from "./support/lumaServer";
import type { Answer, LumaServer, RequestKind } from "./support/lumaServer";

const KEY = "secret-4711";
const { syncOrgEvents } = internal.events.sync;
const { endSync, beginSync: begin } = internal.events.queue.worker;
const { upsertEvents, describeEvents, updateOrgSyncTimestamp } = internal.events.mutations;

let luma: LumaServer;
let engine: FaultyEngine;
let t: Engine;
let orgId: Id<"organizations">;

test.beforeEach(async ({ luma: given }) => {
  luma = given;
  for (const method of ["log", "error"] as const) vi.spyOn(console, method).mockReturnValue();
  await connect();
});

/** Starts over, with one connected organization. */
async function connect(org: Partial<Doc<"organizations">> = {}): Promise<void> {
  engine = startFaultyEngine();
  t = engine.t;
  orgId = await insertOrg(t, { lumaApiKey: KEY, ...org });
}

const sync = () => syncOrg(t, luma, orgId);
const failed = () => failureOf(sync());
const org = () => getOrg(t, orgId);

function logged(method: "log" | "error" = "log"): string[] {
  return vi.mocked(console[method]).mock.calls.map(([line]) => String(line));
}

/** Has something happen during the next request to lu.ma, before it is answered. */
function meanwhile(happen: () => Promise<unknown>, answer = luma.answer, kind?: RequestKind) {
  const late: Answer = (...call) => void luma.waitFor(happen().then(() => answer(...call)));
  luma.answerNext(late, { kind: kind ?? "list" });
}

test("A sync mirrors a calendar, and writes no event if nothing has changed", async () => {
  luma.setCalendar(KEY, wireEvents(120));
  const counts = { fetched: 120, updated: 0, removed: 0, invalid: 0 };
  expect(await sync()).toEqual({ ...counts, inserted: 120, unchanged: 0, described: 100 });
  // The second sync fetches the remaining descriptions, and the third has nothing to do.
  expect(await sync()).toEqual({ ...counts, inserted: 0, unchanged: 120, described: 20 });
  const stored = await storedEvents(t);
  expect(stored.size).toBe(120);
  expect(await sync()).toEqual({ ...counts, inserted: 0, unchanged: 120, described: 0 });
  expect(await storedEvents(t)).toEqual(stored);
});

test("Switching to lu.ma's older address only changes full addresses to cities", async () => {
  luma.setCalendar(KEY, [aWireEvent(), aWireEvent({ id: "evt-2", geo_address_json: null })]);
  await sync();
  const before = (await storedEvents(t)).get("evt-1");
  vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
  expect(await sync()).toMatchObject({ updated: 1, unchanged: 1, described: 0 });
  const after = (await storedEvents(t)).get("evt-1");
  expect(after).toEqual({ ...before, location: "Berlin, Germany", syncedAt: after?.syncedAt });
});

test("A successful sync stores when it began, and clears the last error", async () => {
  await connect({ eventsSyncError: "rejected" });
  luma.setCalendar(KEY, wireEvents(150));
  await sync();
  expect(Date.now()).toBeGreaterThan(NOW);
  expect((await org()).eventsLastSynced).toBe(NOW);
  expect(await org()).not.toHaveProperty("eventsSyncError");
});

test("A sync updates renamed events, and hides ones that have become private", async () => {
  luma.setCalendar(KEY, wireEvents(3));
  await sync();
  const changes = [{ name: "Renamed" }, { visibility: "private" }, {}];
  const changed = wireEvents(3, (i) => changes[i] ?? {});
  luma.setCalendar(KEY, changed);
  expect(await sync()).toMatchObject({ updated: 2, unchanged: 1 });
  const page = await t.query(api.events.queries.getOrgEvents, { orgId, now: NOW });
  expect(page?.upcoming.map((event) => event.title)).toEqual(["Renamed", "Event evt-2"]);
});

test("An event that two calendars manage is on both pages, and isn't rewritten daily", async () => {
  const orgIds = [orgId, await insertOrg(t, { name: "Other", lumaApiKey: "key-2" })];
  for (const key of [KEY, "key-2"]) luma.setCalendar(key, [aWireEvent()]);
  for (const orgId of orgIds) await syncOrg(t, luma, orgId);
  for (const orgId of orgIds) {
    expect(await syncOrg(t, luma, orgId)).toMatchObject({ unchanged: 1, described: 0 });
    const page = await t.query(api.events.queries.getOrgEvents, { orgId, now: NOW });
    expect(page?.upcoming).toMatchObject([{ orgId, description: "What happens at evt-1" }]);
  }
});

test("Lists and objects in mirrored fields are compared by value", () => {
  const event = aMirroredEvent();
  const withTags = (...tags: string[]) => ({ ...event, location: { tags } as never });
  expect(isSameEvent(withTags("a", "b"), withTags("a", "b"))).toBe(true);
  expect(isSameEvent(withTags("a", "b"), withTags("b", "a"))).toBe(false);
});

test("Unreadable entries are counted and their events kept, and the rest is synced", async () => {
  luma.setCalendar(KEY, wireEvents(3));
  await sync();
  luma.setCalendar(KEY, [
    ...wireEvents(1, () => ({ name: "Renamed" })),
    aWireEvent({ id: "evt-1", start_at: "some day" }),
  ]);
  const counts = { fetched: 1, inserted: 0, updated: 1, unchanged: 0, removed: 1, invalid: 1 };
  expect(await sync()).toEqual({ ...counts, described: 0 });
  const stored = [...(await storedEvents(t)).values()];
  expect(stored.map(({ title, status }) => `${title}: ${status}`)).toEqual([
    "Renamed: listed",
    "Event evt-1: listed",
    "Event evt-2: removed",
  ]);
  expect((await org()).eventsLastSynced).toBeGreaterThan(NOW);
});

test("An unreadable entry is matched to its event even if the id is odd", async () => {
  const ids = ["evt-two  spaces", `evt-${KEY}`];
  const entries = (fields: object) => ids.map((id) => aWireEvent({ id, ...fields }));
  luma.setCalendar(KEY, entries({}));
  await sync();
  luma.setCalendar(KEY, [aWireEvent({ id: "valid" }), ...entries({ name: "" })]);
  luma.requests.length = 0;
  expect(await sync()).toMatchObject({ fetched: 1, removed: 0, invalid: 2 });
  // These requests are for descriptions, starting with the new event's.
  const asked = luma.requestsOf("event").map(({ query }) => query.get("event_id"));
  expect(asked).toEqual(["valid", ...ids]);
});

test("The log names the first 20 unreadable entries and their faults on one line", async () => {
  const toUnreadable = (i: number) => ({ id: i === 0 ? "" : `evt-${i}\u001b[2J`, name: "" });
  luma.setCalendar(KEY, [aWireEvent(), ...wireEvents(25, toUnreadable)]);
  await sync();
  const [line, ...more] = logged();
  expect(more).toEqual([]);
  expect(line).toContain(
    `lu.ma sync of "Acme" (${orgId}): ` +
      "fetched 1, inserted 1, updated 0, unchanged 0, removed 0, invalid 25, described 1",
  );
  expect(line).toContain(" Invalid: (no id) (no readable id); evt-1 [2J (name: ");
  expect(line).toContain("evt-19 [2J (name: ");
  expect(line).not.toContain("evt-20 ");
  expect(line).toContain("and 5 more");
  expect(line).not.toMatch(/\p{Cc}/u);
  expect(new TextEncoder().encode(line).length).toBeLessThan(4_096);
});

test("A sync that fails only changes eventsSyncError, to the error that it throws", async () => {
  luma.setCalendar(KEY, wireEvents(250));
  await sync();
  const [before, events] = [await org(), await storedEvents(t)];
  const renamed = wireEvents(250, () => ({ name: "Renamed" }));
  luma.setCalendar(KEY, renamed);
  for (let page = 1; page <= 2; page += 1) luma.answerNext(luma.answer);
  luma.answerNext(status(401, { message: `\u0007no such\u001b[2J key ${KEY}` }));
  const { message: reason, ...rest } = await failed();
  expect(rest).toEqual({ kind: "permanent" });
  expect(reason).toContain('Organization "Acme" was not synced: 127.0.0.1:');
  expect(reason).toContain('answered 401 for page 3 (1 attempt): "no such [2J key [API key]"');
  expect(reason).not.toContain(KEY);
  expect(await org()).toEqual({ ...before, eventsSyncError: reason });
  expect(await storedEvents(t)).toEqual(events);
});

test("A sync of an organization that doesn't exist names its id", async () => {
  await t.run((ctx) => ctx.db.delete("organizations", orgId));
  const { kind, message } = await failed();
  expect(kind).toBe("permanent");
  expect(message).toContain(`no organization with the id ${orgId}`);
});

test("A sync without a key says what to do, and stores no error", async () => {
  for (const lumaApiKey of [undefined, " "]) {
    await connect({ lumaApiKey });
    const { message, kind } = await failed();
    expect(kind).toBe("permanent");
    expect(message).toContain('"Acme" has no lu.ma API key');
    expect(message).toContain("setLumaConfig");
    expect(await org()).not.toHaveProperty("eventsSyncError");
  }
  expect(luma.requests).toEqual([]);
});

test("A sync tries three times to store its error, and throws it in any case", async () => {
  for (const times of [2, 3]) {
    await connect();
    engine.refuse(endSync, times);
    const { message } = await failed();
    expect(message).toContain("answered 401");
    expect((await org()).eventsSyncError).toBe(times === 2 ? message : undefined);
  }
  expect(logged("error")).toEqual([
    expect.stringMatching(`^Could not record how the sync of organization ${orgId} ended. .*401`),
  ]);
});

test("A sync whose stamp is written but never confirmed is retried", async () => {
  luma.setCalendar(KEY, wireEvents(2));
  engine.loseAnswer(updateOrgSyncTimestamp, 3);
  const { kind, message } = await failed();
  expect(kind).toBe("transient");
  expect(await org()).toMatchObject({ eventsLastSynced: NOW, eventsSyncError: message });
  await passTime(31 * MINUTE_MS, luma.activity);
  expect((await org()).eventsLastSynced).toBeGreaterThanOrEqual(NOW + 30 * MINUTE_MS);
  expect(await org()).not.toHaveProperty("eventsSyncError");
});

test("Events that are written again because an answer was lost count as unchanged", async () => {
  luma.setCalendar(KEY, wireEvents(2));
  engine.loseAnswer(upsertEvents);
  expect(await sync()).toMatchObject({ fetched: 2, inserted: 0, unchanged: 2 });
});

test("A sync whose organization is deleted right after it began says so", async () => {
  engine.watch(async (_run, called) => {
    if (called.endsWith(":beginSync")) await deleteOrg();
  });
  expect(await failed()).toEqual({
    message: `The organization with the id ${orgId} was deleted while it was being synced.`,
    kind: "ended",
  });
});

test("A sync logs on one line what it did and which calendar it was", async () => {
  luma.setCalendar(KEY, wireEvents(2));
  const counts = (fetched: number, inserted: number, unchanged: number, removed: number) =>
    `lu.ma sync of "Acme" (${orgId}): fetched ${fetched}, inserted ${inserted}, updated 0, ` +
    `unchanged ${unchanged}, removed ${removed}, invalid 0, described ${inserted}. Calendar Calendar 1 (cal-1).`;
  const asked = (count: number) => `Single events requested: ${count}.`;
  await sync();
  expect(logged()).toEqual([`${counts(2, 2, 0, 0)} ${asked(2)}`]);
  luma.dropEvent("evt-1");
  vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
  luma.setCalendar(KEY, [aWireEvent({ id: "evt-0", location_visibility: "guests-only" })]);
  await sync();
  expect(logged().at(-1)).toMatch(
    /described 0\. Used lu\.ma's older API, so places are only cities\. Missing from the list: 1\. Single events requested: 2/,
  );
});

test("An organization's name is cut to fit into an error", async () => {
  await connect({ name: `\u001b[2J${"long ".repeat(1_000)}` });
  const { message } = await failed();
  expect(message).toMatch(/^Organization " ?\[2Jlong .*answered 401/);
  expect(message.length).toBeLessThan(1_000);
});

const { getById } = internal.orgs.queries;
const { getApiKey, getStoredEvents } = internal.events.queries;
/** Has Convex refuse a step of the next sync, which inserts, updates, removes and describes an event. */
async function refuse(step: Parameters<FaultyEngine["refuse"]>[0], times: number): Promise<void> {
  luma.setCalendar(KEY, wireEvents(2));
  await sync();
  const renamed = aWireEvent({ id: "evt-0", name: "Renamed" });
  luma.setCalendar(KEY, [renamed, aWireEvent({ id: "new" })]);
  engine.refuse(step, times);
}
const { markEventsRemoved } = internal.events.mutations;
const writes = { upsertEvents, markEventsRemoved, updateOrgSyncTimestamp, describeEvents };
const STEPS = Object.entries({ beginSync: begin, getById, getApiKey, getStoredEvents, ...writes });

test.for(Object.entries(writes))(
  "A sync retries a refused %s after 1 and 3 s",
  async ([, step]) => {
    await refuse(step, 2);
    const startedAt = Date.now();
    const counts = { inserted: 1, updated: 1, removed: 1, described: 1 };
    expect(await sync()).toMatchObject(counts);
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(4_000);
    expect(Date.now() - startedAt).toBeLessThan(6_000);
  },
);

test.for(STEPS.slice(0, -1))(
  "A sync fails transiently if Convex refuses %s three times",
  async ([, step]) => {
    await refuse(step, 3);
    const { message, kind } = await failed();
    // Until the key is known, Convex isn't quoted, because its error might contain the key.
    const isEarly = [begin, getById, getApiKey].some((early) => early === step);
    const what = ` (${getFunctionName(step)} was refused). It will be retried automatically.`;
    const who = step === begin || step === getById ? orgId : "Acme";
    expect([kind, message]).toEqual([
      "transient",
      `Organization "${who}" was not synced: a call to Convex failed${isEarly ? "." : what}`,
    ]);
    expect((await org()).eventsSyncError).toBe(step === begin ? undefined : message);
    expect(await sync()).toMatchObject({ fetched: 2 });
    expect(await org()).not.toHaveProperty("eventsSyncError");
  },
);

test("A sync succeeds without descriptions if Convex refuses to write them", async () => {
  await refuse(describeEvents, 3);
  expect(await sync()).toMatchObject({ inserted: 1, described: 0 });
  expect(logged().at(-1)).toMatch(
    / Not all descriptions were written: a call to Convex failed \(events\/mutations:describeEvents was refused\)\.$/,
  );
  expect((await storedEvents(t)).get("new")?.isDescribed).toBe(false);
});

test("A key in an environment variable is read by each sync, and trimmed", async () => {
  await connect({ lumaApiKey: "env:LUMA_API_KEY_ACME" });
  luma.setCalendar(KEY, wireEvents(1));
  vi.stubEnv("LUMA_API_KEY_ACME", ` ${KEY}\n`);
  expect(await sync()).toMatchObject({ inserted: 1 });
  expect(luma.requests[0]?.key).toBe(KEY);
  expect(JSON.stringify(await org())).not.toContain(KEY);
});

const NOT_SENDABLE = "is longer than 200 characters, or contains";
const IN_VARIABLE = "env:LUMA_API_KEY_ACME";
const TOO_LONG = KEY.padEnd(201, "x");
const NOT_SET =
  "LUMA_API_KEY_ACME is not set on this deployment. Run npx convex env set LUMA_API_KEY_ACME.";
test.for<[what: string, lumaApiKey: string, value: string | undefined, said: string]>([
  ["in an unset variable", IN_VARIABLE, undefined, NOT_SET],
  ["with a line break", IN_VARIABLE, `${KEY}\n2`, `LUMA_API_KEY_ACME ${NOT_SENDABLE}`],
  ["of 201 characters in a variable", IN_VARIABLE, TOO_LONG, `LUMA_API_KEY_ACME ${NOT_SENDABLE}`],
  [
    "in a variable of another name",
    "env:AWS_SECRET",
    KEY,
    "at most 40 in all). Set it on the settings page, or with setLumaConfig.",
  ],
  ["of 201 characters", TOO_LONG, "", `the lu.ma API key ${NOT_SENDABLE}`],
])("A key %s is an error that doesn't contain it, and nothing is sent", async (row) => {
  const [, lumaApiKey, value, said] = row;
  for (const name of ["AWS_SECRET", "LUMA_API_KEY_ACME"]) vi.stubEnv(name, value);
  await connect({ lumaApiKey });
  const { message, kind } = await failed();
  expect(kind).toBe("permanent");
  expect(message).toContain('Organization "Acme"');
  expect(message).toContain(said);
  expect(message).not.toContain(KEY);
  expect((await org()).eventsSyncError).toBe(message);
  expect(luma.requests).toEqual([]);
});

const setKey = (lumaApiKey: string | null) =>
  t.mutation(internal.orgs.mutations.setLumaConfig, { orgId, lumaApiKey });
const clearKey = () =>
  t.run((ctx) => ctx.db.patch("organizations", orgId, { lumaApiKey: undefined }));
const deleteOrg = () => t.run((ctx) => ctx.db.delete("organizations", orgId));
const WAS_SET = '"Acme" was ended: the lu.ma API key was set in the meantime';
const DISCONNECTED = '"Acme" was disconnected';
test.for<[what: string, said: string, happen: () => Promise<unknown>]>([
  ["another key is set", WAS_SET, () => setKey("key-2")],
  ["the same key is set again", WAS_SET, () => setKey(KEY)],
  ["the key is cleared", DISCONNECTED, () => setKey(null)],
  ["the key is cleared by hand", DISCONNECTED, clearKey],
  ["its organization is deleted", "was deleted while", deleteOrg],
])("A sync stops writing and says why if %s", async ([, said, happen]) => {
  const startOver = async () => {
    await connect();
    // Only the first sync may run: a new key would make the queue start another.
    let syncs = 0;
    engine.refuse(syncOrgEvents, () => (syncs += 1) > 1);
    luma.setCalendar(KEY, wireEvents(3));
  };
  await startOver();
  meanwhile(happen);
  const { kind, message } = await failed();
  expect(kind).toBe("ended");
  expect(message).toContain(said);
  expect((await storedEvents(t)).size).toBe(0);
  // If it fails after that, it throws its own error, but doesn't store it.
  await startOver();
  meanwhile(happen, failure(401, "No."));
  expect((await failed()).kind).toBe("permanent");
  const org = await t.query(getById, { orgId });
  expect([org?.eventsLastSynced, org?.eventsSyncError]).toEqual([undefined, undefined]);
  // Once it has stored its success, it only leaves out descriptions.
  await startOver();
  meanwhile(happen, luma.answer, "event");
  expect(await sync()).toMatchObject({ inserted: 3, described: 0 });
  expect((await storedDescriptions(t)).size).toBe(0);
});

const OVERTAKEN = {
  kind: "overtaken",
  message:
    'This sync of the organization "Acme" was overtaken: a later one has begun, or the queue has moved on. ' +
    "It won't write anything more.",
};

test("The later of two syncs at once wins, and the earlier one says it was overtaken", async () => {
  luma.setCalendar(KEY, wireEvents(250));
  const begin = () => t.action(syncOrgEvents, { orgId });
  const both = Promise.all([failureOf(begin()), begin()]);
  const [earlier, later] = await settle(both, luma.activity);
  expect(earlier).toEqual(OVERTAKEN);
  expect(later).toMatchObject({ fetched: 250, inserted: 250 });
  expect(await t.run((ctx) => ctx.db.query("events").collect())).toHaveLength(250);
  expect(await org()).not.toHaveProperty("eventsSyncError");
});

test.for<[string, Answer]>([
  ["list", status(200, { entries: wireEvents(2, () => ({ name: "Old" })), has_more: false })],
  ["failure", failure(403, "No.")],
])("A sync's %s is ignored once a later sync has begun, even a slow one", async ([, answer]) => {
  luma.setCalendar(KEY, wireEvents(2));
  await sync();
  luma.setCalendar(KEY, [aWireEvent({ id: "evt-0", visibility: "private" })]);
  let later: Promise<unknown> = Promise.resolve();
  meanwhile(async () => {
    luma.answerNext((...call) => void setTimeout(() => luma.answer(...call), 20_000));
    const requests = luma.requests.length;
    later = t.action(syncOrgEvents, { orgId });
    await vi.waitUntil(() => luma.requests.length > requests);
  }, answer);
  expect(await failed()).toEqual(OVERTAKEN);
  expect((await org()).eventsLastSynced).toBe(NOW);
  await settle(later, luma.activity);
  const statuses = [...(await storedEvents(t))].map(([id, event]) => `${id} ${event.status}`);
  expect(statuses).toEqual(["evt-0 unlisted", "evt-1 removed"]);
  expect((await org()).eventsLastSynced).toBeGreaterThan(NOW);
  expect(await org()).not.toHaveProperty("eventsSyncError");
});

/** Overtakes a sync during its first write. Returns how it failed, and how often it tried to write. */
async function overtakeAtWrite(): Promise<[kind: string, calls: number]> {
  let calls = 0;
  engine.refuse(upsertEvents, () => (calls += 1) < 0);
  const earlier = failureOf(t.action(syncOrgEvents, { orgId }));
  await passTimeUntil(() => calls === 1, luma.activity);
  await beginSync(t, orgId);
  return [(await settle(earlier, luma.activity)).kind, calls];
}

test("A sync that is overtaken between two writes stops, and isn't a success", async () => {
  luma.setCalendar(KEY, wireEvents(250));
  expect(await overtakeAtWrite()).toEqual(["overtaken", 2]);
  expect((await storedEvents(t)).size).toBe(50);
  expect(await org()).not.toHaveProperty("eventsLastSynced");
});

test("A sync that is overtaken before its removals removes nothing", async () => {
  luma.setCalendar(KEY, wireEvents(3));
  await sync();
  luma.setCalendar(KEY, [aWireEvent({ id: "evt-0", name: "Renamed" })]);
  expect(await overtakeAtWrite()).toEqual(["overtaken", 1]);
  const stored = [...(await storedEvents(t)).values()];
  expect(stored.map(({ title }) => title)).toEqual(["Renamed", "Event evt-1", "Event evt-2"]);
  expect(stored.map(({ status }) => status)).toEqual(["listed", "listed", "listed"]);
});

test("A sync writes 50 events or 10 descriptions at a time, 250 ms apart", async () => {
  const batches: { what: string; size: number; at: number }[] = [];
  engine.watch((_run, called, args) => {
    const { events, eventIds, descriptions } = args as Record<string, unknown[] | undefined>;
    const items = events ?? eventIds ?? descriptions;
    const what = called.replace("events/mutations:", "");
    if (items) batches.push({ what, size: items.length, at: Date.now() });
    return Promise.resolve();
  });
  luma.setCalendar(KEY, wireEvents(120));
  await sync();
  luma.setCalendar(KEY, wireEvents(120).slice(60));
  await sync();
  const sizes = (name: string) =>
    batches.filter(({ what }) => what === name).map(({ size }) => size);
  expect(sizes("upsertEvents")).toEqual([50, 50, 20]);
  // The second sync checks 60 missing events, which leaves 40 requests for descriptions.
  expect(sizes("describeEvents")).toEqual(Array(14).fill(10));
  expect(sizes("markEventsRemoved")).toEqual([50, 10]);
  const gaps = batches.slice(1).map(({ at }, index) => at - batches[index]!.at);
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(250);
});

test("A sync that isn't done writing after 7.5 minutes gives up, and isn't a success", async () => {
  // The first write leaves a second for the next one, which leaves none.
  const ends = [NOW + 7.5 * MINUTE_MS - 1_000, NOW + 7.5 * MINUTE_MS];
  engine.refuse(upsertEvents, () => {
    setTime(ends.shift() ?? NaN);
    return false;
  });
  luma.setCalendar(KEY, wireEvents(250));
  const { message, kind } = await failed();
  expect(kind).toBe("transient");
  expect(message).toContain('"Acme" was not synced: time ran out after 7.5 minutes');
  expect((await storedEvents(t)).size).toBe(100);
  expect(await org()).not.toHaveProperty("eventsLastSynced");
});
