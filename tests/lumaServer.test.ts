/** The stand-in answers as lu.ma does. */
import { expect } from "vitest";
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
  type LumaServer,
} from "./support/lumaServer";

const KEY = "key-1";
const LIST = "/v1/calendars/events/list";
const EVENT = "/v1/events/get?event_id=evt-1";
const CALENDAR = "/v1/calendars/get";

async function ask(luma: LumaServer, path: string, key?: string) {
  const headers: Record<string, string> = key === undefined ? {} : { "x-luma-api-key": key };
  const response = await settle(fetch(`${luma.origin}${path}`, { headers }), luma.activity);
  const text = await settle(response.text(), luma.activity);
  const body = JSON.parse(text) as Record<string, unknown>;
  return { status: response.status, headers: response.headers, body };
}

function typesOf(body: unknown): Record<string, string> {
  return Object.fromEntries(Object.entries(body ?? {}).map(([name, is]) => [name, typeof is]));
}

test.for<[string, number, keyof typeof errors.body, string, string?]>([
  ["no key", 400, "400 no key", LIST],
  ["a wrong key", 401, "401 wrong key", EVENT, "wrong"],
  ["another calendar's event", 403, "403 foreign event (events/get)", `${EVENT}2`, KEY],
])("The stand-in refuses %s with %i", async ([, code, answer, path, key], { luma }) => {
  luma.setCalendar(KEY, [aWireEvent()]);
  const { status, body, headers } = await ask(luma, path, key);
  expect([status, body]).toEqual([code, errors.body[answer]]);
  expect(headers.get("x-ratelimit-limit")).toBe("200");
});

test("The stand-in's single events have descriptions, and its lists have none", async ({
  luma,
}) => {
  luma.setCalendar(KEY, [aWireEvent()]);
  const list = (await ask(luma, LIST, KEY)).body;
  // lu.ma returns a cursor on the last page, too.
  const next_cursor = expect.any(String) as string;
  expect(list).toMatchObject({ entries: [{ id: "evt-1" }], has_more: false, next_cursor });
  expect(JSON.stringify(list)).not.toContain("What happens");
  const older = (await ask(luma, OLDER_PATH, KEY)).body;
  expect(older).toMatchObject({ entries: [{ api_id: "evt-1", event: { api_id: "evt-1" } }] });
  expect(JSON.stringify(older)).not.toMatch(/What happens|location_visibility/);

  const description = "What happens at evt-1";
  const one = (await ask(luma, EVENT, KEY)).body;
  expect(one).toMatchObject({ id: "evt-1", description });
  const wrapped = (await ask(luma, "/public/v1/event/get?api_id=evt-1", KEY)).body;
  expect(wrapped).toMatchObject({ event: { api_id: "evt-1", description }, hosts: [] });
  expect(luma.requests.map(({ kind }) => kind)).toEqual(["list", "list", "event", "event"]);
});

test("The stand-in's fields have the types of documented and recorded ones", async ({ luma }) => {
  luma.setCalendar(KEY, [aWireEvent({ description_md: "*md*" })]);
  luma.describeCalendar(KEY, { name: "BAISH", slug: "baish" });
  const [entry] = (await ask(luma, LIST, KEY)).body["entries"] as object[];
  const answers: [unknown, unknown, string[]][] = [
    [entry, current.body.entries[0], ["id", "access", "calendar_id", "visibility"]],
    [(await ask(luma, EVENT, KEY)).body, eventGet.body, ["id", "description", "description_md"]],
    [(await ask(luma, CALENDAR, KEY)).body, calendarGet.body, ["id", "name", "slug"]],
  ];
  for (const [given, expected, needed] of answers) {
    const [ours, theirs] = [typesOf(given), typesOf(expected)];
    for (const name of needed) expect(ours[name], name).toBe(theirs[name]);
    const common = Object.keys(ours).filter((name) => name in theirs && ours[name] !== "object");
    for (const name of common) expect([ours[name], "object"], name).toContain(theirs[name]);
  }
  luma.wrapsCalendar = true;
  expect((await ask(luma, CALENDAR, KEY)).body).toHaveProperty("calendar.name", "BAISH");
});

test("The stand-in can unlist, alter, move and drop an event", async ({ luma }) => {
  const look = async (key: string, path = EVENT) => {
    const { status, body } = await ask(luma, path, key);
    return `${status} ${String(body["id"] ?? JSON.stringify(body["entries"]))}`;
  };
  luma.setCalendar("key-2", []);
  luma.setCalendar(KEY, wireEvents(3), []);
  expect([await look(KEY, LIST), await look(KEY)]).toEqual(["200 []", "200 evt-1"]);
  luma.alterEvent("evt-1", { id: "evt-2" });
  expect(await look(KEY)).toBe("200 evt-2");
  luma.moveEvent("evt-1", "key-2");
  expect([await look(KEY), await look("key-2")]).toEqual(["403 undefined", "200 evt-2"]);
  luma.dropEvent("evt-1");
  expect(await look("key-2")).toBe("404 undefined");
});

test.for([0, 300])(
  "The stand-in fails when it is told to, over HTTP and as a stub (%i ms per answer)",
  async (answerMs, { luma }) => {
    if (answerMs > 0) luma.stubFetch({ answerMs });
    for (const key of [KEY, "key-2"]) luma.setCalendar(key, [aWireEvent()]);
    luma.failBetween(NOW + 60_000, NOW + 120_000, answered(503, {}), { key: KEY, kind: "list" });
    const seen: number[] = [];
    for (let minute = 0; minute < 3; minute += 1) {
      if (minute === 1) luma.answerNext(answered(500, {}), { key: KEY });
      for (const path of [LIST, LIST, EVENT]) seen.push((await ask(luma, path, KEY)).status);
      seen.push((await ask(luma, LIST, "key-2")).status);
      await passTime(60_000, luma.activity);
    }
    expect(seen).toEqual([200, 200, 200, 200, 500, 503, 200, 200, 200, 200, 200, 200]);
    expect(Date.now() - NOW).toBe(3 * 60_000 + 12 * answerMs);
  },
);

test("The stand-in's unfinished answers end the same over HTTP and as a stub", async ({ luma }) => {
  for (const begin of [() => undefined, () => luma.stubFetch({ answerMs: 300 })]) {
    begin();
    const ends: string[] = [];
    for (const answer of [reset, cutOff, silence, endlessBody]) {
      luma.answerNext(answer);
      const controller = new AbortController();
      setTimeout(() => controller.abort(), 1_000);
      const reading = fetch(luma.url(), { signal: controller.signal }).then((one) => one.text());
      ends.push(await settle(reading, luma.activity).catch((error: Error) => error.name));
    }
    expect(ends).toEqual(["TypeError", "TypeError", "AbortError", "AbortError"]);
  }
});
