import { expect, vi } from "vitest";
import { SyncError, toFailure, type Cause } from "../convex/events/failure";
import { getAddresses } from "../convex/events/luma/addresses";
import { ONCE, PATIENT } from "../convex/events/luma/request";
import {
  fetchCalendar,
  fetchEvent,
  fetchLumaEvents,
  type SingleRequest,
} from "../convex/events/lumaClient";
import { aWireEvent, DAY_MS, MINUTE_MS, SECOND_MS, wireEvents } from "./support/builders";
import { countTimers, settle } from "./support/clock";
import { NOW, routeLumaHosts, test } from "./support/fixtures";
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
const KEY = { apiKey: API_KEY, source: "a test", howToSet: "a test" };
const CURRENT_HOST = "public-api.luma.com";
const OLDER_HOST = "public-api.lu.ma";

async function fetchAll(luma: LumaServer, timeMs = 7 * MINUTE_MS) {
  const window = { after: NOW - 30 * DAY_MS, before: NOW + 90 * DAY_MS };
  const fetching = fetchLumaEvents({ key: KEY, ...window, deadline: Date.now() + timeMs });
  return await settle(fetching, luma.activity);
}

function newRequest({ timeMs = 7 * MINUTE_MS, patience = PATIENT } = {}): SingleRequest {
  const [address] = getAddresses();
  if (address === undefined) throw new Error("there is no address");
  return { key: KEY, address, deadline: Date.now() + timeMs, patience };
}

async function fetchOne(luma: LumaServer, patience = PATIENT) {
  return await settle(fetchEvent(newRequest({ patience }), "evt-1"), luma.activity);
}

/** Why something failed, and with what consequences. */
async function failureOf(failing: Promise<unknown>) {
  const error: unknown = await failing.catch((thrown: unknown) => thrown);
  if (!(error instanceof SyncError)) throw new Error("no SyncError", { cause: error });
  const { causes, message: what } = error;
  return { causes, what, ...toFailure(error, "Acme") };
}

/** Seconds between each request and the one before it. */
function waits({ requests }: LumaServer): number[] {
  return requests.slice(1).map(({ at }, index) => (at - (requests[index]?.at ?? 0)) / SECOND_MS);
}

function answerTimes(luma: LumaServer, times: number, answer: Answer): void {
  for (let i = 0; i < times; i += 1) luma.answerNext(answer);
}

/** Answers all requests from now on the same way. */
function answerAll(luma: LumaServer, answer: Answer): void {
  luma.failBetween(-Infinity, Infinity, answer);
}

/** The first page of a calendar that has a second one. */
const firstPage = () =>
  status(200, { entries: wireEvents(100), has_more: true, next_cursor: "after-100" });

/** An answer whose body never ends: the connection is lost, or nothing more comes. */
const unfinished =
  (code: number, isLost: boolean): Answer =>
  (response, request) => {
    response.writeHead(code, { "content-length": "1000" });
    response.write("{");
    if (isLost) setImmediate(() => request.socket.destroy());
  };
const json = (code: number) => failure(code, "No.");
const html = (code: number) => status(code, "<h1>No</h1>", { "retry-after": "1" });
const redirect = (code: number) => status(code, "", { location: "https://elsewhere.example/" });
const limited = (retryAfter?: string) =>
  status(429, { message: "slow down" }, retryAfter ? { "retry-after": retryAfter } : {});

type Row = {
  what: string;
  answer: Answer;
  cause: Cause;
  kind: "transient" | "permanent";
  /** Seconds between attempts. */
  waits: number[];
  /** Whether the older address is tried next. */
  asksOlder: boolean;
  /** What it means as an answer to a request for one event. */
  ofOneEvent: "gone" | "nothing" | "failed";
};

/** Answers with the same consequences. */
function rows(follows: Omit<Row, "what" | "answer">, answers: [string, Answer][]): Row[] {
  return answers.map(([what, answer]) => ({ what, answer, ...follows }));
}
const transient = {
  kind: "transient",
  waits: [] as number[],
  asksOlder: false,
  ofOneEvent: "failed",
} as const;
const permanent = { ...transient, kind: "permanent" } as const;

