// @vitest-environment node
/** What the front page and the manual say, in words, in numbers and of the code. */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { CAUSES } from "../convex/events/failure";
import { measureMorning, MORNINGS } from "./bench/runs";
import { toTable } from "./support/tables";

const PROJECT = resolve(import.meta.dirname, "..");
const read = (path: string) => readFileSync(join(PROJECT, path), "utf8");
const README = read("README.md");
const MANUAL = read("convex/events/README.md");
const RESULTS = read("tests/bench/RESULTS.md");

/** Without code and tables. */
function prose(text: string): string {
  return text.replace(/```[^]*?```/g, "").replace(/^\s*\|.*$/gm, "");
}

function countWords(text: string): number {
  return text.split(/\s+/).filter(Boolean).length;
}

/** The cells of the rows below the head that begins so. */
function tableRows(text: string, firstColumn: string): string[][] {
  const [table = ""] = text.slice(text.indexOf(`| ${firstColumn} `)).split(/\n(?!\|)/);
  const cells = (line: string) => line.split("|").slice(1, -1);
  const rows = table.split("\n").slice(2);
  return rows.map((line) => cells(line).map((cell) => cell.trim()));
}

test.for([
  { name: "README.md", text: README, words: 900 },
  { name: "convex/events/README.md", text: MANUAL, words: 1_400 },
])("$name is read in one sitting: $words words, no long paragraph", ({ text, words }) => {
  expect(countWords(prose(text))).toBeLessThanOrEqual(words);
  for (const paragraph of prose(text).split(/\n\s*\n|\n(?=\s*(?:-|\d+\.) )/)) {
    expect(countWords(paragraph), paragraph).toBeLessThanOrEqual(60);
  }
});

test("the manual has a row for each cause of a failure, with what follows from it", () => {
  const ofOneEvent = {
    gone: "event counts as gone",
    nothing: "event stays; the next one is asked for",
  };
  const rows = Object.values(CAUSES).map((cause) => [
    cause.when,
    cause.kind,
    cause.isOutage ? "yes" : "",
    cause.asksOlder ? "yes" : "",
    ofOneEvent[cause.ofOneEvent as "gone" | "nothing"] ?? "",
  ]);
  expect(tableRows(MANUAL, "lu.ma or Convex")).toEqual(rows);
});

test("the manual shows what the benchmark wrote down", () => {
  expect(tableRows(MANUAL, "a morning")).toHaveLength(MORNINGS.length);
  expect(tableRows(RESULTS, "a morning")).toEqual(tableRows(MANUAL, "a morning"));
});

test.for(MORNINGS.filter(({ orgs }) => orgs <= 10))(
  "the manual is right about a morning of $what",
  async (morning) => {
    const [row] = tableRows(toTable([await measureMorning(morning)]), "a morning");
    expect(tableRows(MANUAL, "a morning")).toContainEqual(row);
  },
);

test("the manual names only files and constants that there are", () => {
  const constants = tableRows(MANUAL, "what").map(([, constant = "", file = ""]) => {
    return { names: constant.match(/\w+/g) ?? [], paths: file.match(/[\w./]+/g) ?? [] };
  });
  expect(constants.length).toBeGreaterThan(5);
  for (const { names, paths } of constants) {
    const code = paths.map((path) => read(join("convex/events", path))).join("");
    for (const name of names) expect(code).toContain(name);
  }
  const answers = tableRows(MANUAL, "question").map(([, answer]) => answer);
  const files = answers.join(" ").match(/[\w./]+\.ts/g) ?? [];
  expect(files.length).toBeGreaterThan(10);
  const missing = files.filter((file) => !existsSync(join(PROJECT, "convex/events", file)));
  expect(missing).toEqual([]);
});
