// @vitest-environment node
/** Follows the README's list for an app, with its own commands; then typechecks the app, and syncs and reads in it. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { runInNewContext } from "node:vm";
import { makeFunctionReference, type GenericSchema, type SchemaDefinition } from "convex/server";
import { convexTest, type TestConvex } from "convex-test";
import { createServer } from "vite";
import { afterEach, beforeEach, expect } from "vitest";
import { aWireEvent } from "./support/builders";
import { passTime, useSimulatedTime } from "./support/clock";
import { NOW, reasonOf, test } from "./support/fixtures";
import type { LumaServer } from "./support/lumaServer";

const PROJECT = resolve(import.meta.dirname, "..");
/** A file of the project, or one by its whole path. */
const read = (path: string) => fs.readFileSync(resolve(PROJECT, path), "utf8");
const README = read("README.md");
const KEY = "secret-4711";
const MINUTE_MS = 60_000;

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

/** Replaces each text wherever it stands; fails on one that stands nowhere. */
function edit(path: string, ...changes: [from: string | RegExp, to: string][]): void {
  for (const [from, to] of changes) {
    const parts = read(join(app, path)).split(from);
    expect(parts.length, `${path} has no ${from}`).toBeGreaterThan(1);
    write(path, parts.join(to));
  }
}

/** Such as "convex/events/sync.ts", and whatever else is there. */
function listFiles(root: string, folder: string): string[] {
  const paths = fs.readdirSync(join(root, folder), { recursive: true, encoding: "utf8" });
  return paths.filter((path) => /\.\w+$/.test(path)).map((path) => join(folder, path));
}

/** The code in a language that the README has under a heading, as far as the next one. */
function examples(heading: string, language: string): string[] {
  const section = README.split(`\n${heading}\n`)[1]?.split(/\n##/)[0] ?? "";
  const fenced = new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``, "g");
  const found = [...section.matchAll(fenced)].map(([, code]) => code ?? "");
  expect(found, `${language} under ${heading}`).not.toEqual([]);
  return found;
}

/** Runs the commands under a heading of the README in the app's folder; what they install is there. */
function runCommands(heading: string): void {
  const commands = examples(heading, "sh")
    .join("")
    .replace(/MODULE=.+/, `MODULE="${PROJECT}"`);
  expect(commands).toContain(PROJECT);
  // Some versions of `cp -n` call it a failure when something is there already: what came of it is checked.
  spawnSync("sh", ["-c", commands.replace(/^ *npm .*$/gm, "")], { cwd: app });
}

/** The fields that the README says to add to the app's own organizations, and their index. */
const LUMA_FIELDS = `lumaCalendarUrl: v.optional(v.string()), lumaApiKey: v.optional(v.string()),
  eventsLastSynced: v.optional(v.number()), eventsSyncError: v.optional(v.string()),
  }).index("by_luma_api_key", ["lumaApiKey"]),`;

/** An app's own crons, with the module's. */
const CRONS = read("convex/crons.ts").replace(
  "crons.daily(",
  `crons.interval("the app's own", { hours: 1 }, internal.cleanUp.cleanUp, {});\ncrons.daily(`,
);
const CLEAN_UP = `import { v } from "convex/values";
import { internalMutation } from "./_generated/server";
export const cleanUp = internalMutation({ args: {}, returns: v.null(), handler: async () => null });
`;

/** What an app has beside the module, and what both share: crons, and its own tables among the module's. */
function writeApp(crons: string, own: string[], ...names: string[]): void {
  const [head, ...tables] = read("convex/schema.ts").split(/\n(?=  \w+: defineTable|\}\);)/);
  const taken = names.map((name) => tables.find((table) => table.startsWith(`  ${name}:`)));
  expect(taken).not.toContain(undefined);
  write("convex/schema.ts", [head, ...own, ...taken, "});"].join("\n"));
  write("convex/crons.ts", crons);
  write("convex/cleanUp.ts", CLEAN_UP);
}

/** As the `convex` package itself writes it for a new project. */
function convexTsconfig(): string {
  const template = read("node_modules/convex/src/cli/codegen_templates/tsconfig.ts");
  const [, text = "Convex has moved it"] = /return `([^]*)`;/.exec(template) ?? [];
  return text;
}

