// @vitest-environment node
/** Adds the module to apps with the README's own commands, typechecks them, and syncs and reads events in them. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { runInNewContext } from "node:vm";
import { makeFunctionReference, type GenericSchema, type SchemaDefinition } from "convex/server";
import { convexTest, type TestConvex } from "convex-test";
import { createServer } from "vite";
import { afterEach, beforeEach, expect } from "vitest";
import { aWireEvent, MINUTE_MS } from "./support/builders";
import { passTime, useSimulatedTime } from "./support/clock";
import { NOW, reasonOf, test } from "./support/fixtures";
import type { LumaServer } from "./support/lumaServer";
import { toCall } from "./support/webhook";

const PROJECT = resolve(import.meta.dirname, "..");
/** Reads a file of the project, or one with an absolute path. */
const read = (path: string) => fs.readFileSync(resolve(PROJECT, path), "utf8");
const README = read("README.md");
const KEY = "secret-4711";

/** A new app's folder, with what `npx convex dev` generates. */
let app: string;
beforeEach(() => {
  app = fs.mkdtempSync(join(tmpdir(), "app-"));
  fs.symlinkSync(join(PROJECT, "node_modules"), join(app, "node_modules"));
  copy("convex/_generated");
});
afterEach(() => fs.rmSync(app, { recursive: true }));

function copy(path: string): void {
  fs.cpSync(join(PROJECT, path), join(app, path), { recursive: true });
}

function write(path: string, text: string): void {
  fs.mkdirSync(dirname(join(app, path)), { recursive: true });
  fs.writeFileSync(join(app, path), text);
}

/** Replaces each text wherever it occurs, and fails if it doesn't. */
function edit(path: string, ...changes: [from: string | RegExp, to: string][]): void {
  for (const [from, to] of changes) {
    const parts = read(join(app, path)).split(from);
    expect(parts.length, `${path} has no ${from}`).toBeGreaterThan(1);
    write(path, parts.join(to));
  }
}

function prepend(path: string, line: string): void {
  write(path, `${line}\n${read(join(app, path))}`);
}

/** The paths of a folder's files, such as "convex/events/sync.ts". */
function listFiles(root: string, folder: string): string[] {
  const paths = fs.readdirSync(join(root, folder), { recursive: true, encoding: "utf8" });
  return paths.filter((path) => /\.\w+$/.test(path)).map((path) => join(folder, path));
}

/** The README's code blocks in a language under one heading. */
function examples(heading: string, language: string): string[] {
  const section = README.split(`\n${heading}\n`)[1]?.split(/\n##/)[0] ?? "";
  const fenced = new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``, "g");
  const found = [...section.matchAll(fenced)].map(([, code]) => code ?? "");
  expect(found, `${language} under ${heading}`).not.toEqual([]);
  return found;
}

/** Runs the README's commands under a heading in the app's folder, without npm: the packages are there. */
function runCommands(heading: string, module = PROJECT): void {
  const commands = examples(heading, "sh")
    .join("")
    .replace(/MODULE=.+/, `MODULE="${module}"`);
  expect(commands).toContain(module);
  // Some versions of `cp -n` fail if a file exists, so only the results are checked.
  spawnSync("sh", ["-c", commands.replace(/^ *npm .*$/gm, "")], { cwd: app });
}

/** The files of an app that has its own crons and HTTP route before it adds the module. */
const CRONS = `import { cronJobs } from "convex/server";
import { internal } from "./_generated/api";
const crons = cronJobs();
crons.interval("the app's own", { hours: 1 }, internal.cleanUp.cleanUp, {});
export default crons;
`;
const HTTP = `import { httpRouter } from "convex/server";
import { httpAction } from "./_generated/server";
const http = httpRouter();
http.route({ path: "/own", method: "GET", handler: httpAction(async () => new Response("own")) });
export default http;
`;
const CLEAN_UP = `import { v } from "convex/values";
import { internalMutation } from "./_generated/server";
export const cleanUp = internalMutation({ args: {}, returns: v.null(), handler: async () => null });
`;
/** Reads a field and an index that the app adds to the module's events. */
const LIKES = `import type { QueryCtx } from "./_generated/server";
export async function getMostLiked(ctx: QueryCtx): Promise<number | undefined> {
  const events = ctx.db.query("lumaEvents").withIndex("by_likes");
  return (await events.order("desc").first())?.likes;
}
`;
function writeOwnApp(...tables: string[]): void {
  const head = `import { defineSchema, defineTable } from "convex/server";\nimport { v } from "convex/values";\n`;
  const lines = [head, "export default defineSchema({", ...tables, "});", ""];
  write("convex/schema.ts", lines.join("\n"));
  write("convex/crons.ts", CRONS);
  write("convex/http.ts", HTTP);
  write("convex/cleanUp.ts", CLEAN_UP);
}

