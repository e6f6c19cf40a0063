import { describe, expect, vi } from "vitest";
import {
  fetchLumaDescription,
  fetchLumaEvents,
  type LumaListing,
} from "../convex/events/lumaClient";
import { getAddresses } from "../convex/events/luma/addresses";
import { LumaError } from "../convex/events/luma/error";
import { mirroredEvent } from "../convex/events/validators";
import { aWireEvent, DAY_MS, wireEvents } from "./support/builders";
import { countTimers, setTime, settle } from "./support/clock";
import { NOW, reasonOf, routeLumaHosts, test } from "./support/fixtures";
import {
  CURRENT_PATH,
  cutOff,
  endlessBody,
  failure,
  OLDER_PATH,
  reset,
  silence,
  status,
  type Answer,
  type LumaServer,
} from "./support/lumaServer";

const API_KEY = "secret-4711";
const KEY = {
  apiKey: API_KEY,
  source: "the environment variable LUMA_API_KEY_ACME",
  howToSet: "npx convex env set LUMA_API_KEY_ACME",
};
const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;

async function fetchAll(luma: LumaServer, apiKey = API_KEY): Promise<LumaListing> {
  const fetching = fetchLumaEvents({
    key: { ...KEY, apiKey },
    after: NOW - 30 * DAY_MS,
    before: NOW + 90 * DAY_MS,
    deadline: Date.now() + 7 * MINUTE_MS,
  });
  return await settle(fetching, luma.activity);
}

