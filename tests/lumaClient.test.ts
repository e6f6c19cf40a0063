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
import { aWireEvent, DAY_MS, wireEvents } from "./support/builders";
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
const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
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

/** Why something failed, and what follows from it. */
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

/** Answers all requests from now on alike. */
function answerAll(luma: LumaServer, answer: Answer): void {
  luma.failBetween(-Infinity, Infinity, answer);
}

/** The first page of a calendar that has a second one. */
const firstPage = () =>
  status(200, { entries: wireEvents(100), has_more: true, next_cursor: "after-100" });

/** An answer with a status and without the end of its body: the connection is lost, or nothing more comes. */
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
  /** Seconds between attempts, of which there is one more. */
  waits: number[];
  /** Whether the older address of the list is asked after it. */
  asksOlder: boolean;
  /** What it means for one event. */
  ofOneEvent: "gone" | "nothing" | "failed";
};

/** Rows with the same consequences: transient ones are asked for again, perhaps, and permanent ones never. */
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

/** What lu.ma can do, and all that follows. */
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
    ["half an answer", cutOff],
    ["no connection", reset],
    ["408 in JSON", json(408)],
    ["425 in HTML", html(425)],
  ]),
  // After 30 s each.
  ...rows({ ...transient, cause: "unavailable", waits: [31, 32, 34] }, [
    ["no answer", silence],
    ["an answer without an end", endlessBody],
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
    ["JSON that is no list", status(200, {})],
  ]),
];

