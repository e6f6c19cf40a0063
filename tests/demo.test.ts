import { describe, expect, vi } from "vitest";
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

describe("the demo", () => {
  async function show(luma: LumaServer): Promise<string> {
    const lines: string[] = [];
    await settle(
      showAll(luma, (line) => lines.push(line)),
      luma.activity,
    );
    return lines.join("\n");
  }

  test("shows in three runs what the syncs did", async ({ luma }) => {
    const printed = await show(luma);
    const runs = printed.slice(0, printed.indexOf("Chess Club's page"));
    const counts = (name: string) => rows(runs, name).map((cells) => cells.slice(2, -1).join(" "));
    // fetched, inserted, updated, unchanged, removed, invalid, described
    expect(counts("Berlin Makers")).toEqual([
      "synced 225 225 0 0 0 0 7",
      "synced 225 0 0 225 0 0 0",
      "synced 225 0 0 225 0 0 0",
    ]);
    expect(counts("Chess Club")).toEqual([
      "synced 6 6 0 0 0 0 5",
      "synced 6 0 0 6 0 0 0",
      "synced 5 0 1 4 1 0 1",
    ]);
    expect(counts("Gym Mitte").map((row) => row.trim())).toEqual(Array(3).fill("failed"));
    expect(counts("Book Circle").map((row) => row.trim())).toEqual(Array(3).fill("no key"));
    expect(printed.match(/Organization "Gym Mitte" was not synced/g)).toHaveLength(1);
  });

  test("takes less than 30 s, of which most is waiting", async ({ luma }) => {
    await show(luma);
    expect(Date.now() - NOW).toBeLessThan(27_000);
  });

  test("shows a description, a guests-only place, an event of two calendars, and what an iframe can embed", async ({
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
});

describe("the demo with a key", () => {
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

  test("prints that calendar's events", async ({ luma }) => {
    luma.setCalendar(KEY, [aWireEvent({ name: "Party" })]);
    const { exitCode, printed } = await tryIt(luma);
    expect(exitCode).toBe(0);
    expect(printed).toMatch(/Party +\| Main Street 1, 10115 Berlin, Germany +\| listed/);
    expect(printed).toContain("Without it, the demo shows four made-up organizations");
  });

  test("says so when the calendar manages no events", async ({ luma }) => {
    luma.setCalendar(KEY, []);
    expect(await tryIt(luma)).toMatchObject({ exitCode: 0 });
  });

  test("says each retry while it waits", async ({ luma }) => {
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
    expect(printed.split("\n").filter((line) => line.startsWith(host))).toEqual([
      `${host} answered 503: asking again in 1 s (attempt 1 failed).`,
      `${host} answered 429, too many requests: asking again in 60 s (attempt 2 failed).`,
      `${host} answered 429, too many requests: asking again when lu.ma says so (2) (attempt 3 failed).`,
      `${host} did not answer: asking again in 2 s (attempt 4 failed).`,
      `${host} answered with a body that is not JSON: asking again in 4 s (attempt 5 failed).`,
    ]);
  });

  test("says no retry that does not come, and counts anew at lu.ma's other address", async ({
    luma,
  }) => {
    vi.stubEnv("LUMA_LIST_EVENTS_URL", "");
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("fetch failed")));
    const { exitCode, printed } = await tryIt(luma);
    expect(exitCode).toBe(1);
    const retries = printed.split("\n").filter((line) => line.includes("asking again"));
    expect(retries).toEqual(
      ["public-api.luma.com", "public-api.lu.ma"].flatMap((host) =>
        [1, 2, 4].map(
          (seconds, i) =>
            `${host} did not answer: asking again in ${seconds} s (attempt ${i + 1} failed).`,
        ),
      ),
    );
  });

  test("says in one sentence why it failed, and fails", async ({ luma }) => {
    luma.answerNext(failure(401, "You are not signed in."));
    const { exitCode, printed } = await tryIt(luma);
    expect(exitCode).toBe(1);
    expect(printed.split("\n").at(-1)).toContain(
      "The key in the environment variable LUMA_API_KEY is wrong",
    );
  });
});