/** What a listing that fails is to be told to an administrator, and to the run. */
async function failureOf(fetching: Promise<unknown>): Promise<LumaError> {
  try {
    await fetching;
  } catch (error) {
    if (error instanceof LumaError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

/** ms between each request and the one before it. */
function waits(luma: LumaServer): number[] {
  return luma.requests.slice(1).map(({ at }, index) => at - (luma.requests[index]?.at ?? 0));
}

function answerTimes(luma: LumaServer, times: number, answer: Answer): void {
  for (let i = 0; i < times; i += 1) luma.answerNext(answer);
}

/** The first page of a calendar that has a second one. */
function firstPage() {
  return { entries: wireEvents(100), has_more: true, next_cursor: "after-100" };
}

/** An answer with a status and without the end of its body: the connection is lost, or nothing more comes. */
function breakingOff(code: number): Answer {
  return (response, request) => {
    response.writeHead(code, { "content-length": "1000" });
    response.write("{");
    setImmediate(() => request.socket.destroy());
  };
}

function neverEnding(code: number): Answer {
  return (response) => {
    response.writeHead(code);
    response.write("{");
  };
}

const CURRENT_HOST = "public-api.luma.com";
const OLDER_HOST = "public-api.lu.ma";

describe("a listing", () => {
  test("is asked for with the window, the order, the page size and the key in its header", async ({
    luma,
  }) => {
    luma.setCalendar(API_KEY, []);
    await fetchAll(luma);
    expect(luma.requests).toHaveLength(1);
    const [request] = luma.requests;
    expect(request?.key).toBe(API_KEY);
    expect(Object.fromEntries(request?.query ?? [])).toEqual({
      after: "2026-08-02T12:00:00.000Z",
      before: "2026-11-30T12:00:00.000Z",
      pagination_limit: "100",
      sort_column: "start_at",
      sort_direction: "asc",
    });
  });

  test("of several pages is read to its end, one request a page, 200 ms apart", async ({
    luma,
  }) => {
    luma.setCalendar(API_KEY, wireEvents(250));
    const { events, invalid } = await fetchAll(luma);
    expect([...events.keys()]).toEqual(wireEvents(250).map((event) => event.id));
    expect(invalid).toEqual([]);
    expect(luma.requests.map(({ query }) => query.get("pagination_cursor"))).toEqual([
      null,
      "after-100",
      "after-200",
    ]);
    expect(waits(luma)).toEqual([200, 200]);
  });

  test("is followed by its cursors also when the server caps the page size, or a page is empty", async ({
    luma,
  }) => {
    luma.maxPageSize = 20;
    luma.setCalendar(API_KEY, wireEvents(50));
    luma.answerNext(status(200, { entries: [], has_more: true, next_cursor: "after-0" }));
    expect((await fetchAll(luma)).events.size).toBe(50);
    expect(luma.requests).toHaveLength(4);
  });

  test("reads the same in the older wire format, but for the address that may be for guests only", async ({
    luma,
  }) => {
    luma.setCalendar(API_KEY, [aWireEvent({ meeting_url: "https://meet.example/1" })]);
    const { events: current } = await fetchAll(luma);
    vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
    const event = (await fetchAll(luma)).events.get("evt-1");
    expect(event).toEqual({ ...current.get("evt-1"), location: "Berlin, Germany" });
    expect(luma.requests.map(({ path }) => path)).toEqual([CURRENT_PATH, OLDER_PATH]);
  });

  test("keeps of an answer what is stored, and nothing else", async ({ luma }) => {
    luma.setCalendar(API_KEY, [aWireEvent({ own: "x".repeat(1_000) })]);
    const listing = await fetchAll(luma);
    expect(Object.keys(listing).toSorted()).toEqual(["address", "events", "invalid"]);
    for (const event of listing.events.values()) {
      expect(Object.keys(event).toSorted()).toEqual(Object.keys(mirroredEvent.fields).toSorted());
    }
  });

  test("takes the same id twice for one event, as it was listed last", async ({ luma }) => {
    luma.setCalendar(API_KEY, [aWireEvent({ name: "Earlier" }), aWireEvent({ name: "Later" })]);
    const { events } = await fetchAll(luma);
    expect([...events.values()].map((event) => event.title)).toEqual(["Later"]);
  });

  test("goes on around entries that cannot be read, and says what is wrong with them", async ({
    luma,
  }) => {
    const entries = [
      aWireEvent({ id: "evt-good" }),
      aWireEvent({ id: "evt-untitled", name: "  " }),
      { ...aWireEvent({ id: "evt-nameless" }), name: null },
      aWireEvent({ id: "evt-when", start_at: "2026-02-30T10:00:00.000Z" }),
      { ...aWireEvent({ id: "evt-never" }), start_at: undefined },
      { name: "no id", start_at: "2026-09-02T10:00:00.000Z" },
      { api_id: "calev-1", event: { name: "none either", start_at: "2026-09-02T10:00:00.000Z" } },
      aWireEvent({ id: "x".repeat(201) }),
      aWireEvent({ id: "evt-both", name: "", start_at: "soon" }),
      "an entry?",
      null,
    ];
    luma.answerNext(status(200, { entries, has_more: false }));
    const { events, invalid } = await fetchAll(luma);
    expect([...events.keys()]).toEqual(["evt-good"]);
    expect(invalid).toEqual([
      { id: "evt-untitled", reason: "name: no title" },
      { id: "evt-nameless", reason: "name: no title" },
      { id: "evt-when", reason: "start_at: no possible time" },
      { id: "evt-never", reason: "start_at: no possible time" },
      ...Array<object>(3).fill({ id: null, reason: "no readable id" }),
      { id: "evt-both", reason: "name: no title; start_at: no possible time" },
      ...Array<object>(2).fill({ id: null, reason: "no readable id" }),
    ]);
  });

  test("with a field of a wrong type loses that field, not the event", async ({ luma }) => {
    luma.setCalendar(API_KEY, [aWireEvent({ geo_address_json: "here", end_at: "soon", url: 5 })]);
    const event = (await fetchAll(luma)).events.get("evt-1");
    expect(event).toMatchObject({ title: "Event evt-1", url: "https://lu.ma/event/evt-1" });
    expect(event).toMatchObject({ location: undefined, endAt: undefined });
  });
});

describe("a 429", () => {
  test.for<[string, string | undefined, number]>([
    ["7 seconds", "7", 7 * SECOND_MS],
    ["an HTTP date", new Date(NOW + 45 * SECOND_MS).toUTCString(), 45 * SECOND_MS],
    ["0 seconds: at least 1", "0", SECOND_MS],
    ["a date that has passed: at least 1", new Date(NOW - DAY_MS).toUTCString(), SECOND_MS],
    ["an hour: at most 120 s", "3600", 120 * SECOND_MS],
    ["nothing: 60 s", undefined, 60 * SECOND_MS],
    ["something unreadable: 60 s", "-5", 60 * SECOND_MS],
    ["something else unreadable: 60 s", "in a while", 60 * SECOND_MS],
    ["something that only looks like a date: 60 s", "maybe 5", 60 * SECOND_MS],
    ["a date behind something else: 60 s", "by Tue, 01 Sep 2026 12:01:30 GMT", 60 * SECOND_MS],
    ["a number before something else: 60 s", "5 minutes", 60 * SECOND_MS],
    ["a second and a half", "1.25", 1_250],
  ])(
    "with Retry-After of %s is waited for, then the same page asked again",
    async ([, after, wait], { luma }) => {
      luma.setCalendar(API_KEY, wireEvents(1));
      luma.answerNext(status(429, { message: "slow down" }, after ? { "retry-after": after } : {}));
      expect((await fetchAll(luma)).events.size).toBe(1);
      expect(waits(luma)).toEqual([wait]);
      expect(luma.requests[1]?.query.toString()).toBe(luma.requests[0]?.query.toString());
    },
  );

  test.for(["<h1>Slow down</h1>", { message: "slow down" }])(
    "is waited for three times a page; the fourth fails as rate limited, whatever its body (%j)",
    async (body, { luma }) => {
      luma.setCalendar(API_KEY, wireEvents(150));
      const limited = status(429, body, { "retry-after": "2" });
      answerTimes(luma, 3, limited);
      expect((await fetchAll(luma)).events.size).toBe(150);
      expect(luma.requests).toHaveLength(5);

      answerTimes(luma, 4, limited);
      const { message, consequences } = await failureOf(fetchAll(luma));
      expect(message).toContain("answered 429 for page 1 (4 attempts)");
      expect(message).toContain(
        "The key in the environment variable LUMA_API_KEY_ACME is rate limited",
      );
      expect(consequences).toMatchObject({ kind: "passing" });
      expect(consequences.isUnserved).toBeFalsy();
      expect(luma.requests).toHaveLength(9);
    },
  );

  test("whose body breaks off or never ends is one all the same", async ({ luma }) => {
    luma.setCalendar(API_KEY, []);
    luma.answerNext(breakingOff(429));
    luma.answerNext(neverEnding(429));
    await fetchAll(luma);
    expect(waits(luma)).toEqual([60 * SECOND_MS, 30 * SECOND_MS + 60 * SECOND_MS]);
  });

  test("on one page does not count against the next", async ({ luma }) => {
    luma.setCalendar(API_KEY, wireEvents(150));
    const limited = status(429, "", { "retry-after": "2" });
    answerTimes(luma, 3, limited);
    luma.answerNext(status(200, firstPage()));
    answerTimes(luma, 3, limited);
    expect((await fetchAll(luma)).events.size).toBe(150);
    expect(luma.requests).toHaveLength(8);
  });
});

describe("an answer that may be better next time", () => {
  const passing: [string, Answer, string, number][] = [
    ["a 500", failure(500, "oops"), 'answered 500 for page 1 (4 attempts): "oops"', 0],
    ["a 503 with a page of HTML", status(503, "<h1>Maintenance</h1>"), "answered 503", 0],
    ["a connection reset before the answer", reset, "no connection to 127.0.0.1", 0],
    ["a connection closed in the middle of the body", cutOff, "in the middle of an answer", 0],
    ["no answer within 30 s", silence, "no answer within 30 s", 30 * SECOND_MS],
    ["a body that does not end within 30 s", endlessBody, "no answer within 30 s", 30 * SECOND_MS],
    [
      "HTML with status 200",
      status(200, "<h1>Welcome</h1>"),
      'answered 200 with a body that is not JSON for page 1 (4 attempts): "<h1>Welcome</h1>"',
      0,
    ],
    ["truncated JSON with status 200", status(200, '{"entries": [{"id": "ev'), "not JSON", 0],
  ];

  test.for(passing)(
    "%s: the page is asked again after 1, 2 and 4 s",
    async ([, answer, , took], { luma }) => {
      luma.setCalendar(API_KEY, wireEvents(3));
      answerTimes(luma, 3, answer);
      expect((await fetchAll(luma)).events.size).toBe(3);
      expect(waits(luma)).toEqual([1, 2, 4].map((seconds) => took + seconds * SECOND_MS));
    },
  );

  test.for(passing)(
    "%s: four times fail in passing, unserved, with what was seen",
    async ([, answer, seen], { luma }) => {
      answerTimes(luma, 4, answer);
      const { message, consequences } = await failureOf(fetchAll(luma));
      expect(message).toContain(seen);
      expect(message).toContain("(4 attempts)");
      expect(consequences).toMatchObject({ kind: "passing", isUnserved: true });
      expect(luma.requests).toHaveLength(4);
    },
  );

  test.for<[string, Answer, RegExp]>([
    [
      "lost in the middle",
      cutOff,
      /^127.0.0.1:\d+ lost the connection in the middle of an answer for page 1 \(4 attempts\)\. Sync/,
    ],
    [
      "without an end",
      endlessBody,
      /^127.0.0.1:\d+ gave no answer within 30 s for page 1 \(4 attempts\)\. Sync again later\. LUMA/,
    ],
  ])("%s is told in a plain sentence", async ([, answer, sentence], { luma }) => {
    answerTimes(luma, 4, answer);
    expect((await failureOf(fetchAll(luma))).message).toMatch(sentence);
  });

  test("leaves no timer behind", async ({ luma }) => {
    luma.setCalendar(API_KEY, wireEvents(150));
    await fetchAll(luma);
    expect(countTimers()).toBe(0);
  });

  test("on a later page fails the whole listing", async ({ luma }) => {
    luma.answerNext(status(200, firstPage()));
    answerTimes(luma, 4, status(502));
    expect(await reasonOf(fetchAll(luma))).toContain("answered 502 for page 2 (4 attempts)");
  });
});

describe("an answer that will not get better", () => {
  test.for([401, 403])(
    "%i in JSON fails at once: the key, or no Luma Plus, and where to set it",
    async (code, { luma }) => {
      luma.answerNext(failure(code, `The key ${API_KEY} is not valid`));
      const { message, consequences } = await failureOf(fetchAll(luma));
      expect(message).toContain(
        `rejected the API key with ${code} for page 1 (1 attempt): "The key [API key] is not valid"`,
      );
      expect(message).toContain("The key in the environment variable LUMA_API_KEY_ACME is wrong");
      expect(message).toContain("Luma Plus");
      expect(message).toContain("npx convex env set LUMA_API_KEY_ACME.");
      expect(message).not.toContain(API_KEY);
      expect(consequences).toMatchObject({ kind: "lasting" });
      expect(luma.requests).toHaveLength(1);
    },
  );

  test.for([400, 401, 403, 418])(
    "%i without JSON is a proxy's word, not lu.ma's: fails at once, but in passing",
    async (code, { luma }) => {
      luma.answerNext(status(code, "<h1>Blocked</h1>"));
      const { message, consequences } = await failureOf(fetchAll(luma));
      expect(message).toContain(`answered ${code} for page 1 (1 attempt): "<h1>Blocked</h1>"`);
      expect(message).not.toContain("the API key");
      expect(message).toContain("That is no answer of lu.ma's own. Sync again later. LUMA_LIST");
      expect(consequences).toMatchObject({ kind: "passing", isUnserved: true });
      expect(luma.requests).toHaveLength(1);
    },
  );

  test("another 4xx in JSON fails at once, with lu.ma's own message on one line", async ({
    luma,
  }) => {
    luma.answerNext(failure(400, "Invalid request.\n- event_id: Invalid input"));
    const { message, consequences } = await failureOf(fetchAll(luma));
    expect(message).toContain(
      'answered 400 for page 1 (1 attempt): "Invalid request. - event_id: Invalid input". The answer says why; if it ' +
        "is of no help, look for a newer version of this module. LUMA_LIST_EVENTS_URL is set",
    );
    expect(consequences).toMatchObject({ kind: "lasting" });
    expect(consequences.isUnserved).toBeFalsy();
    expect(luma.requests).toHaveLength(1);
  });

  test("JSON without a message is quoted by its beginning", async ({ luma }) => {
    luma.answerNext(status(422, { problem: "no such cursor", trace: "x".repeat(5_000) }));
    const { message } = await failureOf(fetchAll(luma));
    expect(message).toContain('answered 422 for page 1 (1 attempt): "{"problem":"no such cursor"');
    expect(message.length).toBeLessThan(700);
  });

  test.for<[string, (key: string) => string]>([
    ["as it is", (key) => key],
    ["as in a URL", encodeURIComponent],
    ["as in JSON", (key) => JSON.stringify(`tea ${key}`)],
  ])("a key that is repeated %s is not quoted", async ([, spell], { luma }) => {
    const apiKey = 's3cret/"quoted"\\%+';
    luma.answerNext(status(418, `No tea for ${spell(apiKey)}!`));
    const { message } = await failureOf(fetchAll(luma, apiKey));
    expect(message).toMatch(/"No tea for ("tea )?\[API key\]"?!"/);
  });

  test.for<[string, unknown, string]>([
    ["no entries", { has_more: false }, "entries"],
    ["entries that are no list", { entries: {}, has_more: false }, "entries"],
    ["no has_more", { entries: [] }, "has_more"],
    ["a list only", [], "all of it"],
    ["null", null, "all of it"],
    ["an error with status 200", { message: "internal" }, "entries, has_more"],
  ])("JSON of another shape is no empty calendar: %s", async ([, body, wrong], { luma }) => {
    luma.answerNext(status(200, body));
    const { message, consequences } = await failureOf(fetchAll(luma));
    expect(message).toContain(
      ` answered page 1 with JSON that is not a list of events (wrong: ${wrong}). LUMA_LIST`,
    );
    expect(consequences).toMatchObject({ kind: "lasting" });
    expect(luma.requests).toHaveLength(1);
  });

  test.for([undefined, null, ""])(
    "a next page without a cursor (%s) fails",
    async (cursor, { luma }) => {
      luma.answerNext(status(200, { entries: wireEvents(1), has_more: true, next_cursor: cursor }));
      expect(await reasonOf(fetchAll(luma))).toContain("gave no cursor");
    },
  );

  test("a cursor that was used already fails, and says where to look", async ({ luma }) => {
    answerTimes(luma, 3, status(200, { entries: [], has_more: true, next_cursor: "again" }));
    const { message, consequences } = await failureOf(fetchAll(luma));
    expect(message).toContain("a second time. Sync again later. LUMA_LIST_EVENTS_URL is set");
    expect(consequences).toMatchObject({ kind: "passing" });
    expect(luma.requests).toHaveLength(2);
  });

  test("200 pages are read, a 201st fails", async ({ luma }) => {
    luma.maxPageSize = 1;
    luma.setCalendar(API_KEY, wireEvents(200));
    expect((await fetchAll(luma)).events.size).toBe(200);
    luma.setCalendar(API_KEY, wireEvents(201));
    expect(await reasonOf(fetchAll(luma))).toContain("more than 200 pages. Sync again");
    expect(luma.requests).toHaveLength(400);
  });

  test("a listing that takes more than 7 minutes, waits included, is given up by then", async ({
    luma,
  }) => {
    const slow: Answer = (response, request) => {
      const cursor = new URL(request.url ?? "", luma.origin).searchParams.get("pagination_cursor");
      const next = `page-${Number(cursor?.slice(5) ?? 1) + 1}`;
      setTimeout(
        () => status(200, { entries: [], has_more: true, next_cursor: next })(response, request),
        25 * SECOND_MS,
      );
    };
    answerTimes(luma, 100, slow);
    const { message, consequences } = await failureOf(fetchAll(luma));
    expect(message).toContain("too slow");
    expect(consequences).toMatchObject({ kind: "passing" });
    expect(consequences.isUnserved).toBeFalsy();
    expect(Date.now() - NOW).toBeLessThanOrEqual(7 * MINUTE_MS);
    expect(luma.requests.length).toBeGreaterThan(15);
  });

  test("waits that would exceed the 7 minutes are not begun", async ({ luma }) => {
    const limited = status(429, "", { "retry-after": "120" });
    answerTimes(luma, 3, limited);
    luma.answerNext(status(200, firstPage()));
    luma.answerNext(limited);
    const { host } = new URL(luma.origin);
    expect(await reasonOf(fetchAll(luma))).toMatch(
      new RegExp(`^too slow: .*, waits included \\(last, ${host} answered 429\\)\\. Sync again`),
    );
    expect(Date.now() - NOW).toBeLessThan(7 * MINUTE_MS);
  });
});

describe("the address", () => {
  test("is the documented one for as long as that answers", async ({ luma }) => {
    const hosts = routeLumaHosts(luma);
    luma.setCalendar(API_KEY, wireEvents(150));
    expect((await fetchAll(luma)).events.size).toBe(150);
    expect(hosts).toEqual([CURRENT_HOST, CURRENT_HOST]);
    expect(luma.requests.map(({ path }) => path)).toEqual([CURRENT_PATH, CURRENT_PATH]);
  });

  test.for<[string, Answer, number]>([
    ...[404, 410, 300, 301, 302, 307, 308].map((code): [string, Answer, number] => [
      `${code}`,
      status(code, "", { location: "https://elsewhere.example/" }),
      1,
    ]),
    ["400", failure(400, "Invalid request."), 1],
    ["401 in HTML", status(401, "<h1>Login</h1>"), 1],
    ["403 in HTML", status(403, "<h1>Blocked</h1>"), 1],
    ["JSON of another shape", status(200, {}), 1],
    ["four times 503", status(503), 4],
    ["four times HTML", status(200, "<h1>Welcome</h1>"), 4],
    ["four times no answer", silence, 4],
    ["four times half an answer", cutOff, 4],
  ])(
    "is the older one for all pages when the documented one answers %s",
    async ([, answer, times], { luma }) => {
      const hosts = routeLumaHosts(luma);
      luma.setCalendar(API_KEY, wireEvents(150));
      answerTimes(luma, times, answer);
      const { events, address } = await fetchAll(luma);
      expect(events.size).toBe(150);
      expect(hosts).toEqual([...Array<string>(times).fill(CURRENT_HOST), OLDER_HOST, OLDER_HOST]);
      expect(luma.requests.slice(times).map(({ path }) => path)).toEqual([OLDER_PATH, OLDER_PATH]);
      expect(address.event.href).toBe("https://public-api.lu.ma/public/v1/event/get");
    },
  );

  test("is the older one when four attempts found no connection to the documented one", async ({
    luma,
  }) => {
    const hosts = routeLumaHosts(luma, [CURRENT_HOST]);
    luma.setCalendar(API_KEY, wireEvents(1));
    expect((await fetchAll(luma)).events.size).toBe(1);
    expect(hosts).toEqual([...Array<string>(4).fill(CURRENT_HOST), OLDER_HOST]);
    expect(luma.requests[0]?.at).toBe(NOW + 7 * SECOND_MS);
  });

  test.for<[string, Answer, number]>([
    ["401 in JSON", failure(401, "You are not signed in."), 1],
    ["403 in JSON", failure(403, "No Luma Plus."), 1],
    ["429 four times", status(429, "<h1>Slow down</h1>", { "retry-after": "1" }), 4],
  ])(
    "is not changed because of %s: that is lu.ma's own word",
    async ([, answer, times], { luma }) => {
      const hosts = routeLumaHosts(luma);
      answerTimes(luma, times, answer);
      await failureOf(fetchAll(luma));
      expect(hosts).toEqual(Array<string>(times).fill(CURRENT_HOST));
    },
  );

  test("is not changed after the first page: a 404 on a later one fails", async ({ luma }) => {
    const hosts = routeLumaHosts(luma);
    luma.answerNext(status(200, { entries: [], has_more: true, next_cursor: "after-0" }));
    luma.answerNext(status(404));
    expect(await reasonOf(fetchAll(luma))).toContain("answered 404 for page 2 (1 attempt)");
    expect(hosts).toEqual([CURRENT_HOST, CURRENT_HOST]);
  });

  test("that fails in both places says so of both, the documented one first", async ({ luma }) => {
    routeLumaHosts(luma);
    luma.answerNext(status(410));
    luma.answerNext(failure(400, "Gone fishing."));
    const { message, consequences } = await failureOf(fetchAll(luma));
    expect(message).toBe(
      "public-api.luma.com answered 410 for page 1 (1 attempt); " +
        'public-api.lu.ma answered 400 for page 1 (1 attempt): "Gone fishing.". ' +
        "lu.ma may have moved its API: look for a newer version of this module. " +
        "The answer says why; if it is of no help, look for a newer version of this module.",
    );
    expect(consequences.kind).toBe("lasting");
  });

  test("that fails in both places fails in passing if one of them does", async ({ luma }) => {
    routeLumaHosts(luma);
    answerTimes(luma, 4, status(503));
    luma.answerNext(status(404));
    const { message, consequences } = await failureOf(fetchAll(luma));
    expect(message).toBe(
      "public-api.luma.com answered 503 for page 1 (4 attempts); " +
        "public-api.lu.ma answered 404 for page 1 (1 attempt). Sync again later.",
    );
    expect(consequences).toMatchObject({ kind: "passing", isUnserved: true });
  });

  test("that answers with other JSON in both places says that the API may have changed", async ({
    luma,
  }) => {
    routeLumaHosts(luma);
    answerTimes(luma, 2, status(200, {}));
    const { message, consequences } = await failureOf(fetchAll(luma));
    expect(message).toMatch(
      /\)\. lu\.ma may have changed its API: look for a newer version [^.]*\.$/,
    );
    expect(consequences).toMatchObject({ kind: "lasting" });
  });

  test("that fails in both places was not served if one of them did not serve", async ({
    luma,
  }) => {
    routeLumaHosts(luma);
    luma.answerNext(status(404));
    answerTimes(luma, 4, status(503));
    const { consequences } = await failureOf(fetchAll(luma));
    expect(consequences).toMatchObject({ kind: "passing", isUnserved: true });
  });

  test("whose second place rejects the key still gives the advice on the key", async ({ luma }) => {
    routeLumaHosts(luma);
    answerTimes(luma, 4, status(503));
    luma.answerNext(failure(401, "You are not signed in."));
    const { message, consequences } = await failureOf(fetchAll(luma));
    expect(message).toContain("public-api.luma.com answered 503");
    expect(message).toContain("public-api.lu.ma rejected the API key with 401");
    expect(message).toContain("Luma Plus");
    expect(consequences).toMatchObject({ kind: "passing", isUnserved: true });
  });

  test("that nobody reaches says to look at one's own network first, and why", async ({ luma }) => {
    routeLumaHosts(luma, [CURRENT_HOST, OLDER_HOST]);
    const { message, consequences } = await failureOf(fetchAll(luma));
    expect(message).toContain(`no connection to ${CURRENT_HOST} for page 1 (4 attempts): `);
    expect(message).toContain(`no connection to ${OLDER_HOST} for page 1 (4 attempts): `);
    expect(message).toContain("look at this deployment's own network first");
    expect(consequences).toMatchObject({ kind: "passing", isUnserved: true });
  });

  test.for<[string, Answer, number]>([
    ["404", status(404), 1],
    ["503", status(503), 4],
  ])(
    "of which one was reached (%s) does not blame the network",
    async ([, answer, times], { luma }) => {
      routeLumaHosts(luma, [CURRENT_HOST]);
      answerTimes(luma, times, answer);
      const { message } = await failureOf(fetchAll(luma));
      expect(message).toMatch(/attempts?\)\. Sync again later\.$/);
      expect(message).not.toContain("network");
    },
  );

  test("that is too slow leaves no time for the other one", async ({ luma }) => {
    const hosts = routeLumaHosts(luma);
    answerTimes(luma, 3, status(429, "", { "retry-after": "120" }));
    luma.answerNext(status(503));
    setTime(NOW);
    const request = { key: KEY, after: NOW, before: NOW + DAY_MS, deadline: NOW + MINUTE_MS };
    const { message } = await failureOf(settle(fetchLumaEvents(request), luma.activity));
    expect(message).toMatch(/^too slow/);
    expect(hosts).toEqual([CURRENT_HOST]);
  });

  test("too slow to be asked at both places says what the first one did", async ({ luma }) => {
    routeLumaHosts(luma);
    answerTimes(luma, 4, status(503));
    answerTimes(luma, 4, status(429, "", { "retry-after": "120" }));
    setTime(NOW);
    const late = fetchLumaEvents({
      key: KEY,
      after: NOW,
      before: NOW + DAY_MS,
      deadline: NOW + MINUTE_MS,
    });
    const { message, consequences } = await failureOf(settle(late, luma.activity));
    expect(message).toContain("public-api.luma.com answered 503 for page 1 (4 attempts); too slow");
    expect(message).toContain("(last, public-api.lu.ma answered 429). Sync again later.");
    expect(consequences.kind).toBe("passing");
  });

  test("is never left for where a redirect points, because the key would go there", async ({
    luma,
  }) => {
    luma.answerNext(status(302, "", { location: luma.url("/elsewhere") }));
    expect(await reasonOf(fetchAll(luma))).toContain("answered 302 for page 1");
    expect(luma.requests.map(({ path }) => path)).toEqual([CURRENT_PATH]);
  });
});