/** What lu.ma can answer, with all the consequences. */
const ANSWERS: Row[] = [
  ...rows({ ...transient, cause: "rateLimited", waits: [1, 60, 60] }, [
    ["429 in JSON", limited("1")],
    ["429 in HTML", html(429)],
  ]),
  ...rows({ ...transient, cause: "unavailable", waits: [1, 2, 4] }, [
    ["500 in JSON", json(500)],
    ["503 in HTML", html(503)],
    ["200 in HTML", html(200)],
    ["truncated JSON", status(200, '{"entries": [{"id": "ev')],
    ["an answer that breaks off", cutOff],
    ["no connection", reset],
    ["408 in JSON", json(408)],
    ["425 in HTML", html(425)],
  ]),
  // Each attempt takes 30 s.
  ...rows({ ...transient, cause: "unavailable", waits: [31, 32, 34] }, [
    ["no answer", silence],
    ["an answer that never ends", endlessBody],
  ]),
  ...rows({ ...transient, cause: "foreign" }, [
    ["400 in HTML", html(400)],
    ["401 in HTML", html(401)],
    ["403 in HTML", html(403)],
    ["404 in HTML", html(404)],
    ["410 in HTML", html(410)],
    ["418 in HTML", html(418)],
    ["404 without a body", status(404)],
    ["a 403 that breaks off", unfinished(403, true)],
  ]),
  ...rows({ ...permanent, cause: "keyRejected" }, [["401 in JSON", json(401)]]),
  ...rows({ ...permanent, cause: "forbidden", ofOneEvent: "gone" }, [["403 in JSON", json(403)]]),
  ...rows({ ...permanent, cause: "gone", asksOlder: true, ofOneEvent: "gone" }, [
    ["404 in JSON", json(404)],
    ["410 in JSON", json(410)],
  ]),
  ...rows({ ...permanent, cause: "redirected", asksOlder: true, ofOneEvent: "nothing" }, [
    ["300", redirect(300)],
    ["301 in JSON", json(301)],
    ["302", redirect(302)],
    ["308", redirect(308)],
  ]),
  ...rows({ ...permanent, cause: "malformed", ofOneEvent: "gone" }, [["400 in JSON", json(400)]]),
  ...rows({ ...permanent, cause: "refused", ofOneEvent: "nothing" }, [
    ["402 in JSON", json(402)],
    ["422 in JSON", json(422)],
  ]),
  ...rows({ ...permanent, cause: "unreadable", asksOlder: true, ofOneEvent: "nothing" }, [
    ["JSON that isn't a list", status(200, {})],
  ]),
];

test("A list is requested by window, order and page size, with the key in a header", async ({
  luma,
}) => {
  luma.setCalendar(API_KEY, []);
  await fetchAll(luma);
  expect(luma.requests).toMatchObject([{ key: API_KEY }]);
  expect(Object.fromEntries(luma.requests[0]?.query ?? [])).toEqual({
    after: "2026-08-02T12:00:00.000Z",
    before: "2026-11-30T12:00:00.000Z",
    pagination_limit: "100",
    sort_column: "start_at",
    sort_direction: "asc",
  });
});

test("A list is read to its last page, with one request per page, 200 ms apart", async ({
  luma,
}) => {
  luma.setCalendar(API_KEY, wireEvents(250));
  const { listed, invalid } = await fetchAll(luma);
  expect([...listed.keys()]).toEqual(wireEvents(250).map((event) => event.id));
  expect(invalid).toEqual([]);
  const cursors = luma.requests.map(({ query }) => query.get("pagination_cursor"));
  expect(cursors).toEqual([null, "after-100", "after-200"]);
  expect(waits(luma)).toEqual([0.2, 0.2]);
  expect(countTimers()).toBe(0);
});

test("A list doesn't end at a small or empty page", async ({ luma }) => {
  luma.maxPageSize = 20;
  luma.setCalendar(API_KEY, wireEvents(50));
  luma.answerNext(status(200, { entries: [], has_more: true, next_cursor: "after-0" }));
  expect((await fetchAll(luma)).listed.size).toBe(50);
  expect(luma.requests).toHaveLength(4);
});

