import { expect, vi } from "vitest";
import { showAll, tryKey, type Say } from "./demo";
import { aWireEvent } from "./support/builders";
import { settle } from "./support/clock";
import { test } from "./support/fixtures";
import { cutOff, failure, status, type LumaServer } from "./support/lumaServer";

async function print(luma: LumaServer, demo: (say: Say) => Promise<unknown>) {
  const lines: string[] = [];
  const exitCode = await settle(demo(lines.push.bind(lines)), luma.activity);
  return { exitCode, lines, printed: lines.join("\n") };
}

/** The parts of what the demo prints without a key. */
async function show(luma: LumaServer) {
  const lines: string[] = [];
  await showAll(luma, (line) => void lines.push(line));
  const printed = lines.join("\n");
  const heads = /\n(?=The status, from|Chess Club's page|Book Circle's|The dashboard)/;
  const [runs = "", status = "", page = "", embed = "", dashboard = ""] = printed.split(heads);
  return { runs, status, page, embed, dashboard };
}

/** The cells of the rows whose first column begins with this name. */
function rows(printed: string, name: string): string[][] {
  const lines = printed.split("\n").filter((line) => line.startsWith(`| ${name}`));
  return lines.map((line) => line.split("|").map((cell) => cell.trim()));
}

test("The demo shows what each sync did", async ({ luma }) => {
  const { runs } = await show(luma);
  const counts = (name: string) =>
    rows(runs, name).map((cells) => cells.slice(2, -1).join(" ").trim());
  // fetched, inserted, updated, unchanged, removed, invalid, described
  const berlin = ["synced 225 225 0 0 0 0 7", "synced 225 0 0 225 0 0 0", "failed"];
  expect(counts("Berlin Makers")).toEqual(berlin);
  const chess = ["synced 7 7 0 0 0 0 6", "synced 7 0 0 7 0 0 0", "synced 5 0 1 4 1 0 1"];
  expect(counts("Chess Club")).toEqual(chess);
  expect(counts("Gym Mitte")).toEqual(Array(3).fill("failed"));
  expect(counts("Book Circle")).toEqual(Array(3).fill("no key"));
  const { host } = new URL(luma.origin);
  expect(runs).toContain(`\nlu.ma: ${host} answered 429 for page 1; retrying in 1 s.\n`);
});

test("The demo shows that the webhook takes an event off the page in a minute", async ({
  luma,
}) => {
  const { runs } = await show(luma);
  expect(runs).toContain(
    "The webhook answers 200. Is the tournament still on the page? Yes.\nA minute later? No.",
  );
});

test("The demo shows the sync status of each organization with a key", async ({ luma }) => {
  const { status } = await show(luma);
  const cells = (name: string) => rows(status, name)[0]?.slice(2, 6);
  const time = expect.stringMatching(/T\d\d:\d\d:\d\d\.\d{3}Z$/) as string;
  expect(cells("Gym Mitte")).toEqual(["unknown", "never", "next daily run", "off"]);
  expect(cells("Berlin Makers")).toEqual(["Makers", time, time, "off"]);
  expect(cells("Chess Club")).toEqual(["Chess", time, "next daily run", time]);
  expect(status).toMatch(/^Organization "Gym Mitte" was not synced: .*Its stored key is wrong/m);
  expect(status).toMatch(/^Organization "Berlin Makers" .* It will be retried automatically\.$/m);
});

test("The demo shows what visitors and a member see of two calendars", async ({ luma }) => {
  const { page, embed, dashboard } = await show(luma);
  expect(page).toContain("Blitz night: come as you are.");
  expect(page).toMatch(/Dinner at a member's +\| Berlin, Germany +\|/);
  expect(page).not.toContain("Board meeting");
  expect(page).not.toContain("secret");
  expect(embed).toContain("embeds https://lu.ma/embed/calendar/cal-BookCircle/events.");
  expect(dashboard.match(/Open day of Makers/g)).toHaveLength(1);
  expect(rows(dashboard, "Chess Club")).toHaveLength(4);
  expect(rows(dashboard, "Berlin Makers")).toHaveLength(6);
});

const KEY = "secret-4711";

async function tryIt(luma: LumaServer) {
  vi.stubEnv("LUMA_API_KEY", KEY);
  const tried = await print(luma, tryKey);
  expect(tried.printed).not.toContain(KEY);
  return tried;
}

test("With a key, the demo prints that calendar's events", async ({ luma }) => {
  luma.setCalendar(KEY, [aWireEvent({ name: "Party" })]);
  const { exitCode, printed } = await tryIt(luma);
  expect(exitCode).toBe(0);
  // A deployment logs the same line.
  const log =
    /^lu\.ma sync of "Your calendar" .*: fetched 1, inserted 1, .*described 1. Calendar Calendar 1 /m;
  expect(printed).toMatch(log);
  expect(printed).toMatch(/Party +\| Main Street 1, 10115 Berlin, Germany +\| listed/);
  expect(printed).toContain("Without it, the demo shows four made-up organizations");
});

test("With a key, the demo prints retries, and says if there are no events", async ({ luma }) => {
  luma.setCalendar(KEY, []);
  const slowDown = [status(429), status(429, "", { "retry-after": "2" })];
  for (const answer of [status(503), ...slowDown, cutOff, status(200, "<h1>Welcome</h1>")]) {
    luma.answerNext(answer);
  }
  const { exitCode, lines } = await tryIt(luma);
  expect([exitCode, lines.at(-1)]).toEqual([0, "\nThe calendar manages no events in that period."]);
  const { host } = new URL(luma.origin);
  expect(lines.filter((line) => line.startsWith("lu.ma:"))).toEqual([
    `lu.ma: ${host} answered 503 for page 1; retrying in 1 s.`,
    `lu.ma: ${host} answered 429 for page 1; retrying in 60 s.`,
    `lu.ma: ${host} answered 429 for page 1; retrying in 60 s.`,
    `lu.ma: ${host} lost the connection in the middle of an answer for page 1; retrying in 2 s.`,
    `lu.ma: ${host} answered 200 with a body that is not JSON for page 1; retrying in 4 s.`,
  ]);
});

test("With a key, the demo says in one sentence why it failed", async ({ luma }) => {
  luma.answerNext(failure(401, "You are not signed in."));
  const { exitCode, lines } = await tryIt(luma);
  expect(exitCode).toBe(1);
  expect(lines.at(-1)).toContain("The key in the environment variable LUMA_API_KEY is wrong");
});