describe("LUMA_LIST_EVENTS_URL", () => {
  test("is asked, and nothing else", async ({ luma }) => {
    vi.stubEnv("LUMA_LIST_EVENTS_URL", `  ${luma.origin}/proxy${OLDER_PATH}?token=1\n`);
    luma.answerNext(status(404));
    const { message, consequences } = await failureOf(fetchAll(luma));
    expect(luma.requests.map(({ path }) => path)).toEqual([`/proxy${OLDER_PATH}`]);
    expect(luma.requests[0]?.query.get("token")).toBe("1");
    // It is itself the likely cause, and not the remedy.
    expect(consequences).toMatchObject({ kind: "lasting" });
    expect(message).toContain("(1 attempt). LUMA_LIST_EVENTS_URL is set on this deployment: if it");
    expect(message).not.toContain("newer version");
  });

  test("that is blank counts as none", async ({ luma }) => {
    const hosts = routeLumaHosts(luma);
    vi.stubEnv("LUMA_LIST_EVENTS_URL", " ");
    luma.answerNext(failure(401, "No."));
    const { message } = await failureOf(fetchAll(luma));
    expect(hosts).toEqual([CURRENT_HOST]);
    expect(message).not.toContain("LUMA_LIST_EVENTS_URL");
  });

  test.for([
    "ftp://lu.ma/calendar/list-events",
    "lu.ma/calendar/list-events",
    "https://me@proxy.example/calendar/list-events",
    "https://me:pass@proxy.example/calendar/list-events",
    "https://proxy.example/v1/calendars/events/list/",
    "https://proxy.example/v1/calendars/events",
    "https://proxy.example/?path=/calendar/list-events",
  ])("that cannot be asked (%s) is named as a wrong setting", async (setting, { luma }) => {
    vi.stubEnv("LUMA_LIST_EVENTS_URL", setting);
    const { message, consequences } = await failureOf(fetchAll(luma));
    expect(message).toContain("LUMA_LIST_EVENTS_URL is not an http(s) URL");
    expect(message).toContain("/calendars/events/list or /calendar/list-events");
    expect(message).toContain("Correct it on this deployment, or remove it");
    expect(message).not.toContain("pass@");
    expect(consequences).toMatchObject({ kind: "lasting" });
    expect(luma.requests).toEqual([]);
  });
});