/** The README's line for a file that the app already has. */
function lineFor(start: string, folder = "events"): string {
  const line = examples("## Add it to your app", "ts").find((code) =>
    code.trim().startsWith(start),
  );
  return (line ?? `no line starts with ${start}`).trim().replace("events", folder);
}

/** Adds the module's fields, index, tables, cron and route, as the README says. */
function addToOwnFiles(orgTable: string, folder = "events"): void {
  prepend("convex/schema.ts", `import { lumaOrgFields, lumaTables } from "./${folder}/tables";`);
  edit(
    "convex/schema.ts",
    ["v.optional(v.string()),\n", "v.optional(v.string()),\n    ...lumaOrgFields,\n"],
    ["  }),\n", `  })\n  .index("by_luma_api_key", ["lumaApiKey"]),\n`],
    ["\n});", `\n  ...lumaTables(v.id("${orgTable}")),\n});`],
  );
  prepend("convex/http.ts", `import { lumaWebhook } from "./${folder}/webhook";`);
  edit("convex/crons.ts", ["export default", `${lineFor("crons.daily", folder)}\nexport default`]);
  edit("convex/http.ts", ["export default", `${lineFor("http.route", folder)}\nexport default`]);
}

type Folders = [string, string];

/** The app's own files and lumaApp.ts, by path: everything outside the module's folders. */
function ownFiles(folders: Folders = ["events", "orgs"]): Map<string, string> {
  const others = ["_generated", ...folders].map((folder) => `convex/${folder}/`);
  const isOwn = (path: string) =>
    path.endsWith(".ts") && !others.some((folder) => path.startsWith(folder));
  const own = listFiles(app, "convex").filter(isOwn);
  return new Map(own.map((path) => [path, read(join(app, path))]));
}

/** How many lines were added or changed, except for imports and the body of getOwnMemberships. */
function countChangedLines(before: Map<string, string>, folders?: Folders): number {
  let count = 0;
  for (const [path, text] of ownFiles(folders)) {
    const toLines = (source: string) =>
      source
        .replace(/(function getOwnMemberships[^]*?\{\n)[^]*?\n\}/, "$1}")
        .replace(/^import [^]*?;$/gm, "")
        .split("\n")
        .map((line) => line.trim())
        .filter((line) => line !== "");
    const known = toLines(before.get(path) ?? "");
    for (const line of toLines(text)) {
      const at = known.indexOf(line);
      if (at === -1) count += 1;
      else known.splice(at, 1);
    }
  }
  return count;
}

/** Updates the module to another version as the README says, which mustn't change the app's own files. */
function update(heading: string, folders: Folders): void {
  const before = ownFiles(folders);
  for (const folder of folders) fs.rmSync(join(app, "convex", folder), { recursive: true });
  const newer = fs.mkdtempSync(join(tmpdir(), "newer-"));
  fs.cpSync(join(PROJECT, "convex"), join(newer, "convex"), { recursive: true });
  for (const file of ["events/text.ts", "orgs/queries.ts"]) {
    fs.appendFileSync(join(newer, "convex", file), "export const isNewer = true;\n");
  }
  runCommands(heading, newer);
  fs.rmSync(newer, { recursive: true });
  expect(read(join(app, "convex", folders[0], "text.ts"))).toContain("isNewer");
  expect(read(join(app, "convex", folders[1], "queries.ts"))).toContain("isNewer");
  expect(ownFiles(folders)).toEqual(before);
}

/** The tsconfig that the `convex` package generates for a new project. */
function convexTsconfig(): string {
  const template = read("node_modules/convex/src/cli/codegen_templates/tsconfig.ts");
  const [, text = "Convex has moved it"] = /return `([^]*)`;/.exec(template) ?? [];
  return text;
}

/** An app's tsconfig with an older target than Convex's, and with stricter checks. */
const TSCONFIG = `{ "extends": "./convex/tsconfig.json", "include": ["convex", "src"], "compilerOptions": {
  "target": "ES2017", "lib": ["ES2020", "dom"], "noUnusedLocals": true, "noUnusedParameters": true,
  "noImplicitReturns": true, "noUncheckedIndexedAccess": true, "verbatimModuleSyntax": true,
  "noPropertyAccessFromIndexSignature": true, "erasableSyntaxOnly": true, "types": [] } }`;

