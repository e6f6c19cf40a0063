/** The stand-in answers as lu.ma does. */
import { describe, expect } from "vitest";
import calendarGet from "./answers/calendar-get.current.json";
import current from "./answers/current.json";
import errors from "./answers/errors.json";
import eventGet from "./answers/event-get.current.json";
import { aWireEvent, wireEvents } from "./support/builders";
import { passTime, settle } from "./support/clock";
import { NOW, test } from "./support/fixtures";
import {
  cutOff,
  endlessBody,
  OLDER_PATH,
  reset,
  silence,
  status as answered,
  type Answer,
  type LumaServer,
} from "./support/lumaServer";

const KEY = "key-1";
const LIST = "/v1/calendars/events/list";
const EVENT = "/v1/events/get?event_id=evt-1";
const CALENDAR = "/v1/calendars/get";

async function ask(luma: LumaServer, path: string, key?: string) {
  const headers: Record<string, string> = key === undefined ? {} : { "x-luma-api-key": key };
  const response = await settle(fetch(`${luma.origin}${path}`, { headers }), luma.activity);
  const body = (await settle(response.json(), luma.activity)) as Record<string, unknown>;
  return { status: response.status, headers: response.headers, body };
}

/** Ids in a list, its end, and the status of one event. */
async function look(luma: LumaServer, key = KEY) {
  const { entries, has_more } = (await ask(luma, LIST, key)).body;
  const listed = (entries as { id: string }[]).map(({ id }) => id);
  return { listed, has_more, one: (await ask(luma, EVENT, key)).status };
}

function typesOf(body: object): Record<string, string> {
  return Object.fromEntries(Object.entries(body).map(([name, value]) => [name, typeof value]));
}