describe("a description", () => {
  async function fetchOne(luma: LumaServer, lumaEventId = "evt-1") {
    const [address] = getAddresses();
    if (address === undefined) throw new Error("there is no address");
    const request = { key: KEY, address, deadline: Date.now() + 7 * MINUTE_MS };
    return await settle(fetchLumaDescription(lumaEventId, request), luma.activity);
  }

  test.for<[string, string, string]>([
    [CURRENT_PATH, "/v1/events/get", "event_id"],
    [`/proxy${OLDER_PATH}`, "/proxy/public/v1/event/get", "api_id"],
  ])("of a list at %s is asked for at %s", async ([list, path, parameter], { luma }) => {
    vi.stubEnv("LUMA_LIST_EVENTS_URL", `${luma.origin}${list}?token=1`);
    luma.answerNext(status(200, { description: "text" }));
    expect(await fetchOne(luma)).toBe("text");
    const [request] = luma.requests;
    expect(request).toMatchObject({ path, key: API_KEY });
    expect(Object.fromEntries(request?.query ?? [])).toEqual({ token: "1", [parameter]: "evt-1" });
  });

  test.for<[string, unknown, string | undefined]>([
    ["Markdown", { description: "plain", description_md: "*md*" }, "*md*"],
    ["plain text where there is no Markdown", { description: "plain" }, "plain"],
    ["plain text where it is null", { description: "plain", description_md: null }, "plain"],
    ["plain text where it is blank", { description: "plain", description_md: " " }, "plain"],
    ["plain text where it is no text", { description: "plain", description_md: 5 }, "plain"],
    ["Markdown alone", { description_md: "*md*" }, "*md*"],
    ["an event without one", { description: null, description_md: null }, ""],
    ["an event with an empty one only", { description: "" }, ""],
    ["the older format", { event: { api_id: "evt-1", description: "older" }, hosts: [] }, "older"],
    ["an answer that has neither", { id: "evt-1", name: "Event" }, undefined],
    ["an error with status 200", { message: "internal", code: null }, undefined],
    ["a description that is no text", { description: 5 }, undefined],
    [
      "Markdown beside a description that is no text",
      { description: 5, description_md: "*md*" },
      "*md*",
    ],
    ["null", null, undefined],
    ["a list", [], undefined],
  ])("is read from %s", async ([, body, expected], { luma }) => {
    luma.answerNext(status(200, body));
    expect(await fetchOne(luma)).toBe(expected);
  });

  test("is bounded, and well-formed", async ({ luma }) => {
    luma.answerNext(status(200, { description: `${"x".repeat(49_998)}🎉🎉` }));
    expect(await fetchOne(luma)).toBe(`${"x".repeat(49_998)}…`);
    luma.answerNext(status(200, { description: "half \ud83c" }));
    expect(await fetchOne(luma)).toBe("half \uFFFD");
  });

  test.for<[string, Answer]>([
    ["400", failure(400, "Invalid request.")],
    ["403", failure(403, "You don't have access to this event.")],
    ["404", status(404)],
    ["a redirect", status(302, "", { location: "/" })],
    ["418 in HTML", status(418, "<h1>Teapot</h1>")],
  ])("that is answered with %s concerns that event alone", async ([, answer], { luma }) => {
    luma.answerNext(answer);
    expect(await fetchOne(luma)).toBeUndefined();
    expect(luma.requests).toHaveLength(1);
  });

  test.for<[string, Answer]>([
    ["401", failure(401, "You are not signed in.")],
    ["401 in HTML", status(401, "<h1>Login</h1>")],
    ["429", status(429, "", { "retry-after": "1" })],
  ])("that is answered with %s is no reason to wait or to go on", async ([, answer], { luma }) => {
    luma.answerNext(answer);
    await failureOf(fetchOne(luma));
    expect(Date.now()).toBe(NOW);
    expect(luma.requests).toHaveLength(1);
  });

  test.for<[string, Answer]>([
    ["500", status(500)],
    ["no connection", reset],
    ["no answer in 30 s", silence],
    ["a body that is not JSON", status(200, "<h1>Welcome</h1>")],
  ])("that is answered with %s is asked for again as a page is", async ([, answer], { luma }) => {
    luma.setCalendar(API_KEY, [aWireEvent()]);
    answerTimes(luma, 3, answer);
    expect(await fetchOne(luma)).toBe("What happens at evt-1");
    answerTimes(luma, 4, answer);
    await failureOf(fetchOne(luma));
    expect(luma.requests).toHaveLength(4 + 4);
  });

  test("is not asked for when the time is up", async ({ luma }) => {
    const [address] = getAddresses();
    if (address === undefined) throw new Error("there is no address");
    const request = { key: KEY, address, deadline: NOW };
    expect((await failureOf(fetchLumaDescription("evt-1", request))).message).toContain("too slow");
    expect(luma.requests).toEqual([]);
  });
});

