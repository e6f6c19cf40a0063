// @vitest-environment node
/** What the README says in code. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { runInNewContext } from "node:vm";
import { transformWithOxc } from "vite";
import { expect, test } from "vitest";

const PROJECT = resolve(import.meta.dirname, "..");
const README = readFileSync(join(PROJECT, "README.md"), "utf8");

test("The README's example shows a start in the event's time zone, or else in UTC", async () => {
  const example = /```tsx\n([^`]*)```/.exec(README)?.[1] ?? "";
  const script = example.replace(/^import .*$/gm, "").replace("export ", "");
  const jsx = { runtime: "classic", pragma: "h" } as const;
  const { code } = await transformWithOxc(script, "example.tsx", { jsx });
  const startAt = Date.UTC(2026, 8, 1, 18);
  const show = (timezone: string) => {
    const upcoming = [{ title: "Talk", url: "https://lu.ma/x", startAt, timezone }];
    const context = {
      useQuery: () => ({ upcoming }),
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

test("The README has no key on a command line, and prints no document with one", () => {
  for (const command of README.match(/^(npx|npm) .*/gm) ?? []) {
    expect(command).not.toMatch(/convex data|"lumaApiKey": "(?!env:)|env set \S+ \S/);
  }
});