describe("the stand-in for lu.ma", () => {
  test.for<[string, number, keyof typeof errors.body, string, string | undefined]>([
    ["no key", 400, "400 no key", "/v1/calendars/events/list", undefined],
    ["a wrong key", 401, "401 wrong key", "/v1/events/get?event_id=evt-1", "wrong"],
    [
      "a foreign event",
      403,
      "403 foreign event (events/get)",
      "/v1/events/get?event_id=evt-2",
      KEY,
    ],
  ])("refuses %s with %i", async ([, code, answer, path, key], { luma }) => {
    luma.setCalendar(KEY, [aWireEvent()]);
    const { status, body, headers } = await ask(luma, path, key);
    expect(status).toBe(code);
    expect(body).toEqual(errors.body[answer]);
    expect(headers.get("x-ratelimit-limit")).toBe("200");
  });

  test("lists events without descriptions, and gives them for one event, in both generations", async ({
    luma,
  }) => {
    luma.setCalendar(KEY, [aWireEvent()]);
    const list = await ask(luma, "/v1/calendars/events/list", KEY);
    expect(list.body).toMatchObject({ entries: [{ id: "evt-1" }], has_more: false });
    // Also on the last page.
    expect(list.body.next_cursor).toBeDefined();
    expect(JSON.stringify(list.body)).not.toContain("What happens");
    const older = await ask(luma, OLDER_PATH, KEY);
    expect(older.body).toMatchObject({
      entries: [{ api_id: "evt-1", event: { api_id: "evt-1" } }],
    });
    expect(JSON.stringify(older.body)).not.toMatch(/What happens|location_visibility/);

    const one = await ask(luma, "/v1/events/get?event_id=evt-1", KEY);
    expect(one.body).toMatchObject({ id: "evt-1", description: "What happens at evt-1" });
    const wrapped = await ask(luma, "/public/v1/event/get?api_id=evt-1", KEY);
    expect(wrapped.body).toMatchObject({
      event: { api_id: "evt-1", description: "What happens at evt-1" },
      hosts: [],
    });
    expect(luma.requestsOf("list")).toHaveLength(2);
    expect(luma.requestsOf("event")).toHaveLength(2);
  });

  test("gives an event, a list's entry and a calendar the types that real answers have", async ({
    luma,
  }) => {
    luma.setCalendar(KEY, [aWireEvent({ description_md: "*md*" })]);
    luma.describeCalendar(KEY, { name: "BAISH", slug: "baish" });
    const [entry] = (await ask(luma, LIST, KEY)).body.entries as object[];
    const answers: [object | undefined, object | undefined, string[]][] = [
      [entry, current.body.entries[0], ["id", "access", "calendar_id", "visibility"]],
      [(await ask(luma, EVENT, KEY)).body, eventGet.body, ["id", "description", "description_md"]],
      [(await ask(luma, CALENDAR, KEY)).body, calendarGet.body, ["id", "name", "slug"]],
    ];
    for (const [given, real = {}, needed] of answers) {
      const [ours, theirs] = [typesOf(given ?? {}), typesOf(real)];
      for (const name of needed) expect(ours[name], name).toBe(theirs[name]);
      const common = Object.keys(ours).filter((name) => name in theirs && ours[name] !== "object");
      for (const name of common) expect([ours[name], "object"], name).toContain(theirs[name]);
    }
    luma.wrapsCalendar = true;
    const { calendar } = (await ask(luma, CALENDAR, KEY)).body;
    expect(calendar).toMatchObject({ id: "cal-1", name: "BAISH" });
  });

  test("lists less than it has, drops an event for good, moves it, and answers with another", async ({
    luma,
  }) => {
    const events = wireEvents(3);
    luma.setCalendar("key-2", []);
    luma.setCalendar(KEY, events, events.slice(0, 1));
    expect(await look(luma)).toEqual({ listed: ["evt-0"], has_more: false, one: 200 });
    luma.setCalendar(KEY, events, []);
    expect(await look(luma)).toEqual({ listed: [], has_more: false, one: 200 });
    luma.setCalendar(KEY, events);
    luma.alterEvent("evt-1", { id: "evt-2", visibility: "private" });
    expect((await ask(luma, EVENT, KEY)).body).toMatchObject({
      id: "evt-2",
      visibility: "private",
    });
    luma.moveEvent("evt-1", "key-2");
    expect(await look(luma)).toMatchObject({ listed: ["evt-0", "evt-2"], one: 403 });
    expect(await look(luma, "key-2")).toMatchObject({ listed: ["evt-1"], one: 200 });
    luma.dropEvent("evt-1");
    expect(await look(luma, "key-2")).toMatchObject({ listed: [], one: 404 });
  });

  test.for(["HTTP", "a stub of fetch"])(
    "fails for a time over %s, and answers once with something else meanwhile",
    async (way, { luma }) => {
      if (way !== "HTTP") luma.stubFetch({ answerMs: 300 });
      luma.setCalendar(KEY, [aWireEvent()]);
      luma.setCalendar("key-2", []);
      luma.failBetween(NOW + 60_000, NOW + 120_000, answered(503, {}), { key: KEY, kind: "list" });
      const seen: number[] = [];
      for (let minute = 0; minute < 3; minute += 1) {
        if (minute === 1) luma.answerNext(answered(500, {}), { key: KEY });
        for (let i = 0; i < 2; i += 1) seen.push((await ask(luma, LIST, KEY)).status);
        for (const [path, key] of [
          [EVENT, KEY],
          [LIST, "key-2"],
        ] as const) {
          seen.push((await ask(luma, path, key)).status);
        }
        await passTime(60_000, luma.activity);
      }
      expect(seen).toEqual([200, 200, 200, 200, 500, 503, 200, 200, 200, 200, 200, 200]);
      expect(Date.now() - NOW).toBe(3 * 60_000 + (way === "HTTP" ? 0 : 12 * 300));
    },
  );

  test.for<[string, Answer]>([
    ["is reset", reset],
    ["breaks off", cutOff],
    ["never comes", silence],
    ["never ends", endlessBody],
  ])(
    "answers that %s end alike over HTTP and over a stub of fetch",
    async ([, answer], { luma }) => {
      const ways = [() => undefined, () => luma.stubFetch({ answerMs: 300 })];
      const ends: string[] = [];
      for (const begin of ways) {
        begin();
        luma.answerNext(answer);
        const controller = new AbortController();
        setTimeout(() => controller.abort(), 1_000);
        const reading = fetch(luma.url(), { signal: controller.signal }).then((response) =>
          response.text(),
        );
        const end = await settle(reading, luma.activity).catch((error: Error) => error.name);
        ends.push(end);
      }
      expect(ends[1]).toBe(ends[0]);
    },
  );
});
