/** The stand-in answers as lu.ma does. */
import { describe, expect } from "vitest";
import errors from "./answers/errors.json";
import { aWireEvent } from "./support/builders";
import { test } from "./support/fixtures";
import { OLDER_PATH, type LumaServer } from "./support/lumaServer";

const KEY = "key-1";

async function ask(luma: LumaServer, path: string, key?: string) {
  const headers: Record<string, string> = key === undefined ? {} : { "x-luma-api-key": key };
  const response = await fetch(`${luma.origin}${path}`, { headers });
  return {
    status: response.status,
    headers: response.headers,
    body: (await response.json()) as Record<string, unknown>,
  };
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
});