/** The app's modules, such as "events/sync". */
function listModules(): string[] {
  return listFiles(app, "convex")
    .filter((path) => path.endsWith(".ts") && !/_generated|schema/.test(path))
    .map((path) => path.slice("convex/".length, -".ts".length));
}

/** TypeScript's errors in the app; empty if there are none. */
function typecheck(): string {
  const entries = listModules().map((path) => `"${path}": typeof import("../${path}.js");`);
  const api = `import type { ApiFromModules, FilterApi, FunctionReference } from "convex/server";
type Api = ApiFromModules<{ ${entries.join("\n")} }>;
export declare const api: FilterApi<Api, FunctionReference<any, "public">>;
export declare const internal: FilterApi<Api, FunctionReference<any, "internal">>;
`;
  write("convex/_generated/api.d.ts", api);
  write("convex/tsconfig.json", convexTsconfig());
  write("tsconfig.json", TSCONFIG);
  const tsc = join(PROJECT, "node_modules/typescript/bin/tsc");
  return spawnSync(process.execPath, [tsc, "-p", app], { encoding: "utf8" }).stdout;
}

/** As much of React's types as the README's examples need. */
const REACT = `declare module "react" {
  export function useState<T>(initial: () => T): [T, (value: T) => void];
  export function useEffect(effect: () => () => void, dependencies: unknown[]): void;
  export type FormEvent<T> = { currentTarget: T; preventDefault: () => void };
}
declare module "react/jsx-runtime" {
  export namespace JSX {
    interface ElementChildrenAttribute { children: unknown }
    interface IntrinsicElements {
      p: { key?: string; children: unknown };
      a: { href: string; children: unknown };
      form: { onSubmit: (event: import("react").FormEvent<HTMLFormElement>) => Promise<void>; children: unknown };
      input: { name: string; type: string; placeholder: string };
      button: { type?: string; onClick?: () => unknown; children: unknown };
    }
  }
}`;

type App = TestConvex<SchemaDefinition<GenericSchema, false>>;

/** The app on convex-test. All modules are loaded first, because simulated time mustn't pass during an import. */
async function startApp(): Promise<App> {
  const server = { middlewareMode: true, watch: null, ws: false } as const;
  const optimizeDeps = { noDiscovery: true };
  const vite = await createServer({ configFile: false, root: app, server, optimizeDeps });
  const modules: Record<string, () => Promise<unknown>> = {};
  for (const file of [...listModules().map((path) => `${path}.ts`), "_generated/api.js"]) {
    const module = await vite.ssrLoadModule(`/convex/${file}`);
    modules[`/convex/${file}`] = () => Promise.resolve(module);
  }
  const { default: schema } = await vite.ssrLoadModule("/convex/schema.ts");
  await vite.close();
  useSimulatedTime(NOW);
  return convexTest({ schema, modules });
}

const mutation = (name: string) => makeFunctionReference<"mutation">(name);
const query = (name: string) => makeFunctionReference<"query">(name);
const insert = async (t: App, table: string, document: object) =>
  await t.run((ctx) => ctx.db.insert(table, document));

/** Lets the queue sync a connected organization, and reads its page and its member's dashboard. */
async function syncAndRead(t: App, luma: LumaServer, orgId: string, folder = "events") {
  luma.stubFetch().setCalendar(KEY, [aWireEvent()]);
  await passTime(MINUTE_MS, luma.activity);
  const member = t.withIdentity({ subject: "user-1" });
  return [
    await t.query(query(`${folder}/queries:getOrgEvents`), { orgId, now: NOW }),
    await member.query(query(`${folder}/queries:getDashboardEvents`), { now: NOW }),
  ];
}
const SEEN = ["upcoming", "userOrgEvents"].map((list) => ({ [list]: [{ title: "Event evt-1" }] }));

/** Calls the webhook as lu.ma does. */
async function callWebhook(t: App, orgId: string): Promise<number> {
  const body = JSON.stringify({ type: "event.updated" });
  return (await t.fetch(`/luma/${orgId}`, toCall(body, "whsec_1"))).status;
}

