// @vitest-environment node
/** What the README says in numbers and in code. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { measureMorning, MORNINGS } from "./bench/runs";
import { toTable } from "./support/tables";

const PROJECT = resolve(import.meta.dirname, "..");
const README = readFileSync(join(PROJECT, "README.md"), "utf8");
const RESULTS = readFileSync(join(PROJECT, "tests/bench/RESULTS.md"), "utf8");

/** The rows of the table that begins so, its head included, without the padding. */
function tableRows(text: string, firstColumn: string): string[] {
  const lines = text.slice(text.indexOf(`| ${firstColumn} `)).split("\n");
  const end = lines.findIndex((line) => !line.startsWith("|"));
  return lines.slice(0, end === -1 ? undefined : end).map((line) => line.replace(/ +/g, " "));
}

describe("the README", () => {
  test("is read in one sitting", () => {
    expect(README.trimEnd().split("\n").length).toBeLessThanOrEqual(220);
  });

  test("shows what the benchmark wrote down", () => {
    const shown = tableRows(README, "a morning");
    expect(shown).toHaveLength(2 + MORNINGS.length);
    expect(shown.length).toBeLessThanOrEqual(2 + 8);
    expect(tableRows(RESULTS, "a morning")).toEqual(shown);
  });

  test.for(MORNINGS.filter(({ orgs }) => orgs <= 10))(
    "is right about a morning of $what",
    async (morning) => {
      const [head, , row] = tableRows(toTable([await measureMorning(morning)]), "a morning");
      expect(tableRows(README, "a morning")).toContain(head);
      expect(tableRows(README, "a morning")).toContain(row);
    },
  );

  test("has no key on a command line, and prints no document that may hold one", () => {
    for (const command of README.match(/^(npx|npm) .*/gm) ?? []) {
      expect(command).not.toMatch(/convex data|"lumaApiKey": "(?!env:)|env set \S+ [^#\s]/);
    }
  });
});
