/** The module's own functions on convex-test's engine in memory, with Convex's transaction limits on. */
import { convexTest, type TestConvex } from "convex-test";
import schema from "../../convex/schema";

export type Engine = TestConvex<typeof schema>;

/** By file. Loaded up front, because simulated time mustn't pass during an import, which takes real time. */
export const modules = import.meta.glob<Record<string, unknown>>(
  ["../../convex/**/*.ts", "../../convex/_generated/*.js", "!**/*.d.ts"],
  { eager: true },
);

/**
 * @param overrides modules to use instead, by their paths below convex/, such as "events/mutations".
 * @param appSchema the schema of an app that has fields of its own.
 */
export function startEngine(
  overrides: Record<string, object> = {},
  appSchema: unknown = schema,
): Engine {
  const loads: Record<string, () => Promise<unknown>> = {};
  for (const [file, module] of Object.entries(modules)) {
    const used = overrides[toPath(file)] ?? module;
    loads[file] = () => Promise.resolve(used);
  }
  const usedSchema = appSchema as typeof schema;
  return convexTest({ schema: usedSchema, modules: loads, transactionLimits: true });
}

/** Such as "events/sync". */
function toPath(file: string): string {
  return file.replace("../../convex/", "").replace(/\.ts$/, "");
}

type Handler = (...args: never[]) => unknown;

/** A registered function whose handler is wrapped, for `overrides`. */
export function withHandler(registered: object, wrap: (handler: Handler) => Handler): object {
  const { _handler } = registered as { _handler: Handler };
  return Object.assign(Object.create(registered) as object, { _handler: wrap(_handler) });
}

/** What Convex's query(), mutation() and action() return. */
export type Registered = { isQuery?: true; isMutation?: true; isAction?: true };

/** Wraps every registered function; names are like "events/sync:syncOrgEvents". */
export function overrideAll(
  wrap: (name: string, registered: Registered) => object,
): Record<string, object> {
  const overrides: Record<string, object> = {};
  for (const [file, exports] of Object.entries(modules)) {
    if (file.includes("/_generated/")) continue;
    const path = toPath(file);
    const replaced: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(exports)) {
      replaced[name] = isRegistered(value) ? wrap(`${path}:${name}`, value) : value;
    }
    overrides[path] = replaced;
  }
  return overrides;
}

function isRegistered(value: unknown): value is Registered {
  return typeof value === "function" && "_handler" in value;
}
