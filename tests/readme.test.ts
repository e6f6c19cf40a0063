// @vitest-environment node
/** What the README says in numbers and in code. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { runInNewContext } from "node:vm";
import { transformWithOxc } from "vite";
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

  test("has an example that shows a start in the event's time zone, in UTC where the browser does not know it", async () => {
    const example = /```tsx\n([^`]*)```/.exec(README)?.[1] ?? "";
    const withoutImports = example.replace(/^import .*$/gm, "").replace("export ", "");
    const jsx = { runtime: "classic", pragma: "h" } as const;
    const { code } = await transformWithOxc(withoutImports, "example.tsx", { jsx });
    const startAt = Date.UTC(2026, 8, 1, 18);
    const show = (timezone: string) => {
      const context = {
        useQuery: () => ({
          upcoming: [{ title: "Talk", url: "https://lu.ma/x", startAt, timezone }],
        }),
        useState: (toNow: () => number) => [toNow()],
        useEffect: () => undefined,
        api: { events: { queries: {} } },
        h: (_tag: string, _props: unknown, ...children: unknown[]) => children.flat().join(""),
      };
      return String(runInNewContext(`${code}; OrgPage({ orgId: "1" })`, context));
    };
    expect(show("Asia/Tokyo")).toMatch(/^Talk .*\D0?3:00.*(GMT\+9|JST)/);
    expect(show("Mars/Olympus")).toMatch(/^Talk .*(6|18):00.*UTC/);
  });

  test("has no key on a command line, and prints no document that may hold one", () => {
    for (const command of README.match(/^(npx|npm) .*/gm) ?? []) {
      expect(command).not.toMatch(/convex data|"lumaApiKey": "(?!env:)|env set \S+ [^#\s]/);
    }
  });
});
