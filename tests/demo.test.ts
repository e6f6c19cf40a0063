import { expect, vi } from "vitest";
import { showAll, tryKey } from "./demo";
import { aWireEvent } from "./support/builders";
import { settle } from "./support/clock";
import { NOW, test } from "./support/fixtures";
import { cutOff, failure, status, type LumaServer } from "./support/lumaServer";

/** The cells of a table's row, by the name in its first column. */
function rows(printed: string, name: string): string[][] {
  return printed
    .split("\n")
    .filter((line) => line.startsWith(`| ${name}`))
    .map((line) => line.split("|").map((cell) => cell.trim()));
}

async function show(luma: LumaServer): Promise<string> {
  const lines: string[] = [];
  await settle(
    showAll(luma, (line) => lines.push(line)),
    luma.activity,
  );
  return lines.join("\n");
}

test("the demo waits for the queue three times, and shows what each sync did", async ({ luma }) => {
  const printed = await show(luma);
  const runs = printed.slice(0, printed.indexOf("What orgs/queries:getSyncStatus says"));
  const counts = (name: string) =>
    rows(runs, name).map((cells) => cells.slice(2, -1).join(" ").trim());
  // fetched, inserted, updated, unchanged, removed, invalid, described
  expect(counts("Berlin Makers")).toEqual([
    "synced 225 225 0 0 0 0 7",
    "synced 225 0 0 225 0 0 0",
    "failed",
  ]);
  expect(counts("Chess Club")).toEqual([
    "synced 6 6 0 0 0 0 5",
    "synced 6 0 0 6 0 0 0",
    "synced 5 0 1 4 1 0 1",
  ]);
  expect(counts("Gym Mitte")).toEqual(Array(3).fill("failed"));
  expect(counts("Book Circle")).toEqual(Array(3).fill("no key"));
  const { host } = new URL(luma.origin);
  const retries = `lu.ma: ${host} answered 429 for page 1; asking again in 1 s.`;
  const logged = runs.split("\n").filter((line) => line.startsWith("lu.ma"));
  expect(logged).toEqual([
    retries,
    "lu.ma sync queue: empty again. 2 synced, 1 failed; none will be tried again.",
    "lu.ma sync queue: empty again. 2 synced, 1 failed; none will be tried again.",
    expect.stringMatching(/: empty again. 1 synced, 2 failed; 1 will be tried again, the first at/),
  ]);
});

test("the demo says of each organization whose key it has, when it was last synced, when it is next, and why it failed", async ({
  luma,
}) => {
  const printed = await show(luma);
  const status = printed.slice(printed.indexOf("What orgs/queries:getSyncStatus says"));
  const [first] = status.split("\n\n", 1);
  const cells = (name: string) => rows(first ?? "", name)[0]?.slice(2, 5);
  const time = expect.stringMatching(/^2026-09-01T12:\d\d:\d\d\.\d{3}Z$/) as string;
  expect(cells("Gym Mitte")).toEqual(["not known", "never", "in the morning"]);
  expect(cells("Berlin Makers")).toEqual(["Makers", time, time]);
  expect(cells("Chess Club")).toEqual(["Chess", time, "in the morning"]);
  expect(first).toMatch(/^Organization "Gym Mitte" was not synced: .*The key in its lumaApiKey/m);
  expect(first).toMatch(/^Organization "Berlin Makers" .* It is synced again by itself\.$/m);
});

test("the demo takes less than 30 s, of which most is waiting", async ({ luma }) => {
  await show(luma);
  expect(Date.now() - NOW).toBeLessThan(27_000);
});

test("the demo shows a description, a guests-only place, an event of two calendars, and what an iframe can embed", async ({
  luma,
}) => {
  const printed = await show(luma);
  const page = printed.slice(
    printed.indexOf("Chess Club's page"),
    printed.indexOf("Book Circle's page"),
  );
  expect(page).toContain("Blitz night: come as you are.");
  expect(page).toMatch(/Dinner at a member's +\| Berlin, Germany +\|/);
  expect(page).not.toContain("Board meeting");
  expect(page).not.toContain("secret");
  expect(printed).toContain("embeds https://lu.ma/embed/calendar/cal-BookCircle/events.");
  const dashboard = printed.slice(printed.indexOf("The dashboard of a member"));
  expect(dashboard.match(/Open day of Makers/g)).toHaveLength(1);
  expect(rows(dashboard, "Chess Club")).toHaveLength(4);
  expect(rows(dashboard, "Berlin Makers")).toHaveLength(6);
});

const KEY = "secret-4711";

async function tryIt(luma: LumaServer): Promise<{ exitCode: number; printed: string }> {
  vi.stubEnv("LUMA_API_KEY", KEY);
  const lines: string[] = [];
  const exitCode = await settle(
    tryKey((line) => lines.push(line)),
    luma.activity,
  );
  const printed = lines.join("\n");
  expect(printed).not.toContain(KEY);
  return { exitCode, printed };
}

test("the demo with a key prints that calendar's events", async ({ luma }) => {
  luma.setCalendar(KEY, [aWireEvent({ name: "Party" })]);
  const { exitCode, printed } = await tryIt(luma);
  expect(exitCode).toBe(0);
  // What a deployment logs of the sync.
  expect(printed).toMatch(
    /^lu\.ma sync of "Your calendar" .*: fetched 1, inserted 1, .*described 1. Calendar Calendar 1 /m,
  );
  expect(printed).toMatch(/Party +\| Main Street 1, 10115 Berlin, Germany +\| listed/);
  expect(printed).toContain("Without it, the demo shows four made-up organizations");
});

test("the demo with a key says so when the calendar manages no events", async ({ luma }) => {
  luma.setCalendar(KEY, []);
  expect(await tryIt(luma)).toMatchObject({ exitCode: 0 });
});

test("the demo with a key says each retry while it waits", async ({ luma }) => {
  luma.setCalendar(KEY, []);
  for (const answer of [
    status(503),
    status(429),
    status(429, "", { "retry-after": "2" }),
    cutOff,
    status(200, "<h1>Welcome</h1>"),
  ]) {
    luma.answerNext(answer);
  }
  const { exitCode, printed } = await tryIt(luma);
  expect(exitCode).toBe(0);
  const { host } = new URL(luma.origin);
  expect(printed.split("\n").filter((line) => line.startsWith("lu.ma:"))).toEqual([
    `lu.ma: ${host} answered 503 for page 1; asking again in 1 s.`,
    `lu.ma: ${host} answered 429 for page 1; asking again in 60 s.`,
    `lu.ma: ${host} answered 429 for page 1; asking again in 60 s.`,
    `lu.ma: ${host} lost the connection in the middle of an answer for page 1; asking again in 2 s.`,
    `lu.ma: ${host} answered 200 with a body that is not JSON for page 1; asking again in 4 s.`,
  ]);
});

test("the demo with a key says in one sentence why it failed, and fails", async ({ luma }) => {
  luma.answerNext(failure(401, "You are not signed in."));
  const { exitCode, printed } = await tryIt(luma);
  expect(exitCode).toBe(1);
  expect(printed.split("\n").at(-1)).toContain(
    "The key in the environment variable LUMA_API_KEY is wrong",
  );
});
