// @vitest-environment node
/** What the manual says in numbers, and of the code. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { measureDailyRun, DAILY_RUNS } from "./bench/runs";
import { toTable } from "./support/tables";

const PROJECT = resolve(import.meta.dirname, "..");
const read = (path: string) => readFileSync(join(PROJECT, path), "utf8");
const MANUAL = read("convex/events/README.md");
const RESULTS = read("tests/bench/RESULTS.md");

/** The cells of the rows below the head that begins so. */
function tableRows(text: string, firstColumn: string): string[][] {
  const [table = ""] = text.slice(text.indexOf(`| ${firstColumn} `)).split(/\n(?!\|)/);
  const cells = (line: string) => line.split("|").slice(1, -1);
  const rows = table.split("\n").slice(2);
  return rows.map((line) => cells(line).map((cell) => cell.trim()));
}

const FEW = DAILY_RUNS.filter(({ orgs }) => orgs <= 10);

test("The manual shows what the benchmark wrote down", () => {
  const rows = tableRows(MANUAL, "daily run");
  expect(rows.map(([what]) => what)).toEqual(FEW.map(({ what }) => what));
  const written = tableRows(RESULTS, "daily run");
  expect(written).toEqual(expect.arrayContaining(rows));
  const [, , , , , thousandTake] = written.find(([what]) => /^1,000 org/.test(what ?? "")) ?? [];
  expect(MANUAL).toContain(`a thousand organizations take ${thousandTake}`);
});

test.for(FEW)("The manual is right about a daily run of $what", async (dailyRun) => {
  const [row] = tableRows(toTable([await measureDailyRun(dailyRun)]), "daily run");
  expect(tableRows(MANUAL, "daily run")).toContainEqual(row);
});

test("The manual names the settings that there are, with their defaults", () => {
  const rows = tableRows(MANUAL, "setting").map(([name = "", value]) => [
    name.replaceAll("`", ""),
    value,
  ]);
  const type =
    /type LumaSettings = \{([^]*?)\n\}/.exec(read("convex/events/settings.ts"))?.[1] ?? "";
  const documented = [...type.matchAll(/: (\[.*?\]|\d+)[ .][^]*?\n  (\w+)\?:/g)];
  expect(rows).toEqual(documented.map(([, value, name]) => [name, value]));
  expect(rows.length).toBeGreaterThan(5);
  // Each is used, with that default.
  const code = files().map(read).join("");
  for (const [name, value] of rows) {
    const used = new RegExp(`settings\\.${name} \\?\\? (\\[[^]*?\\]|\\d+)`).exec(code)?.[1];
    expect(used, name).toBe(value);
  }
});

const files = () =>
  readdirSync(join(PROJECT, "convex/events"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .map((path) => join("convex/events", path));

test("The manual names only files that there are", () => {
  const answers = tableRows(MANUAL, "question").map(([, answer]) => answer);
  const named = answers.join(" ").match(/[\w./]+\.ts/g) ?? [];
  expect(named.length).toBeGreaterThan(10);
  const missing = named.filter((file) => !existsSync(join(PROJECT, "convex/events", file)));
  expect(missing).toEqual([]);
});