test("If an id is listed twice, the last entry counts", async ({ luma }) => {
  luma.setCalendar(API_KEY, [aWireEvent({ name: "Earlier" }), aWireEvent({ name: "Later" })]);
  const { listed } = await fetchAll(luma);
  expect([...listed.values()].map((event) => event.title)).toEqual(["Later"]);
  const entries = [aWireEvent(), aWireEvent({ start_at: "unreadable" })];
  luma.answerNext(status(200, { entries, has_more: false }));
  expect((await fetchAll(luma)).listed.size).toBe(0);
});

test("An unreadable entry is reported with its faults and whether it is public", async ({
  luma,
}) => {
  const [start_at, visibility] = ["2026-09-02T10:00:00Z", "public"];
  const [NO_TITLE, NO_START] = ["name: missing title", "start_at: missing or invalid time"];
  const NO_ID = "(no id) (no readable id)";
  const odd = `evt\u0007${API_KEY}`;
  const rows: [entry: unknown, id: string | null, what: string, isPublic: boolean][] = [
    [aWireEvent({ id: "blank", name: "  " }), "blank", `blank (${NO_TITLE})`, true],
    [{ id: "no-name", name: null, start_at }, "no-name", `no-name (${NO_TITLE})`, false],
    [aWireEvent({ id: "soon", start_at: "soon" }), "soon", `soon (${NO_START})`, true],
    [{ id: "never", name: "A" }, "never", `never (${NO_START})`, false],
    [{ name: "no id", start_at }, null, NO_ID, false],
    [{ visibility, event: { api_id: " a ", start_at } }, "a", `a (${NO_TITLE})`, true],
    [{ event: { visibility, name: "A", start_at } }, null, NO_ID, true],
    [aWireEvent({ id: "x".repeat(201) }), null, NO_ID, true],
    [{ id: odd }, odd, `evt [API key] (${NO_TITLE}; ${NO_START})`, false],
    ["an entry?", null, NO_ID, false],
    [null, null, NO_ID, false],
  ];
  const entries = [aWireEvent({ id: "evt-good" }), ...rows.map(([entry]) => entry)];
  luma.answerNext(status(200, { entries, has_more: false }));
  const { listed, invalid } = await fetchAll(luma);
  expect([...listed.keys()]).toEqual(["evt-good"]);
  expect(invalid).toEqual(rows.map(([, id, what, isPublic]) => ({ id, what, isPublic })));
});

test.for(ANSWERS)(
  "If the first page is answered with $what, the list fails after the right retries and addresses",
  async ({ answer, cause, kind, waits: expected, asksOlder }, { luma }) => {
    const log = vi.spyOn(console, "log");
    const hosts = routeLumaHosts(luma);
    answerAll(luma, answer);
    const failed = await failureOf(fetchAll(luma));
    const asked = asksOlder ? [CURRENT_HOST, OLDER_HOST] : [CURRENT_HOST];
    expect(failed).toMatchObject({ causes: asked.map(() => cause), kind });
    for (const host of asked) expect(failed.what).toContain(host);
    const attempts = expected.length + 1;
    expect(hosts).toEqual(asked.flatMap((host) => Array<string>(attempts).fill(host)));
    if (!asksOlder) expect(waits(luma)).toEqual(expected);
    expect(log).toHaveBeenCalledTimes(expected.length);
  },
);

test.for(ANSWERS)(
  "If a later page is answered with $what, the list fails, and the older address isn't tried",
  async ({ answer, cause, kind, waits: expected }, { luma }) => {
    const hosts = routeLumaHosts(luma);
    answerAll(luma, answer);
    luma.answerNext(firstPage());
    const failed = await failureOf(fetchAll(luma));
    // If lu.ma refuses a later page, its cursor has probably expired.
    const isExpired = ["malformed", "gone", "refused"].includes(cause);
    expect(failed).toMatchObject(
      isExpired ? { causes: ["oddPages"], kind: "transient" } : { causes: [cause], kind },
    );
    expect(failed.what).toContain("page 2");
    expect(hosts).toEqual(Array<string>(2 + expected.length).fill(CURRENT_HOST));
  },
);

