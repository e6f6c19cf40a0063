// @vitest-environment node
/** Follows the README's list for an app that exists, and typechecks what comes out. */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const PROJECT = resolve(import.meta.dirname, "..");

let app: string;
beforeEach(() => {
  app = mkdtempSync(join(tmpdir(), "app-"));
  mkdirSync(join(app, "convex"));
  symlinkSync(join(PROJECT, "node_modules"), join(app, "node_modules"));
});
afterEach(() => rmSync(app, { recursive: true }));

function read(path: string): string {
  return readFileSync(path, "utf8");
}

function write(path: string, text: string): void {
  writeFileSync(join(app, "convex", path), text);
}

function edit(path: string, change: (text: string) => string): void {
  const before = read(join(app, "convex", path));
  const after = change(before);
  expect(after, `${path} is as it was`).not.toBe(before);
  write(path, after);
}

/** As the `convex` package itself writes it for a new project. */
function convexTsconfig(): string {
  const template = join(PROJECT, "node_modules/convex/src/cli/codegen_templates/tsconfig.ts");
  const text = /return `(.*)`;/s.exec(read(template))?.[1];
  if (text === undefined) throw new Error("Convex's tsconfig is no longer where it was");
  return text;
}

/** With the line that TypeScript 6 and later want. */
function withNodeTypes(tsconfig: string): string {
  return tsconfig.replace('"skipLibCheck": true,', '"skipLibCheck": true,\n    "types": ["node"],');
}

/** The module's folders, and what `npx convex dev` generates for the app. */
function copyModule(): void {
  for (const folder of ["events", "orgs", "_generated"]) {
    cpSync(join(PROJECT, "convex", folder), join(app, "convex", folder), { recursive: true });
  }
}

/** The app's own organizations have required fields, so `createOrg`, the last function there, is deleted. */
function deleteCreateOrg(): void {
  edit("orgs/mutations.ts", (text) => {
    const start = text.indexOf("/**\n * Creates an organization");
    expect(text.slice(start).match(/export const/g)).toHaveLength(1);
    return text.slice(0, start);
  });
}

/** A table of the module's schema, as it stands there. */
function moduleTable(name: string): string {
  const schema = read(join(PROJECT, "convex/schema.ts"));
  const start = schema.indexOf(`  ${name}: defineTable({`);
  const end = schema.indexOf("]),\n\n", start);
  const last = schema.indexOf("]),\n});", start);
  return `${schema.slice(start, end === -1 ? last : end)}]),\n`;
}

/** The fields that the README says to add to the app's own organizations. */
const LUMA_FIELDS = `
    lumaCalendarUrl: v.optional(v.string()),
    lumaApiKey: v.optional(v.string()),
    eventsLastSynced: v.optional(v.number()),
    eventsSyncError: v.optional(v.string()),`;

function toSchema(tables: string): string {
  return `import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
${tables}});
`;
}

const CRONS = `import { cronJobs } from "convex/server";
import { internal } from "./_generated/api";

const crons = cronJobs();
crons.interval("the app's own", { hours: 1 }, internal.cleanUp.cleanUp, {});
crons.daily(
  "sync-luma-events",
  { hourUTC: 7, minuteUTC: 0 },
  internal.events.sync.runFullEventSync,
  {},
);
export default crons;
`;

const CLEAN_UP = `import { v } from "convex/values";
import { internalMutation } from "./_generated/server";
export const cleanUp = internalMutation({ args: {}, returns: v.null(), handler: async () => null });
`;

/** The README's example of a mutation in which an organization's own admin connects its calendar. */
function connectCalendar(): string {
  const example = /```ts\n(\/\/ .*?export const connectCalendar.*?)```/s.exec(
    read(join(PROJECT, "README.md")),
  )?.[1];
  if (example === undefined) throw new Error("the README has no such example");
  return `import { ConvexError, v } from "convex/values";
import { mutation } from "./_generated/server";
import { getOwnMemberships, orgId } from "./orgs/app";
import { configureLuma } from "./orgs/lumaConfig";
${example}`;
}