describe("Convex's runtime", () => {
  test("gets a signal that is aborted once at most, and only by the time limit", async ({
    luma,
  }) => {
    const signals: AbortSignal[] = [];
    const realFetch = globalThis.fetch;
    vi.stubGlobal("fetch", (input: string, init: RequestInit) => {
      expect(init.redirect).toBe("manual");
      if (init.signal) signals.push(init.signal);
      // A signal of the test's own to the real one: what that does with it is not the module's doing.
      return signals.length === 1
        ? new Promise(() => undefined)
        : realFetch(input, { ...init, signal: null });
    });
    const abort = vi.spyOn(AbortController.prototype, "abort");
    luma.setCalendar(API_KEY, wireEvents(1));
    luma.answerNext(status(500));
    await fetchAll(luma);
    expect(signals.map((signal) => signal.aborted)).toEqual([true, false, false]);
    expect(abort).toHaveBeenCalledTimes(1);
  });

  test("may say the URL in its errors: no message repeats its query, the key or a login", async ({
    luma,
  }) => {
    vi.stubGlobal("fetch", (input: string) => {
      const login = input.replace("://", "://me:pass@");
      return Promise.reject(new Error(`error sending request for url (${login}): ${API_KEY}`));
    });
    const reason = await reasonOf(fetchAll(luma));
    const { host } = new URL(luma.origin);
    expect(reason).toContain(
      `no connection to ${host} for page 1 (4 attempts): error sending request for url ` +
        `(http://${host}${CURRENT_PATH}): [API key]. There was no connection`,
    );
    expect(reason).not.toMatch(/pagination_limit|pass|secret-4711/);
  });

  test("may give the cause of a failed connection: it is passed on", async ({ luma }) => {
    const cause = Object.assign(new Error("getaddrinfo"), { code: "ENOTFOUND" });
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("fetch failed", { cause })));
    expect(await reasonOf(fetchAll(luma))).toContain(
      "(4 attempts): fetch failed (ENOTFOUND). There",
    );
  });

  test("may hide the status of a redirect that it did not follow", async ({ luma }) => {
    const hidden = { type: "opaqueredirect", status: 0, ok: false, headers: new Headers() };
    const response = { ...hidden, text: () => Promise.resolve("") };
    vi.stubGlobal("fetch", () => Promise.resolve(response));
    expect(await reasonOf(fetchAll(luma))).toContain("answered 302 for page 1 (1 attempt)");
  });

  test("may reject with what is no error", async ({ luma }) => {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
    vi.stubGlobal("fetch", () => Promise.reject("gone"));
    expect(await reasonOf(fetchAll(luma))).toContain("(4 attempts): gone. There was no connection");
  });

  test("may not heed the abort: a fetch that never ends is given up all the same", async ({
    luma,
  }) => {
    vi.stubGlobal("fetch", () => new Promise(() => undefined));
    expect(await reasonOf(fetchAll(luma))).toContain("no answer within 30 s");
    expect(Date.now() - NOW).toBe(4 * 30 * SECOND_MS + 7 * SECOND_MS);
  });
});