test("A list is asked for by window, order and page size, the key in a header", async ({
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

test("A list is read to its last page, one request a page, 200 ms apart", async ({ luma }) => {
  luma.setCalendar(API_KEY, wireEvents(250));
  const { listed, invalid } = await fetchAll(luma);
  expect([...listed.keys()]).toEqual(wireEvents(250).map((event) => event.id));
  expect(invalid).toEqual([]);
  const cursors = luma.requests.map(({ query }) => query.get("pagination_cursor"));
  expect(cursors).toEqual([null, "after-100", "after-200"]);
  expect(waits(luma)).toEqual([0.2, 0.2]);
  expect(countTimers()).toBe(0);
});

test("A list of small or empty pages is read to its end, too", async ({ luma }) => {
  luma.maxPageSize = 20;
  luma.setCalendar(API_KEY, wireEvents(50));
  luma.answerNext(status(200, { entries: [], has_more: true, next_cursor: "after-0" }));
  expect((await fetchAll(luma)).listed.size).toBe(50);
  expect(luma.requests).toHaveLength(4);
});

test("An id that is listed twice is one event, as it was listed last", async ({ luma }) => {
  luma.setCalendar(API_KEY, [aWireEvent({ name: "Earlier" }), aWireEvent({ name: "Later" })]);
  const { listed } = await fetchAll(luma);
  expect([...listed.values()].map((event) => event.title)).toEqual(["Later"]);
});

test("An unreadable entry is told with its faults and whether it is public", async ({ luma }) => {
  const [start_at, visibility] = ["2026-09-02T10:00:00Z", "public"];
  const odd = `evt\u0007${API_KEY}`;
  const rows: [entry: unknown, id: string | null, what: string, isPublic: boolean][] = [
    [
      aWireEvent({ id: "untitled", name: "  " }),
      "untitled",
      "untitled (name: missing title)",
      true,
    ],
    [{ id: "no-name", name: null, start_at }, "no-name", "no-name (name: missing title)", false],
    [
      { ...aWireEvent(), start_at: "soon" },
      "evt-1",
      "evt-1 (start_at: missing or invalid time)",
      true,
    ],
    [{ id: "never", name: "A" }, "never", "never (start_at: missing or invalid time)", false],
    [{ name: "no id", start_at }, null, "(no id) (no readable id)", false],
    [{ visibility, event: { api_id: " a ", start_at } }, "a", "a (name: missing title)", true],
    [{ event: { visibility, name: "A", start_at } }, null, "(no id) (no readable id)", true],
    [aWireEvent({ id: "x".repeat(201) }), null, "(no id) (no readable id)", true],
    [
      { id: odd },
      odd,
      "evt [API key] (name: missing title; start_at: missing or invalid time)",
      false,
    ],
    ["an entry?", null, "(no id) (no readable id)", false],
    [null, null, "(no id) (no readable id)", false],
  ];
  const entries = [aWireEvent({ id: "evt-good" }), ...rows.map(([entry]) => entry)];
  luma.answerNext(status(200, { entries, has_more: false }));
  const { listed, invalid } = await fetchAll(luma);
  expect([...listed.keys()]).toEqual(["evt-good"]);
  expect(invalid).toEqual(rows.map(([, id, what, isPublic]) => ({ id, what, isPublic })));
});

test.for(ANSWERS)(
  "A list fails, after as many attempts and addresses as may help, when its first page is answered with $what",
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
  "A list fails, without another address, when a later page is answered with $what: a refusal means an expired cursor",
  async ({ answer, cause, kind, waits: expected }, { luma }) => {
    const hosts = routeLumaHosts(luma);
    answerAll(luma, answer);
    luma.answerNext(firstPage());
    const failed = await failureOf(fetchAll(luma));
    const isExpired = ["malformed", "gone", "refused"].includes(cause);
    expect(failed).toMatchObject(
      isExpired ? { causes: ["oddPages"], kind: "transient" } : { causes: [cause], kind },
    );
    expect(failed.what).toContain("page 2");
    expect(hosts).toEqual(Array<string>(2 + expected.length).fill(CURRENT_HOST));
  },
);

test.for(ANSWERS)(
  "One event is gone, or nothing is known about it, or asking for it fails when lu.ma's answer is $what",
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

test("A page may come at the fifth attempt, each wait a line of the log", async ({ luma }) => {
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

test.for<[Answer, RegExp]>([
  [failure(500, "oops"), /^127.0.0.1:\d+ answered 500 for page 1 \(4 attempts\): "oops"$/],
  [html(418), /^\S+ answered 418 for page 1 \(1 attempt\): "<h1>No<\/h1>"$/],
  [html(200), /^\S+ answered 200 with a body that is not JSON for page 1 .*: "<h1>No<\/h1>"$/],
  [failure(401, `The key\n${API_KEY}\u001b[2J is bad`), /: "The key \[API key\] \[2J is bad"$/],
  [status(422, { problem: "x".repeat(5_000) }), /: "\{"problem":"x{187}…"$/],
  [status(422, []), /: "\[\]"$/],
  [status(404), /^\S+ answered 404 for page 1 \(1 attempt\)$/],
  [unfinished(403, true), /^\S+ answered 403 for page 1 \(1 attempt\)$/],
  [cutOff, /^\S+ lost the connection in the middle of an answer for page 1 \(4 attempts\)$/],
  [endlessBody, /^\S+ gave no answer within 30 s for page 1 \(4 attempts\)$/],
  [reset, /^no connection to 127.0.0.1:\d+ for page 1 \(4 attempts\): fetch failed/],
])(
  "What lu.ma says is quoted on one line, without the key (%#)",
  async ([answer, what], { luma }) => {
    answerAll(luma, answer);
    expect((await failureOf(fetchAll(luma))).what).toMatch(what);
  },
);

test.for<[string, unknown, string]>([
  ["no entries", { has_more: false }, "entries"],
  ["entries that are no list", { entries: {}, has_more: false }, "entries"],
  ["no has_more", { entries: [] }, "has_more"],
  ["a list only", [], "all of it"],
  ["null", null, "all of it"],
  ["an error with status 200", { message: "internal" }, "entries, has_more"],
  ["a cursor that is no text", { entries: [], has_more: true, next_cursor: 5 }, "next_cursor"],
])("A page of another shape is no empty calendar: %s", async ([, body, wrong], { luma }) => {
  luma.answerNext(status(200, body));
  const { what, causes } = await failureOf(fetchAll(luma));
  expect(what).toContain(
    `answered page 1 with JSON that is not a list of events (wrong: ${wrong})`,
  );
  expect(causes).toEqual(["unreadable"]);
  expect(luma.requests).toHaveLength(1);
});

const inSeconds = (seconds: number) => new Date(NOW + seconds * SECOND_MS).toUTCString();
test.for<[string, after: string | undefined, first: number, second?: number]>([
  ["7 seconds", "7", 7],
  ["a second and a quarter", "1.25", 1.25],
  ["90 seconds", "90", 90, 90],
  ["an HTTP date", inSeconds(45), 45],
  ["0 seconds: at least 1", "0", 1],
  ["a date that has passed: at least 1", inSeconds(-3_600), 1],
  ["an hour: at most 120 s", "3600", 120, 120],
  ["nothing: 60 s", undefined, 60],
  ["something unreadable: 60 s", "-5", 60],
  ["something else unreadable: 60 s", "in a while", 60],
  ["something that only looks like a date: 60 s", "maybe 5", 60],
  ["a date behind something else: 60 s", `by ${inSeconds(90)}`, 60],
  ["a number before something else: 60 s", "5 minutes", 60],
  ["a day without a date: 60 s", "Tuesday", 60],
])(
  "A 429 has its page asked again after its Retry-After, and a second one after 60 s at least: %s",
  async ([, after, first, second = 60], { luma }) => {
    luma.setCalendar(API_KEY, wireEvents(1));
    answerTimes(luma, 2, limited(after));
    expect((await fetchAll(luma)).listed.size).toBe(1);
    expect(waits(luma)).toEqual([first, second]);
    expect(new Set(luma.requests.map(({ query }) => query.toString())).size).toBe(1);
  },
);

test("A 429 whose body breaks off or never ends is one all the same", async ({ luma }) => {
  luma.setCalendar(API_KEY, []);
  for (const answer of [unfinished(429, true), unfinished(429, false)]) luma.answerNext(answer);
  await fetchAll(luma);
  expect(waits(luma)).toEqual([60, 30 + 60]);
});

test("A 429 on one page does not count against the next", async ({ luma }) => {
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
])("A list fails where a next page has the cursor %j", async ([cursor, given, count], { luma }) => {
  answerAll(luma, status(200, { entries: [], has_more: true, next_cursor: cursor }));
  const failed = await failureOf(fetchAll(luma));
  expect(failed).toMatchObject({ what: `lu.ma returned ${given}`, causes: ["oddPages"] });
  expect(luma.requests).toHaveLength(count);
});

test("A list is read up to its 200th page, and fails with a 201st", async ({ luma }) => {
  luma.maxPageSize = 1;
  luma.setCalendar(API_KEY, wireEvents(200));
  expect((await fetchAll(luma)).listed.size).toBe(200);
  luma.setCalendar(API_KEY, wireEvents(201));
  const failed = await failureOf(fetchAll(luma));
  expect(failed).toMatchObject({
    what: "lu.ma returned more than 200 pages",
    causes: ["oddPages"],
  });
  expect(luma.requests).toHaveLength(400);
});

test("A list is given up after 7 minutes, answers included", async ({ luma }) => {
  luma.maxPageSize = 1;
  luma.answerMs = 25 * SECOND_MS;
  luma.setCalendar(API_KEY, wireEvents(100));
  const { what, causes, kind } = await failureOf(fetchAll(luma));
  expect(what).toMatch(/ too slow: .* \(the last one: 127.0.0.1:\d+ gave no answer within 17 s\)$/);
  expect([kind, causes]).toEqual(["transient", ["tooSlow"]]);
  expect(Date.now() - NOW).toBe(7 * MINUTE_MS);
  expect(luma.requests).toHaveLength(17);
});

test("A list is given up before a wait that would exceed its 7 minutes", async ({ luma }) => {
  const log = vi.spyOn(console, "log");
  answerTimes(luma, 3, limited("120"));
  luma.answerNext(firstPage());
  luma.answerNext(limited("120"));
  const { host } = new URL(luma.origin);
  expect((await failureOf(fetchAll(luma))).what).toBe(
    "lu.ma was too slow: its answers took more than 7 minutes, waits included " +
      `(the last one: ${host} answered 429)`,
  );
  expect(Date.now() - NOW).toBe(6 * MINUTE_MS + 200);
  expect(log).toHaveBeenCalledTimes(3);
});

test.for(ANSWERS.filter(({ asksOlder }) => asksOlder))(
  "The older address is asked for all pages, and for events, when the documented one is gone ($what)",
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

test.for<{ what: string; answer: Answer; cause: Cause; kind: string; said: string }>([
  {
    what: "400",
    answer: json(400),
    cause: "malformed",
    kind: "permanent",
    said: '400 for page 1 (1 attempt): "No."',
  },
  {
    what: "401",
    answer: json(401),
    cause: "keyRejected",
    kind: "permanent",
    said: "401 for page 1",
  },
  { what: "404", answer: json(404), cause: "gone", kind: "permanent", said: "404 for page 1" },
  { what: "HTML", answer: html(404), cause: "foreign", kind: "transient", said: "404 for page 1" },
  {
    what: "503",
    answer: json(503),
    cause: "unavailable",
    kind: "transient",
    said: "503 for page 1",
  },
  { what: "429", answer: limited("120"), cause: "tooSlow", kind: "transient", said: "429)" },
])(
  "Both addresses fail, the older one with $what: the failure says so of both",
  async ({ answer, cause, kind, said }, { luma }) => {
    routeLumaHosts(luma);
    answerAll(luma, answer);
    luma.answerNext(failure(410, ""));
    const failed = await failureOf(fetchAll(luma, MINUTE_MS));
    expect(failed).toMatchObject({ causes: ["gone", cause], kind });
    expect(failed.what).toMatch(/^public-api.luma.com answered 410 for page 1 \(1 attempt\); /);
    expect(failed.what).toContain(`public-api.lu.ma answered ${said}`);
  },
);

test("The address in LUMA_LIST_EVENTS_URL is asked, and nothing else", async ({ luma }) => {
  vi.stubEnv("LUMA_LIST_EVENTS_URL", `  ${luma.origin}/proxy${OLDER_PATH}?token=1\n`);
  luma.answerNext(json(404));
  expect((await failureOf(fetchAll(luma))).causes).toEqual(["gone"]);
  expect(luma.requests.map(({ path }) => path)).toEqual([`/proxy${OLDER_PATH}`]);
  expect(luma.requests[0]?.query.get("token")).toBe("1");
});

test("lu.ma itself is asked where LUMA_LIST_EVENTS_URL is blank", async ({ luma }) => {
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
])("A wrong LUMA_LIST_EVENTS_URL (%s) is named, and nothing asked", async (setting, { luma }) => {
  vi.stubEnv("LUMA_LIST_EVENTS_URL", setting);
  const { what, causes } = await failureOf(fetchAll(luma));
  expect(what).toBe(
    "the environment variable LUMA_LIST_EVENTS_URL is not an http(s) URL (without a user name) whose path ends in " +
      "/calendars/events/list or /calendar/list-events. Correct it on this deployment, or remove it to use lu.ma itself",
  );
  expect(causes).toEqual(["misconfigured"]);
  expect(luma.requests).toEqual([]);
});

test.for<[string, string, string]>([
  [CURRENT_PATH, "/v1/events/get", "event_id"],
  [`/proxy${OLDER_PATH}`, "/proxy/public/v1/event/get", "api_id"],
])("One event of a list at %s is asked for at %s", async ([list, path, parameter], { luma }) => {
  vi.stubEnv("LUMA_LIST_EVENTS_URL", `${luma.origin}${list}?token=1`);
  luma.answerNext(status(200, { event: aWireEvent() }));
  expect(await fetchOne(luma)).toMatchObject({ event: { lumaEventId: "evt-1" } });
  const [request] = luma.requests;
  expect(request).toMatchObject({ path, key: API_KEY });
  expect(Object.fromEntries(request?.query ?? [])).toEqual({ token: "1", [parameter]: "evt-1" });
});

const description = "What happens at evt-1";
const silent = { description: undefined, description_md: undefined };
test.for<[string, unknown, string, string?]>([
  ["itself", aWireEvent(), "listed", description],
  ["itself, wrapped", { event: aWireEvent(), hosts: [] }, "listed", description],
  ["a word less", { ...aWireEvent(), visibility: undefined }, "unlisted", description],
  ["itself, hidden", aWireEvent({ visibility: "private" }), "unlisted"],
  ["itself, hidden by its wrapper", { access: "view", event: aWireEvent() }, "unlisted"],
  ["itself, without a description", { ...aWireEvent(), ...silent }, "listed"],
  ["another event", aWireEvent({ id: "evt-2" }), "nothing"],
  ["what cannot be read", aWireEvent({ name: "", visibility: "private" }), "nothing"],
  ["an error with status 200", { message: "internal", code: null }, "nothing"],
  ["null", null, "nothing"],
  ["a list", [], "nothing"],
])(
  "One event is as lu.ma describes it, or nothing is known of it, when lu.ma's answer is %s",
  async ([, body, shown, text], { luma }) => {
    answerAll(luma, status(200, body));
    const expected = { event: { lumaEventId: "evt-1", status: shown }, description: text };
    const answer = await fetchOne(luma);
    if (shown === "nothing") expect(answer).toBe("nothing");
    else expect(answer).toMatchObject(expected);
  },
);

test("One event says which other calendar manages it, if lu.ma says so", async ({ luma }) => {
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

test("Nothing is asked for when the time is up", async ({ luma }) => {
  const late = await failureOf(fetchEvent(newRequest({ timeMs: 0 }), "evt-1"));
  expect(late.causes).toEqual(["tooSlow"]);
  expect(late.what).toMatch(/ too slow: .*, waits included$/);
  expect(luma.requests).toEqual([]);
});

const ACME = { id: "cal-1", name: "Acme" };
const ODD = { api_id: "cal-1", name: ` A\u001b\n${API_KEY} ` };
test.for<[string, Answer, object | "nothing"]>([
  ["itself", status(200, { ...ACME, slug: null }), ACME],
  ["itself, wrapped", status(200, { calendar: ACME }), ACME],
  ["an older id", status(200, ODD), { ...ACME, name: "A [API key]" }],
  ["no name", status(200, { id: "cal-1", name: "" }), "nothing"],
  ["no id", status(200, { name: "Acme" }), "nothing"],
  ["null", status(200, null), "nothing"],
  ["401 in JSON", json(401), "nothing"],
  ["HTML", html(200), "nothing"],
  ["no answer", silence, "nothing"],
])(
  "A key's calendar is known or not, after one request, when lu.ma's answer is %s",
  async ([, answer, expected], { luma }) => {
    answerAll(luma, answer);
    expect(await settle(fetchCalendar(newRequest({ patience: ONCE })), luma.activity)).toEqual(
      expected,
    );
    expect(luma.requests).toMatchObject([{ path: "/v1/calendars/get", key: API_KEY }]);
    expect(Date.now() - NOW).toBe(answer === silence ? 10 * SECOND_MS : 0);
  },
);

test("A key's calendar is not asked for at the older address", async ({ luma }) => {
  vi.stubEnv("LUMA_LIST_EVENTS_URL", luma.url(OLDER_PATH));
  expect(await fetchCalendar(newRequest())).toBeNull();
  expect(luma.requests).toEqual([]);
});

test("The time limit alone aborts a signal, and once, as Convex demands", async ({ luma }) => {
  const signals: AbortSignal[] = [];
  const realFetch = globalThis.fetch;
  vi.stubGlobal("fetch", (input: string, init: RequestInit) => {
    expect(init.redirect).toBe("manual");
    if (init.signal) signals.push(init.signal);
    // A signal of the test's own to the real one: what that does with it is not the module's doing.
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
    "without the URL's query, a login and the key",
    (login) => new Error(`error sending request for url (${login}): ${API_KEY}`),
    (url) => `error sending request for url (${url}): [API key]`,
  ],
  [
    "with its cause",
    () => new TypeError("fetch failed", { cause: { code: "ENOTFOUND" } }),
    () => "fetch failed (ENOTFOUND)",
  ],
  ["also when that is none", () => "gone", () => "gone"],
])("A fetch that fails is told by its error, %s", async ([, toError, expected], { luma }) => {
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

test("lu.ma's formats are known to luma/ alone, which hands them to lumaClient.ts alone", () => {
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