test("A new app that follows the README runs the module and the examples", async ({ luma }) => {
  runCommands("## Add it to your app");
  for (const name of ["schema", "organizations"]) copy(`convex/${name}.ts`);
  const copied = ownFiles();
  const [settings = "", ...noMore] = examples("## Connect a calendar", "tsx");
  expect(noMore).toEqual([]);
  write("src/CalendarSettings.tsx", settings);
  const deletion = examples("### Disconnect", "ts").join("");
  const deleteOrg = `import { internal } from "./_generated/api";\n${CLEAN_UP}`
    .replace("args: {}", `args: { orgId: v.id("organizations") }`)
    .replace("async () => null", `async (ctx, { orgId }) => {\n${deletion}return null;\n}`)
    .replace("=> {", `=> {\nawait ctx.db.delete("organizations", orgId);`);
  write("convex/deletion.ts", deleteOrg);
  const additions = examples("## Add it to your app", "ts");
  const membership = additions.find((code) => code.includes("ctx.db.insert")) ?? "";
  const joining = CLEAN_UP.replaceAll("cleanUp", "join").replace(
    "async () => null",
    `async (ctx) => {\n${membership}return null;\n}`,
  );
  write("convex/joining.ts", joining);
  write("src/OrgPage.tsx", examples("## Read events", "tsx").join(""));
  write("src/react.d.ts", REACT);
  expect(typecheck()).toBe("");

  const t = await startApp();
  const admin = t.withIdentity({ subject: "user-1" });
  const stranger = t.withIdentity({ subject: "user-2" });
  await admin.mutation(mutation("joining:join"), {});
  const orgs = await t.run((ctx) => ctx.db.query("organizations").collect());
  const orgId = String(orgs[0]?._id);
  const connect = async (who = admin, lumaApiKey = KEY) => {
    const config = { orgId, lumaCalendarUrl: "https://lu.ma/acme", lumaApiKey };
    const secret = { lumaWebhookSecret: "whsec_1" };
    await who.mutation(mutation("events/settings:connectCalendar"), { ...config, ...secret });
  };
  expect(await reasonOf(connect(stranger))).toBe("Not allowed.");
  await connect();
  expect(await syncAndRead(t, luma, orgId)).toMatchObject(SEEN);
  await admin.mutation(mutation("events/settings:syncNow"), { orgId });
  const status = await admin.query(query("events/settings:getStatus"), { orgId });
  const nextSyncAt = expect.stringContaining("T12:05:00") as string;
  expect(status).toMatchObject({ error: null, calendar: { id: "cal-1" }, nextSyncAt });
  expect(await callWebhook(t, orgId)).toBe(200);
  await t.mutation(mutation("deletion:cleanUp"), { orgId });
  await passTime(MINUTE_MS, luma.activity);
  for (const table of ["events", "eventDescriptions", "eventSyncs", "lumaSecrets"]) {
    expect(await t.run((ctx) => ctx.db.query(table).collect()), table).toEqual([]);
  }
  for (const name of ["deletion", "joining"]) fs.rmSync(join(app, `convex/${name}.ts`));
  expect(ownFiles()).toEqual(copied);
  update("## Add it to your app", ["events", "orgs"]);
  expect(typecheck()).toBe("");
});

test("An app with its own teams and users changes only a dozen lines", async ({ luma }) => {
  writeOwnApp(
    `  teams: defineTable({`,
    `    title: v.string(),`,
    `    picture: v.optional(v.string()),`,
    `  }),`,
    `  users: defineTable({ token: v.string(), teamIds: v.array(v.id("teams")) })`,
    `    .index("by_token", ["token"]),`,
  );
  const before = ownFiles();
  runCommands("## Add it to your app");
  before.set("convex/lumaApp.ts", read("convex/lumaApp.ts"));
  addToOwnFiles("teams");
  edit(
    "convex/lumaApp.ts",
    ['"organizations"', '"teams"'],
    ["return org.name", "return org.title"],
    ["name: org.name, slug: org.slug, logoUrl: toHttpUrl(org.logoUrl)", "name: org.title"],
    ["  slug: v.optional(v.string()),\n  logoUrl: v.optional(v.string()),\n", ""],
    [/import \{ toHttpUrl \}.*\n/, ""],
  );
  // Until getOwnMemberships is rewritten, all type errors are in lumaApp.ts.
  const errors = typecheck().match(/^.*error TS.*$/gm) ?? [];
  for (const error of errors) expect(error).toMatch(/convex\/lumaApp\.ts\(/);
  const ownMemberships = `const users = ctx.db.query("users");
  const user = await users.withIndex("by_token", (q) => q.eq("token", identity.subject)).unique();
  return (user?.teamIds ?? []).map((orgId) => ({ orgId, role: "admin" as const }));
`;
  edit(
    "convex/lumaApp.ts",
    [/const \{ subject, issuer \}[^]*?role \}\)\);\n/, ownMemberships],
    [/\/\*\* More than anybody[^]*?;\n/, ""],
    [/import \{ getVariable \}.*\n/, ""],
  );
  expect(typecheck()).toBe("");
  expect(countChangedLines(before)).toBeLessThanOrEqual(12);

  const t = await startApp();
  const orgId = await insert(t, "teams", { title: "Acme" });
  await insert(t, "users", { token: "user-1", teamIds: [orgId] });
  const member = t.withIdentity({ subject: "user-1" });
  const config = { orgId, lumaApiKey: KEY, lumaWebhookSecret: "whsec_1" };
  await member.mutation(mutation("events/settings:connectCalendar"), config);
  expect(await syncAndRead(t, luma, orgId)).toMatchObject(SEEN);
  expect(await callWebhook(t, orgId)).toBe(200);
  update("## Add it to your app", ["events", "orgs"]);
  expect(typecheck()).toBe("");
});