/** Older than Convex's own, and stricter: what an app's tsconfig may say. */
const TSCONFIG = `{ "extends": "./convex/tsconfig.json", "include": ["convex", "src"], "compilerOptions": {
  "target": "ES2017", "lib": ["ES2020", "dom"], "noUnusedLocals": true, "noUnusedParameters": true,
  "noImplicitReturns": true, "noUncheckedIndexedAccess": true, "verbatimModuleSyntax": true,
  "noPropertyAccessFromIndexSignature": true, "erasableSyntaxOnly": true, "types": [] } }`;

/** The paths of the app's functions, such as "events/sync". */
function listModules(): string[] {
  return listFiles(app, "convex")
    .filter((path) => path.endsWith(".ts") && !/_generated|schema/.test(path))
    .map((path) => path.slice("convex/".length, -".ts".length));
}

/** What TypeScript has to say of the app, if anything. */
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

/** As much of React's types as the README's example needs. */
const REACT = `declare module "react" {
  export function useState<T>(initial: () => T): [T, (value: T) => void];
  export function useEffect(effect: () => () => void, dependencies: unknown[]): void;
}
declare module "react/jsx-runtime" {
  export namespace JSX { type IntrinsicElements = Record<"p" | "a", object>; }
}`;

type App = TestConvex<SchemaDefinition<GenericSchema, false>>;

/** The app on the engine in memory. All is loaded at once: simulated time must not pass meanwhile. */
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

/** Has the queue sync an organization that was connected, and reads what everybody and its member see. */
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

test("a bare app that follows the README runs the module and the examples", async ({ luma }) => {
  runCommands("## Into your app");
  for (const path of ["convex/schema.ts", "convex/crons.ts"]) copy(path);
  const [settings = "", deletion = ""] = examples("## Connect", "ts");
  write("convex/lumaSettings.ts", settings);
  const deleteOrg = `import { internal } from "./_generated/api";\n${CLEAN_UP}`
    .replace("args: {}", `args: { orgId: v.id("organizations") }`)
    .replace("async () => null", `async (ctx, { orgId }) => {\n${deletion}return null;\n}`)
    .replace("=> {", `=> {\nawait ctx.db.delete("organizations", orgId);`);
  write("convex/deletion.ts", deleteOrg);
  write("src/OrgPage.tsx", examples("## Read", "tsx").join(""));
  write("src/react.d.ts", REACT);
  expect(typecheck()).toBe("");

  const t = await startApp();
  const orgId = await t.mutation(mutation("orgs/createOrg:createOrg"), { name: "Acme" });
  await insert(t, "orgMemberships", { userId: "user-1", orgId, role: "admin" });
  const [admin, stranger] = ["user-1", "user-2"].map((subject) => t.withIdentity({ subject }));
  const connect = async (who = admin, lumaApiKey = KEY) => {
    const config = { orgId, lumaCalendarUrl: "https://lu.ma/acme", lumaApiKey };
    await who?.mutation(mutation("lumaSettings:connectCalendar"), config);
  };
  expect(await reasonOf(connect(stranger))).toBe("Not allowed.");
  expect(await reasonOf(connect(admin, "env:LUMA_API_KEY"))).toBe("Not allowed.");
  await connect();
  expect(await syncAndRead(t, luma, orgId)).toMatchObject(SEEN);
  await admin?.mutation(mutation("lumaSettings:syncNow"), { orgId });
  const status = await admin?.query(query("lumaSettings:getStatus"), { orgId });
  const nextSyncAt = expect.stringContaining("T12:05:00") as string;
  expect(status).toMatchObject({ error: null, calendar: { id: "cal-1" }, nextSyncAt });
  await t.mutation(mutation("deletion:cleanUp"), { orgId });
  await passTime(MINUTE_MS, luma.activity);
  const left = async (table: string) => await t.run((ctx) => ctx.db.query(table).collect());
  expect([await left("events"), await left("eventSyncs")]).toEqual([[], []]);
});

