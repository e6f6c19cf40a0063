import { describe, expect, vi } from "vitest";
import { fetchLumaEvents, type LumaListing } from "../convex/events/lumaClient";
import { aWireEvent, wireEvents, DAY_MS } from "./support/builders";
import { settle } from "./support/clock";
import { NOW, reasonOf, test } from "./support/fixtures";
import {
  CURRENT_PATH,
  OLDER_PATH,
  cutOff,
  endlessBody,
  reset,
  silence,
  status,
  type Answer,
  type LumaServer,
} from "./support/lumaServer";

const KEY = "secret-4711";
const SECOND_MS = 1_000;

async function fetchAll(luma: LumaServer): Promise<LumaListing> {
  const window = { after: NOW - 30 * DAY_MS, before: NOW + 90 * DAY_MS };
  const fetching = fetchLumaEvents({ apiKey: KEY, ...window });
  return await settle(fetching, luma.activity);
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

/** Sends what is meant for lu.ma's own hosts to the stand-in, over real HTTP; tells which hosts were asked. */
function routeLumaHosts(luma: LumaServer, unreachable: string[] = []): string[] {
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

const OLDER_HOST = "public-api.lu.ma";
const CURRENT_HOST = "public-api.luma.com";

describe("a listing", () => {
  test("is asked for with the window, the order, the page size and the key in its header", async ({
    luma,
  }) => {
    luma.setCalendar(KEY, []);
    await fetchAll(luma);
    expect(luma.requests).toHaveLength(1);
    const [request] = luma.requests;
    expect(request?.key).toBe(KEY);
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
    luma.setCalendar(KEY, wireEvents(250));
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
    luma.setCalendar(KEY, wireEvents(50));
    luma.answerNext(status(200, { entries: [], has_more: true, next_cursor: "after-0" }));
    expect((await fetchAll(luma)).events.size).toBe(50);
    expect(luma.requests).toHaveLength(4);
  });

  test("reads the same in the older wire format", async ({ luma }) => {
    luma.setCalendar(KEY, [aWireEvent({ meeting_url: "https://meet.example/1" })]);
    const current = await fetchAll(luma);
    vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
    expect(await fetchAll(luma)).toEqual(current);
    expect(current.events.size).toBe(1);
    expect(luma.requests.map(({ path }) => path)).toEqual([CURRENT_PATH, OLDER_PATH]);
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
      "an entry?",
      null,
    ];
    luma.answerNext(status(200, { entries, has_more: false }));
    const { events, invalid } = await fetchAll(luma);
    expect([...events.keys()]).toEqual(["evt-good"]);
    expect(invalid.map((entry) => entry.id)).toEqual([
      "evt-untitled",
      "evt-nameless",
      "evt-when",
      "evt-never",
      null,
      null,
      null,
      null,
    ]);
    expect(invalid.map((entry) => entry.reason.split(":")[0])).toEqual([
      "name",
      "name",
      "start_at",
      "start_at",
      ...Array<string>(4).fill("no readable id"),
    ]);
  });

  test("with a field of a wrong type loses that field, not the event", async ({ luma }) => {
    luma.setCalendar(KEY, [
      aWireEvent({
        description: 5,
        description_md: null,
        geo_address_json: "here",
        end_at: "soon",
      }),
    ]);
    const event = (await fetchAll(luma)).events.get("evt-1");
    expect(event).toMatchObject({ title: "Event evt-1" });
    expect(event).toMatchObject({
      description: undefined,
      location: undefined,
      endAt: undefined,
    });
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
  ])(
    "with Retry-After of %s is waited for, then the same page asked again",
    async ([, after, wait], { luma }) => {
      luma.setCalendar(KEY, wireEvents(1));
      luma.answerNext(status(429, { message: "slow down" }, after ? { "retry-after": after } : {}));
      expect((await fetchAll(luma)).events.size).toBe(1);
      expect(waits(luma)).toEqual([wait]);
      expect(luma.requests[1]?.query.toString()).toBe(luma.requests[0]?.query.toString());
    },
  );

  test("is waited for three times a page; the fourth fails as rate limited", async ({ luma }) => {
    luma.setCalendar(KEY, wireEvents(150));
    const limited = status(429, "", { "retry-after": "2" });
    answerTimes(luma, 3, limited);
    expect((await fetchAll(luma)).events.size).toBe(150);
    expect(luma.requests).toHaveLength(5);

    answerTimes(luma, 4, limited);
    const reason = await reasonOf(fetchAll(luma));
    expect(reason).toContain("rate limited");
    expect(reason).toContain("4 attempts");
    expect(luma.requests).toHaveLength(9);
  });

  test("on one page does not count against the next", async ({ luma }) => {
    luma.setCalendar(KEY, wireEvents(150));
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
    ["a 500", status(500, { message: "oops" }), '500: "{"message":"oops"}"', 0],
    ["a 503 with a page of HTML", status(503, "<h1>Maintenance</h1>"), "503", 0],
    ["a connection reset before the answer", reset, "no connection", 0],
    ["a connection closed in the middle of the body", cutOff, "in the middle of an answer", 0],
    ["no answer within 30 s", silence, "no answer within 30 s", 30 * SECOND_MS],
    ["a body that does not end within 30 s", endlessBody, "no answer within 30 s", 30 * SECOND_MS],
    [
      "HTML with status 200",
      status(200, "<h1>Welcome</h1>"),
      "200 with a body that is not JSON",
      0,
    ],
    ["truncated JSON with status 200", status(200, '{"entries": [{"id": "ev'), "not JSON", 0],
  ];

  test.for(passing)(
    "%s: the page is asked again after 1, 2 and 4 s",
    async ([, answer, , took], { luma }) => {
      luma.setCalendar(KEY, wireEvents(3));
      answerTimes(luma, 3, answer);
      expect((await fetchAll(luma)).events.size).toBe(3);
      expect(waits(luma)).toEqual([1, 2, 4].map((seconds) => took + seconds * SECOND_MS));
    },
  );

  test.for(passing)(
    "%s: four times fail, with what was seen",
    async ([, answer, seen], { luma }) => {
      luma.setCalendar(KEY, wireEvents(3));
      answerTimes(luma, 4, answer);
      const reason = await reasonOf(fetchAll(luma));
      expect(reason).toContain(seen);
      expect(reason).toContain("4 attempts");
      expect(luma.requests).toHaveLength(4);
    },
  );

  test("on a later page fails the whole listing", async ({ luma }) => {
    luma.setCalendar(KEY, wireEvents(150));
    luma.answerNext(status(200, firstPage()));
    answerTimes(luma, 4, status(502));
    expect(await reasonOf(fetchAll(luma))).toContain("page 2 could not be had: 502");
  });
});

describe("an answer that will not get better", () => {
  test.for([401, 403])("%i fails at once: the key, or no Luma Plus", async (code, { luma }) => {
    luma.answerNext(status(code, { message: `The key ${KEY} is not valid` }));
    const reason = await reasonOf(fetchAll(luma));
    expect(reason).toContain(`rejected the API key with ${code}`);
    expect(reason).toContain("Luma Plus");
    expect(reason).toContain("1 attempt");
    expect(reason).not.toContain(KEY);
    expect(luma.requests).toHaveLength(1);
  });

  test("another 4xx fails at once, with the status and the beginning of the body, without the key", async ({
    luma,
  }) => {
    luma.answerNext(status(422, { message: `bad cursor for ${KEY}`, trace: "x".repeat(5_000) }));
    const reason = await reasonOf(fetchAll(luma));
    expect(reason).toContain('422: "{"message":"bad cursor for [API key]"');
    expect(reason).not.toContain(KEY);
    expect(reason.length).toBeLessThan(500);
    expect(luma.requests).toHaveLength(1);
  });

  test.for<[string, unknown]>([
    ["no entries", { has_more: false }],
    ["entries that are no list", { entries: {}, has_more: false }],
    ["no has_more", { entries: [] }],
    ["a list only", []],
    ["null", null],
    ["an error with status 200", { message: "internal" }],
  ])("JSON of another shape is no empty calendar: %s", async ([, body], { luma }) => {
    luma.answerNext(status(200, body));
    expect(await reasonOf(fetchAll(luma))).toContain("JSON that is not a list of events");
    expect(luma.requests).toHaveLength(1);
  });

  test.for([undefined, null, ""])(
    "a next page without a cursor (%s) fails",
    async (cursor, { luma }) => {
      luma.answerNext(status(200, { entries: wireEvents(1), has_more: true, next_cursor: cursor }));
      expect(await reasonOf(fetchAll(luma))).toContain("gave no cursor");
    },
  );

  test("a cursor that was used already fails", async ({ luma }) => {
    answerTimes(luma, 3, status(200, { entries: [], has_more: true, next_cursor: "again" }));
    expect(await reasonOf(fetchAll(luma))).toContain("a second time");
    expect(luma.requests).toHaveLength(2);
  });

  test("200 pages are read, a 201st fails", async ({ luma }) => {
    luma.maxPageSize = 1;
    luma.setCalendar(KEY, wireEvents(200));
    expect((await fetchAll(luma)).events.size).toBe(200);
    luma.setCalendar(KEY, wireEvents(201));
    expect(await reasonOf(fetchAll(luma))).toContain("more than 200 pages");
    expect(luma.requests).toHaveLength(400);
  });

  test("a listing that takes more than 7 minutes, waits included, is given up by then", async ({
    luma,
  }) => {
    luma.maxPageSize = 1;
    luma.setCalendar(KEY, wireEvents(10));
    const slow: Answer = (response, request) => {
      const cursor = new URL(request.url ?? "", luma.origin).searchParams.get("pagination_cursor");
      const next = `page-${Number(cursor?.slice(5) ?? 1) + 1}`;
      setTimeout(
        () => status(200, { entries: [], has_more: true, next_cursor: next })(response, request),
        25 * SECOND_MS,
      );
    };
    answerTimes(luma, 100, slow);
    expect(await reasonOf(fetchAll(luma))).toContain("too slow");
    expect(Date.now() - NOW).toBeLessThanOrEqual(7 * 60 * SECOND_MS);
    expect(luma.requests.length).toBeGreaterThan(15);
  });

  test("waits that would exceed the 7 minutes are not begun", async ({ luma }) => {
    luma.setCalendar(KEY, wireEvents(150));
    const limited = status(429, "", { "retry-after": "120" });
    answerTimes(luma, 3, limited);
    luma.answerNext(status(200, firstPage()));
    luma.answerNext(limited);
    expect(await reasonOf(fetchAll(luma))).toContain("too slow");
    expect(Date.now() - NOW).toBeLessThan(7 * 60 * SECOND_MS);
  });
});

describe("the endpoint", () => {
  test("is the older address for as long as that answers", async ({ luma }) => {
    const hosts = routeLumaHosts(luma);
    luma.setCalendar(KEY, wireEvents(150));
    expect((await fetchAll(luma)).events.size).toBe(150);
    expect(hosts).toEqual([OLDER_HOST, OLDER_HOST]);
    expect(luma.requests.map(({ path }) => path)).toEqual([OLDER_PATH, OLDER_PATH]);
  });

  test.for([404, 410, 301, 302, 307, 308])(
    "is today's address for all pages when the older one answers %i",
    async (code, { luma }) => {
      const hosts = routeLumaHosts(luma);
      luma.setCalendar(KEY, wireEvents(150));
      luma.answerNext(status(code, "", { location: luma.url("/elsewhere") }));
      expect((await fetchAll(luma)).events.size).toBe(150);
      expect(hosts).toEqual([OLDER_HOST, CURRENT_HOST, CURRENT_HOST]);
      expect(luma.requests.map(({ path }) => path)).toEqual([
        OLDER_PATH,
        CURRENT_PATH,
        CURRENT_PATH,
      ]);
    },
  );

  test("is today's address when four attempts found no connection to the older one", async ({
    luma,
  }) => {
    const hosts = routeLumaHosts(luma, [OLDER_HOST]);
    luma.setCalendar(KEY, wireEvents(1));
    expect((await fetchAll(luma)).events.size).toBe(1);
    expect(hosts).toEqual([...Array<string>(4).fill(OLDER_HOST), CURRENT_HOST]);
    expect(luma.requests[0]?.at).toBe(NOW + 7 * SECOND_MS);
  });

  test.for<[string, Answer]>([
    ["a 401", status(401)],
    ["a 400", status(400)],
    ["JSON of another shape", status(200, {})],
    ["four times a 503", status(503)],
    ["four times no answer", silence],
    ["four times half an answer", cutOff],
  ])("is not changed because of %s", async ([, answer], { luma }) => {
    const hosts = routeLumaHosts(luma);
    luma.setCalendar(KEY, wireEvents(1));
    answerTimes(luma, 4, answer);
    await reasonOf(fetchAll(luma));
    expect(new Set(hosts)).toEqual(new Set([OLDER_HOST]));
  });

  test("is not changed after the first page: a 404 on a later one fails", async ({ luma }) => {
    const hosts = routeLumaHosts(luma);
    luma.answerNext(status(200, { entries: [], has_more: true, next_cursor: "after-0" }));
    luma.answerNext(status(404));
    expect(await reasonOf(fetchAll(luma))).toContain("it answered 404 to page 2 (1 attempt)");
    expect(hosts).toEqual([OLDER_HOST, OLDER_HOST]);
  });

  test("that is gone in both places fails, and says so of both", async ({ luma }) => {
    routeLumaHosts(luma, [CURRENT_HOST]);
    luma.answerNext(status(410));
    const reason = await reasonOf(fetchAll(luma));
    expect(reason).toContain(`${OLDER_HOST}: it answered 410`);
    expect(reason).toContain(`${CURRENT_HOST}: no connection`);
    expect(reason).toContain("4 attempts");
  });

  test("is never left for where a redirect points, because the key would go there", async ({
    luma,
  }) => {
    luma.answerNext(status(302, "", { location: luma.url("/elsewhere") }));
    expect(await reasonOf(fetchAll(luma))).toContain("it answered 302");
    expect(luma.requests.map(({ path }) => path)).toEqual([CURRENT_PATH]);
  });

  test("is what LUMA_LIST_EVENTS_URL says, and nothing else", async ({ luma }) => {
    vi.stubEnv("LUMA_LIST_EVENTS_URL", `  ${luma.url()}?proxy=1\n`);
    luma.answerNext(status(404));
    await reasonOf(fetchAll(luma));
    expect(luma.requests).toHaveLength(1);
    expect(luma.requests[0]?.query.get("proxy")).toBe("1");
  });

  test.for(["ftp://lu.ma/", "lu.ma", "https://me:pass@proxy.example/"])(
    "that cannot be asked (%s) is named as a wrong setting",
    async (setting, { luma }) => {
      vi.stubEnv("LUMA_LIST_EVENTS_URL", setting);
      expect(await reasonOf(fetchAll(luma))).toContain(
        "LUMA_LIST_EVENTS_URL is not an http(s) URL",
      );
      expect(luma.requests).toEqual([]);
    },
  );
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
    luma.setCalendar(KEY, wireEvents(1));
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
      return Promise.reject(new Error(`error sending request for url (${login}): ${KEY}`));
    });
    const reason = await reasonOf(fetchAll(luma));
    expect(reason).toContain("no connection");
    expect(reason).not.toMatch(/pagination_limit|pass|secret-4711/);
  });

  test("may not heed the abort: a fetch that never ends is given up all the same", async ({
    luma,
  }) => {
    vi.stubGlobal("fetch", () => new Promise(() => undefined));
    expect(await reasonOf(fetchAll(luma))).toContain("no answer within 30 s");
    expect(Date.now() - NOW).toBe(4 * 30 * SECOND_MS + 7 * SECOND_MS);
  });
});