test.for(ANSWERS)(
  "As an answer to a request for one event, $what means: $ofOneEvent",
  async ({ answer, cause, ofOneEvent, waits: expected }, { luma }) => {
    answerAll(luma, answer);
    for (const patience of [PATIENT, ONCE]) {
      luma.requests.length = 0;
      const fetching = fetchOne(luma, patience);
      if (ofOneEvent === "failed") expect((await failureOf(fetching)).causes).toEqual([cause]);
      else expect(await fetching).toBe(ofOneEvent);
      expect(waits(luma)).toEqual(patience === PATIENT ? expected : []);
    }
  },
);

test("A page may succeed at the fifth attempt, and each wait is logged", async ({ luma }) => {
  const log = vi.spyOn(console, "log");
  luma.setCalendar(API_KEY, wireEvents(3));
  for (const answer of [json(503), json(408), limited("1.25"), reset]) luma.answerNext(answer);
  expect((await fetchAll(luma)).listed.size).toBe(3);
  expect(waits(luma)).toEqual([1, 2, 1.25, 4]);
  const { host } = new URL(luma.origin);
  expect(log.mock.calls).toEqual([
    [`lu.ma: ${host} answered 503 for page 1; retrying in 1 s.`],
    [`lu.ma: ${host} answered 408 for page 1; retrying in 2 s.`],
    [`lu.ma: ${host} answered 429 for page 1; retrying in 2 s.`],
    [`lu.ma: no connection to ${host} for page 1; retrying in 4 s.`],
  ]);
});