/** The generated types list the app's modules. */
function generateApi(): void {
  const modules = readdirSync(join(app, "convex"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.includes("_generated") && file !== "schema.ts")
    .map((file) => file.replaceAll("\\", "/").replace(/\.ts$/, ""));
  const imports = modules.map((path, i) => `import type * as m${i} from "../${path}.js";`);
  const entries = modules.map((path, i) => `  "${path}": typeof m${i};`);
  write(
    "_generated/api.d.ts",
    `${imports.join("\n")}
import type { ApiFromModules, FilterApi, FunctionReference } from "convex/server";
declare const fullApi: ApiFromModules<{
${entries.join("\n")}
}>;
export declare const api: FilterApi<typeof fullApi, FunctionReference<any, "public">>;
export declare const internal: FilterApi<typeof fullApi, FunctionReference<any, "internal">>;
`,
  );
}

/** What TypeScript has to say of the app, if anything. */
function typecheck(): string {
  generateApi();
  const tsc = join(PROJECT, "node_modules/typescript/bin/tsc");
  const { stdout, stderr } = spawnSync(process.execPath, [tsc, "-p", join(app, "convex")], {
    encoding: "utf8",
  });
  return stdout + stderr;
}

describe("an app that exists", () => {
  test("with organizations of its own takes the module in as the README says", () => {
    write("tsconfig.json", withNodeTypes(convexTsconfig()));
    copyModule();
    write(
      "schema.ts",
      toSchema(`  organizations: defineTable({
    name: v.string(),
    slug: v.string(),
    ownerId: v.string(),
    plan: v.union(v.literal("free"), v.literal("paid")),${LUMA_FIELDS}
  })
    .index("by_owner", ["ownerId"])
    .index("by_luma_api_key", ["lumaApiKey"]),
${["orgMemberships", "events", "eventSyncs"].map(moduleTable).join("")}`).replace(
        "orgId: v.id(",
        "note: v.optional(v.string()),\n    orgId: v.id(",
      ),
    );
    write("crons.ts", CRONS);
    write("cleanUp.ts", CLEAN_UP);
    edit("orgs/app.ts", (text) =>
      text.replace("logoUrl: toHttpUrl(org.logoUrl)", "logoUrl: undefined"),
    );
    deleteCreateOrg();
    write("connect.ts", connectCalendar());
    expect(typecheck()).toBe("");
  });

  test("with another name for its organizations and their fields changes only convex/orgs and the schema", () => {
    write("tsconfig.json", withNodeTypes(convexTsconfig()));
    copyModule();
    write(
      "schema.ts",
      toSchema(`  teams: defineTable({
    title: v.string(),
    handle: v.string(),
    picture: v.optional(v.string()),${LUMA_FIELDS}
  }).index("by_luma_api_key", ["lumaApiKey"]),
  users: defineTable({ token: v.string(), teamIds: v.array(v.id("teams")) }).index("by_token", ["token"]),
${["events", "eventSyncs"].map(moduleTable).join("").replaceAll('"organizations"', '"teams"')}`),
    );
    write("crons.ts", CRONS);
    write("cleanUp.ts", CLEAN_UP);
    deleteCreateOrg();
    edit("orgs/app.ts", (text) => {
      const start = text.indexOf("  const userIds =");
      return `${text.slice(0, start)}  const user = await ctx.db
    .query("users")
    .withIndex("by_token", (q) => q.eq("token", identity.subject))
    .unique();
  return (user?.teamIds ?? []).map((orgId) => ({ orgId, role: "member" as const }));
}
`
        .replaceAll('"organizations"', '"teams"')
        .replace("tables.organizations", "tables.teams")
        .replace(
          "name: org.name, slug: org.slug, logoUrl: toHttpUrl(org.logoUrl)",
          "name: org.title, slug: org.handle, logoUrl: toHttpUrl(org.picture)",
        );
    });
    expect(typecheck()).toBe("");
  });
});

describe("the module", () => {
  const sources = (folder: string) =>
    readdirSync(join(PROJECT, "convex", folder), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => ({ file, text: read(join(PROJECT, "convex", folder, file)) }));

  test("names the app's tables nowhere but in convex/orgs", () => {
    for (const { file, text } of sources("events")) {
      expect(text, file).not.toMatch(/["'`.](organizations|orgMemberships)\b/);
    }
    const naming = sources("orgs").filter(({ text }) => /"organizations"/.test(text));
    expect(naming.map(({ file }) => file).toSorted()).toEqual(["app.ts", "mutations.ts"]);
  });

  test("has Convex's own tsconfig", () => {
    // JSON with comments and trailing commas is JavaScript.
    const parse = (text: string) => runInNewContext(`(${text})`) as unknown;
    expect(parse(read(join(PROJECT, "convex/tsconfig.json")))).toEqual(
      parse(withNodeTypes(convexTsconfig())),
    );
  });

  test("compiles under ES2021, too", () => {
    copyModule();
    cpSync(join(PROJECT, "convex/schema.ts"), join(app, "convex/schema.ts"));
    cpSync(join(PROJECT, "convex/crons.ts"), join(app, "convex/crons.ts"));
    write("tsconfig.json", withNodeTypes(convexTsconfig()).replace("ES2023", "ES2021"));
    expect(typecheck()).toBe("");
  });
});