test("an app with teams of its own edits only orgs/app.ts and the schema", async ({ luma }) => {
  runCommands("## Into your app");
  const own = [
    `  teams: defineTable({ title: v.string(), picture: v.optional(v.string()), ${LUMA_FIELDS}`,
    `  users: defineTable({ token: v.string(), teamIds: v.array(v.id("teams")) })`,
    `    .index("by_token", ["token"]),`,
  ];
  writeApp(CRONS, own, "events", "eventSyncs", "eventSyncQueue");
  edit("convex/schema.ts", ['"organizations"', '"teams"']);
  const ownMemberships = `const users = ctx.db.query("users");
  const user = await users.withIndex("by_token", (q) => q.eq("token", identity.subject)).unique();
  return (user?.teamIds ?? []).map((orgId) => ({ orgId, role: "member" as const }));
`;
  edit(
    "convex/orgs/app.ts",
    ['"organizations"', '"teams"'],
    ["tables.organizations", "tables.teams"],
    ["org.name", "org.title"],
    ["slug: org.slug, logoUrl: toHttpUrl(org.logoUrl)", "logoUrl: toHttpUrl(org.picture)"],
    [/const \{ subject, issuer \}[^]*?return own;\n/, ownMemberships],
    [/\/\*\* More than anybody[^]*?;\n/, ""],
    [", budget = new Budget()", ""],
    ["import { Budget, within }", "import { type Budget }"],
    [/import \{ getVariable \}.*\n/, ""],
  );
  // To update it, the app copies the folders again.
  for (const path of listFiles(app, "convex/events")) fs.rmSync(join(app, path));
  runCommands("## Into your app");
  fs.rmSync(join(app, "convex/orgs/createOrg.ts"));
  expect(typecheck()).toBe("");

  const t = await startApp();
  const orgId = await insert(t, "teams", { title: "Acme" });
  await insert(t, "users", { token: "user-1", teamIds: [orgId] });
  await t.mutation(mutation("orgs/mutations:setLumaConfig"), { orgId, lumaApiKey: KEY });
  expect(await syncAndRead(t, luma, orgId)).toMatchObject(SEEN);
});

test("an app with events and orgs of its own renames the module by command", async ({ luma }) => {
  const own = ["convex/events.ts", "convex/events/queries.ts", "convex/orgs/mutations.ts"];
  for (const path of own) write(path, "export const isOwn = true;\n");
  // Twice: to update it, the app does the same again.
  for (let i = 0; i < 2; i += 1) runCommands("### Another name");
  fs.rmSync(join(app, "convex/lumaOrgs/createOrg.ts"));
  const tables = [
    `  events: defineTable({ happened: v.string() }),`,
    `  organizations: defineTable({ name: v.string(), slug: v.string(), plan: v.string(),`,
    `    logoUrl: v.optional(v.string()), ${LUMA_FIELDS}`,
  ];
  const crons = CRONS.replace("internal.events", "internal.luma");
  writeApp(crons, tables, "events", "eventSyncs", "eventSyncQueue", "orgMemberships");
  edit("convex/schema.ts", ["events: defineTable({\n", "lumaEvents: defineTable({\n"]);
  expect(typecheck()).toBe("");
  const files = listFiles(app, "convex").filter((path) => !path.includes("_generated"));
  expect(files.filter((path) => /\.bak$|\/(events|orgs)[/.]/.test(path)).sort()).toEqual(own);
  for (const path of files.filter((path) => path.startsWith("convex/luma"))) {
    // But for lu.ma's own paths, which begin with a slash.
    const old = /"events"|internal\.(events|orgs)|(^|[^\w/])(\.\.\/)*(events|orgs)\/\w/m;
    expect(read(join(app, path)), path).not.toMatch(old);
  }

  const t = await startApp();
  const orgId = await insert(t, "organizations", { name: "Acme", slug: "acme", plan: "free" });
  await insert(t, "orgMemberships", { userId: "user-1", orgId, role: "member" });
  await t.mutation(mutation("lumaOrgs/mutations:setLumaConfig"), { orgId, lumaApiKey: KEY });
  expect(await syncAndRead(t, luma, orgId, "luma")).toMatchObject(SEEN);
});

test("the module names the app's tables nowhere but in app.ts and createOrg.ts", () => {
  const files = ["convex/events", "convex/orgs"].flatMap((folder) => listFiles(PROJECT, folder));
  const naming = files.filter((path) => /["'`.](organizations|orgM)/.test(read(path)));
  expect(naming.sort()).toEqual(["convex/orgs/app.ts", "convex/orgs/createOrg.ts"]);
});

test("the module has Convex's own tsconfig", () => {
  // JSON with comments and trailing commas is JavaScript.
  const parse = (text: string) => runInNewContext(`(${text})`) as unknown;
  expect(parse(read("convex/tsconfig.json"))).toEqual(parse(convexTsconfig()));
});