test.for<[string, Answer, RegExp]>([
  [
    "an error",
    failure(500, "oops"),
    /^127.0.0.1:\d+ answered 500 for page 1 \(4 attempts\): "oops"$/,
  ],
  ["HTML", html(418), /^\S+ answered 418 for page 1 \(1 attempt\): "<h1>No<\/h1>"$/],
  [
    "HTML with status 200",
    html(200),
    /^\S+ answered 200 with a body that is not JSON for page 1 .*: "<h1>No<\/h1>"$/,
  ],
  [
    "the key",
    failure(401, `The key\n${API_KEY}\u001b[2J is bad`),
    /: "The key \[API key\] \[2J is bad"$/,
  ],
  ["a long answer", status(422, { problem: "x".repeat(5_000) }), /: "\{"problem":"x{187}…"$/],
  ["an empty list", status(422, []), /: "\[\]"$/],
  ["an empty answer", status(404), /^\S+ answered 404 for page 1 \(1 attempt\)$/],
  ["a lost body", unfinished(403, true), /^\S+ answered 403 for page 1 \(1 attempt\)$/],
  [
    "a cut answer",
    cutOff,
    /^\S+ lost the connection in the middle of an answer for page 1 \(4 attempts\)$/,
  ],
  ["an endless answer", endlessBody, /^\S+ gave no answer within 30 s for page 1 \(4 attempts\)$/],
  [
    "no connection",
    reset,
    /^no connection to 127.0.0.1:\d+ for page 1 \(4 attempts\): fetch failed/,
  ],
])("An error describes %s on one line, without the key", async ([, answer, what], { luma }) => {
  answerAll(luma, answer);
  expect((await failureOf(fetchAll(luma))).what).toMatch(what);
});

test.for<[string, unknown, string]>([
  ["no entries", { has_more: false }, "entries"],
  ["entries that aren't a list", { entries: {}, has_more: false }, "entries"],
  ["no has_more", { entries: [] }, "has_more"],
  ["a list as its body", [], "all of it"],
  ["null as its body", null, "all of it"],
  ["an error as its body", { message: "internal" }, "entries, has_more"],
  ["a cursor that isn't text", { entries: [], has_more: true, next_cursor: 5 }, "next_cursor"],
])("A page isn't taken for an empty calendar if it has %s", async ([, body, wrong], { luma }) => {
  luma.answerNext(status(200, body));
  const { what, causes } = await failureOf(fetchAll(luma));
  expect(what).toContain(`page 1 with JSON that is not a list of events (wrong: ${wrong})`);
  expect(causes).toEqual(["unreadable"]);
  expect(luma.requests).toHaveLength(1);
});

const inSeconds = (seconds: number) => new Date(NOW + seconds * SECOND_MS).toUTCString();
test.for<[string, after: string | undefined, first: number, second?: number]>([
  ["7 seconds", "7", 7],
  ["a second and a quarter", "1.25", 1.25],
  ["90 seconds", "90", 90, 90],
  ["an HTTP date", inSeconds(45), 45],
  ["0 seconds, raised to 1", "0", 1],
  ["a date in the past, raised to 1 s", inSeconds(-3_600), 1],
  ["an hour, lowered to 120 s", "3600", 120, 120],
  ["nothing, so 60 s", undefined, 60],
  ["a negative number, so 60 s", "-5", 60],
  ["words, so 60 s", "in a while", 60],
  ["text that Date.parse accepts, so 60 s", "maybe 5", 60],
  ["a date after other text, so 60 s", `by ${inSeconds(90)}`, 60],
  ["a number before other text, so 60 s", "5 minutes", 60],
  ["a weekday without a date, so 60 s", "Tuesday", 60],
])(
  "A page is retried after the Retry-After of a 429, and 60 s or more after a second one: %s",
  async ([, after, first, second = 60], { luma }) => {
    luma.setCalendar(API_KEY, wireEvents(1));
    answerTimes(luma, 2, limited(after));
    expect((await fetchAll(luma)).listed.size).toBe(1);
    expect(waits(luma)).toEqual([first, second]);
    expect(new Set(luma.requests.map(({ query }) => query.toString())).size).toBe(1);
  },
);

test("A 429 is recognized even if its body breaks off or never ends", async ({ luma }) => {
  luma.setCalendar(API_KEY, []);
  for (const answer of [unfinished(429, true), unfinished(429, false)]) luma.answerNext(answer);
  await fetchAll(luma);
  expect(waits(luma)).toEqual([60, 30 + 60]);
});

test("A 429 on one page doesn't count against the next page", async ({ luma }) => {
  luma.setCalendar(API_KEY, wireEvents(150));
  answerTimes(luma, 3, limited("2"));
  luma.answerNext(firstPage());
  answerTimes(luma, 3, limited("2"));
  expect((await fetchAll(luma)).listed.size).toBe(150);
  expect(waits(luma)).toEqual([2, 60, 60, 0.2, 2, 60, 60]);
});

const NO_CURSOR = "no cursor after page 1";
test.for<[cursor: string | null | undefined, given: string, count: number]>([
  [undefined, NO_CURSOR, 1],
  [null, NO_CURSOR, 1],
  ["", NO_CURSOR, 1],
  ["again", "the same cursor again after page 2", 2],
])(
  "A list fails if the cursor of its next page is %j",
  async ([cursor, given, count], { luma }) => {
    answerAll(luma, status(200, { entries: [], has_more: true, next_cursor: cursor }));
    const failed = await failureOf(fetchAll(luma));
    expect(failed).toMatchObject({ what: `lu.ma returned ${given}`, causes: ["oddPages"] });
    expect(luma.requests).toHaveLength(count);
  },
);

test("A list is read up to its 200th page, and fails if there is a 201st", async ({ luma }) => {
  luma.maxPageSize = 1;
  luma.setCalendar(API_KEY, wireEvents(200));
  expect((await fetchAll(luma)).listed.size).toBe(200);
  luma.setCalendar(API_KEY, wireEvents(201));
  const { what, causes } = await failureOf(fetchAll(luma));
  expect([what, causes]).toEqual(["lu.ma returned more than 200 pages", ["oddPages"]]);
  expect(luma.requests).toHaveLength(400);
});

test("A list is given up after 7 minutes, including the time that answers take", async ({
  luma,
}) => {
  luma.maxPageSize = 1;
  luma.answerMs = 25 * SECOND_MS;
  luma.setCalendar(API_KEY, wireEvents(100));
  const { what, causes, kind } = await failureOf(fetchAll(luma));
  expect(what).toMatch(/ too slow: .* \(last problem: 127.0.0.1:\d+ gave no answer within 17 s\)$/);
  expect([kind, causes]).toEqual(["transient", ["tooSlow"]]);
  expect(Date.now() - NOW).toBe(7 * MINUTE_MS);
  expect(luma.requests).toHaveLength(17);
});

test("A list is given up before a wait that would exceed the 7 minutes", async ({ luma }) => {
  const log = vi.spyOn(console, "log");
  answerTimes(luma, 3, limited("120"));
  luma.answerNext(firstPage());
  luma.answerNext(limited("120"));
  const { host } = new URL(luma.origin);
  expect((await failureOf(fetchAll(luma))).what).toBe(
    "lu.ma was too slow: it could not be read within 7 minutes, waits included " +
      `(last problem: ${host} answered 429)`,
  );
  expect(Date.now() - NOW).toBe(6 * MINUTE_MS + 200);
  expect(log).toHaveBeenCalledTimes(3);
});

test.for(ANSWERS.filter(({ asksOlder }) => asksOlder))(
  "If the documented address answers $what, all pages and events are requested at the older one",
  async ({ answer }, { luma }) => {
    const hosts = routeLumaHosts(luma);
    const events = wireEvents(150, (i) => ({ visibility: [undefined, null, "public"][i] }));
    luma.setCalendar(API_KEY, events);
    luma.answerNext(answer);
    const { listed, address } = await fetchAll(luma);
    const shown = [...listed.values()].map((event) => event.status);
    expect(shown.slice(0, 3)).toEqual(["unlisted", "unlisted", "listed"]);
    expect(listed.size).toBe(150);
    expect(hosts).toEqual([CURRENT_HOST, OLDER_HOST, OLDER_HOST]);
    const paths = luma.requests.map(({ path }) => path);
    expect(paths).toEqual([CURRENT_PATH, OLDER_PATH, OLDER_PATH]);
    expect(address.event.href).toBe("https://public-api.lu.ma/public/v1/event/get");
  },
);

test.for<[what: string, Answer, Cause, kind: string, said: string]>([
  ["400", json(400), "malformed", "permanent", '400 for page 1 (1 attempt): "No."'],
  ["401", json(401), "keyRejected", "permanent", "401 for page 1"],
  ["404", json(404), "gone", "permanent", "404 for page 1"],
  ["HTML", html(404), "foreign", "transient", "404 for page 1"],
  ["503", json(503), "unavailable", "transient", "503 for page 1"],
  ["429", limited("120"), "tooSlow", "transient", "429)"],
])(
  "If both addresses fail, the older one with %s, the error describes both failures",
  async ([, answer, cause, kind, said], { luma }) => {
    routeLumaHosts(luma);
    answerAll(luma, answer);
    luma.answerNext(failure(410, ""));
    const failed = await failureOf(fetchAll(luma, MINUTE_MS));
    expect(failed).toMatchObject({ causes: ["gone", cause], kind });
    expect(failed.what).toMatch(/^public-api.luma.com answered 410 for page 1 \(1 attempt\); /);
    expect(failed.what).toContain(`public-api.lu.ma answered ${said}`);
  },
);

test("If LUMA_LIST_EVENTS_URL is set, no other address is tried", async ({ luma }) => {
  vi.stubEnv("LUMA_LIST_EVENTS_URL", `  ${luma.origin}/proxy${OLDER_PATH}?token=1\n`);
  luma.answerNext(json(404));
  expect((await failureOf(fetchAll(luma))).causes).toEqual(["gone"]);
  expect(luma.requests.map(({ path }) => path)).toEqual([`/proxy${OLDER_PATH}`]);
  expect(luma.requests[0]?.query.get("token")).toBe("1");
});

test("A blank LUMA_LIST_EVENTS_URL means lu.ma itself", async ({ luma }) => {
  const hosts = routeLumaHosts(luma);
  vi.stubEnv("LUMA_LIST_EVENTS_URL", " ");
  luma.answerNext(json(401));
  await failureOf(fetchAll(luma));
  expect(hosts).toEqual([CURRENT_HOST]);
});

test.for([
  "ftp://lu.ma/calendar/list-events",
  "lu.ma/calendar/list-events",
  "https://me@proxy.example/calendar/list-events",
  "https://:pass@proxy.example/calendar/list-events",
  "https://proxy.example/v1/calendars/events/list/",
  "https://proxy.example/v1/calendars/events",
  "https://proxy.example/?path=/calendar/list-events",
])(
  "A wrong LUMA_LIST_EVENTS_URL (%s) is an error, and nothing is requested",
  async (setting, { luma }) => {
    vi.stubEnv("LUMA_LIST_EVENTS_URL", setting);
    const { what, causes } = await failureOf(fetchAll(luma));
    expect(what).toBe(
      "the environment variable LUMA_LIST_EVENTS_URL is not an http(s) URL (without a user name) whose path ends in " +
        "/calendars/events/list or /calendar/list-events. Correct it on this deployment, or remove it to use lu.ma itself",
    );
    expect(causes).toEqual(["misconfigured"]);
    expect(luma.requests).toEqual([]);
  },
);

test.for<[string, string, string]>([
  [CURRENT_PATH, "/v1/events/get", "event_id"],
  [`/proxy${OLDER_PATH}`, "/proxy/public/v1/event/get", "api_id"],
])(
  "If the list is at %s, one event is requested at %s",
  async ([list, path, parameter], { luma }) => {
    vi.stubEnv("LUMA_LIST_EVENTS_URL", `${luma.origin}${list}?token=1`);
    luma.answerNext(status(200, { event: aWireEvent() }));
    expect(await fetchOne(luma)).toMatchObject({ event: { lumaEventId: "evt-1" } });
    const [request] = luma.requests;
    expect(request).toMatchObject({ path, key: API_KEY });
    expect(Object.fromEntries(request?.query ?? [])).toEqual({ token: "1", [parameter]: "evt-1" });
  },
);

const description = "What happens at evt-1";
const undescribed = { description: undefined, description_md: undefined };
test.for<[string, unknown, string, string?]>([
  ["the event", aWireEvent(), "listed", description],
  ["the event in a wrapper", { event: aWireEvent(), hosts: [] }, "listed", description],
  [
    "the event without its visibility",
    aWireEvent({ visibility: undefined }),
    "unlisted",
    description,
  ],
  ["the event, now private", aWireEvent({ visibility: "private" }), "unlisted"],
  ["the event in a wrapper that hides it", { access: "view", event: aWireEvent() }, "unlisted"],
  ["the event without a description", aWireEvent(undescribed), "listed"],
  ["another event", aWireEvent({ id: "evt-2" }), "nothing"],
  ["an unreadable event", aWireEvent({ name: "", visibility: "private" }), "nothing"],
  ["an error with status 200", { message: "internal", code: null }, "nothing"],
  ["null", null, "nothing"],
  ["a list", [], "nothing"],
])(
  "One event is read from lu.ma's answer if that is usable: %s",
  async ([, body, shown, text], { luma }) => {
    answerAll(luma, status(200, body));
    const expected = { event: { lumaEventId: "evt-1", status: shown }, description: text };
    const answer = await fetchOne(luma);
    if (shown === "nothing") expect(answer).toBe("nothing");
    else expect(answer).toMatchObject(expected);
  },
);

test("One event names the other calendar that manages it, if lu.ma does", async ({ luma }) => {
  for (const { says, managedBy } of [
    { says: { calendar_id: "cal-9", access: "view" }, managedBy: "cal-9" },
    { says: { calendar_id: "cal-9", access: null }, managedBy: "cal-9" },
    { says: { calendar_id: "cal-9", access: "manage" }, managedBy: undefined },
    { says: { calendar_id: null, access: null }, managedBy: undefined },
  ]) {
    luma.answerNext(status(200, aWireEvent(says)));
    expect(await fetchOne(luma)).toMatchObject({ managedBy });
  }
});

test("Nothing is requested once the time is up", async ({ luma }) => {
  const late = await failureOf(fetchEvent(newRequest({ timeMs: 0 }), "evt-1"));
  expect(late.causes).toEqual(["tooSlow"]);
  expect(late.what).toMatch(/ too slow: .*, waits included$/);
  expect(luma.requests).toEqual([]);
});

const ACME = { id: "cal-1", name: "Acme" };
const ODD = { api_id: "cal-1", name: ` A\u001b\n${API_KEY} ` };
test.for<[string, Answer, object | "nothing"]>([
  ["the calendar", status(200, { ...ACME, slug: null }), ACME],
  ["the calendar in a wrapper", status(200, { calendar: ACME }), ACME],
  ["the calendar with the older id", status(200, ODD), { ...ACME, name: "A [API key]" }],
  ["no name", status(200, { id: "cal-1", name: "" }), "nothing"],
  ["no id", status(200, { name: "Acme" }), "nothing"],
  ["null", status(200, null), "nothing"],
  ["401 in JSON", json(401), "nothing"],
  ["HTML", html(200), "nothing"],
  ["no answer", silence, "nothing"],
])(
  "The key's calendar is requested once, and read if the answer is usable: %s",
  async ([, answer, expected], { luma }) => {
    answerAll(luma, answer);
    const fetching = fetchCalendar(newRequest({ patience: ONCE }));
    expect(await settle(fetching, luma.activity)).toEqual(expected);
    expect(luma.requests).toMatchObject([{ path: "/v1/calendars/get", key: API_KEY }]);
    expect(Date.now() - NOW).toBe(answer === silence ? 10 * SECOND_MS : 0);
  },
);

test("The key's calendar isn't requested at the older address", async ({ luma }) => {
  vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
  expect(await fetchCalendar(newRequest())).toBeNull();
  expect(luma.requests).toEqual([]);
});

test("A signal is aborted only by the time limit, and only once, as Convex requires", async ({
  luma,
}) => {
  const signals: AbortSignal[] = [];
  const realFetch = globalThis.fetch;
  vi.stubGlobal("fetch", (input: string, init: RequestInit) => {
    expect(init.redirect).toBe("manual");
    if (init.signal) signals.push(init.signal);
    // The real fetch gets no signal, because what it does with one isn't the module's doing.
    return signals.length === 1
      ? new Promise((_, reject) =>
          init.signal?.addEventListener("abort", () => {
            reject(new DOMException("The signal was aborted", "AbortError"));
          }),
        )
      : realFetch(input, { ...init, signal: null });
  });
  const abort = vi.spyOn(AbortController.prototype, "abort");
  luma.setCalendar(API_KEY, wireEvents(1));
  luma.answerNext(status(500));
  await fetchAll(luma);
  expect(signals.map((signal) => signal.aborted)).toEqual([true, false, false]);
  expect(abort).toHaveBeenCalledTimes(1);
});

test.for<[string, (login: string) => unknown, (url: string) => string]>([
  [
    "without the URL's query, login or key",
    (login) => new Error(`error sending request for url (${login}): ${API_KEY}`),
    (url) => `error sending request for url (${url}): [API key]`,
  ],
  [
    "with its cause",
    () => new TypeError("fetch failed", { cause: { code: "ENOTFOUND" } }),
    () => "fetch failed (ENOTFOUND)",
  ],
  ["even if that isn't an Error", () => "gone", () => "gone"],
])("If fetch fails, its error is quoted, %s", async ([, toError, expected], { luma }) => {
  vi.stubGlobal("fetch", (input: string) => {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
    return Promise.reject(toError(input.replace("://", "://me:pass@")));
  });
  const { what } = await failureOf(fetchAll(luma));
  const { host } = new URL(luma.origin);
  const said = expected(`http://${host}${CURRENT_PATH}`);
  expect(what).toBe(`no connection to ${host} for page 1 (4 attempts): ${said}`);
});

test("A redirect whose status the runtime hides counts as a 302", async ({ luma }) => {
  const hidden = { type: "opaqueredirect", status: 0, ok: false, headers: new Headers() };
  const response = { ...hidden, text: () => Promise.resolve("") };
  vi.stubGlobal("fetch", () => Promise.resolve(response));
  expect((await failureOf(fetchAll(luma))).what).toContain("answered 302 for page 1 (1 attempt)");
});

test("Outside of luma/, only lumaClient.ts knows lu.ma's formats", () => {
  const files = import.meta.glob<string>("../convex/**/*.ts", {
    query: "?raw",
    import: "default",
    eager: true,
  });
  const importing = Object.entries(files)
    .filter(([file]) => !/_generated|events\/luma\//.test(file))
    .filter(([, text]) => /from ".*luma\/(wire|mapping|attempt)"/.test(text))
    .map(([file]) => file);
  expect(importing).toEqual(["../convex/events/lumaClient.ts"]);
});