test("An app with its own events and orgs adds the module by another name", async ({ luma }) => {
  const own = ["convex/events.ts", "convex/events/queries.ts", "convex/orgs/mutations.ts"];
  for (const path of own) write(path, "export const isOwn = true;\n");
  writeOwnApp(
    `  events: defineTable({ happened: v.string() }),`,
    `  organizations: defineTable({`,
    `    name: v.string(), slug: v.string(), plan: v.string(), logoUrl: v.optional(v.string()),`,
    `  }),`,
    `  orgMemberships: defineTable({`,
    `    userId: v.string(), orgId: v.id("organizations"), role: v.union(v.literal("admin"), v.literal("member")),`,
    `  }).index("by_user", ["userId"]),`,
  );
  const folders: Folders = ["luma", "lumaOrgs"];
  const before = ownFiles(folders);
  runCommands("### Another name");
  before.set("convex/lumaApp.ts", read(join(app, "convex/lumaApp.ts")));
  addToOwnFiles("organizations", "luma");
  expect(countChangedLines(before, folders)).toBeLessThanOrEqual(12);
  // The app also adds a field to the module's events.
  const events = `lumaEvents(v.id("organizations"), { likes: v.optional(v.number()) })`;
  const likes = `  lumaEvents: ${events}.index("by_likes", ["likes"]),`;
  prepend("convex/schema.ts", `import { lumaEvents } from "./luma/tables";`);
  edit("convex/schema.ts", ["\n});", `\n${likes}\n});`]);
  write("convex/likes.ts", LIKES);
  expect(typecheck()).toBe("");
  const files = listFiles(app, "convex").filter((path) => !path.includes("_generated"));
  expect(files.filter((path) => /\.bak$|\/(events|orgs)[/.]/.test(path)).sort()).toEqual(own);
  for (const path of files.filter((path) => path.startsWith("convex/luma"))) {
    // Paths of lu.ma's API begin with a slash, and aren't renamed.
    const old = /"events"|(internal|api)\.(events|orgs)\b|(^|[^\w/])(\.+\/)*(events|orgs)\/\w/m;
    expect(read(join(app, path)), path).not.toMatch(old);
  }

  const t = await startApp();
  const orgId = await insert(t, "organizations", { name: "Acme", slug: "acme", plan: "free" });
  await insert(t, "orgMemberships", { userId: "user-1", orgId, role: "member" });
  const config = { orgId, lumaApiKey: KEY, lumaWebhookSecret: "whsec_1" };
  await t.mutation(mutation("lumaOrgs/mutations:setLumaConfig"), config);
  expect(await syncAndRead(t, luma, orgId, "luma")).toMatchObject(SEEN);
  expect(await callWebhook(t, orgId)).toBe(200);
  update("### Another name", folders);
  expect(typecheck()).toBe("");
});

test("The module doesn't name the app's tables, except in tables.ts", () => {
  const files = ["convex/events", "convex/orgs"].flatMap((folder) => listFiles(PROJECT, folder));
  const code = files.filter((path) => path.endsWith(".ts") && !path.endsWith("/tables.ts"));
  expect(code.filter((path) => /["'`.](organizations["'`]|orgM)/.test(read(path)))).toEqual([]);
});

test("The module's tsconfig is the one that Convex generates", () => {
  // JSON with comments and trailing commas is JavaScript.
  const parse = (text: string) => runInNewContext(`(${text})`) as unknown;
  expect(parse(read("convex/tsconfig.json"))).toEqual(parse(convexTsconfig()));
});
