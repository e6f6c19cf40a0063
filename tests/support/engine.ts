/** The module's own functions on convex-test's engine in memory, with Convex's transaction limits on. */
import { convexTest, type TestConvex } from "convex-test";
import schema from "../../convex/schema";

export type Engine = TestConvex<typeof schema>;

/** By file. Loaded at once: a first import in a test would take real time, in which simulated time must not pass. */
export const modules = import.meta.glob<Record<string, unknown>>(
  ["../../convex/**/*.ts", "../../convex/_generated/*.js", "!**/*.d.ts"],
  { eager: true },
);

/**
 * `overrides` replaces modules by their paths below convex/, such as "events/mutations"; `appSchema` is the schema of an
 * app that has fields of its own.
 */
export function startEngine(
  overrides: Record<string, object> = {},
  appSchema: unknown = schema,
): Engine {
  const replaced = Object.fromEntries(
    Object.entries(overrides).map(([path, module]) => [`../../convex/${path}.ts`, module]),
  );
  const loads = Object.entries({ ...modules, ...replaced }).map(([file, module]) => [
    file,
    () => Promise.resolve(module),
  ]);
  return convexTest({
    schema: appSchema as typeof schema,
    modules: Object.fromEntries(loads) as Record<string, () => Promise<unknown>>,
    transactionLimits: true,
  });
}

type Handler = (...args: never[]) => unknown;

/** A registered function with another handler, made from its own; for `overrides`. */
export function withHandler(registered: object, wrap: (handler: Handler) => Handler): object {
  const { _handler } = registered as { _handler: Handler };
  return Object.assign(Object.create(registered) as object, { _handler: wrap(_handler) });
}

/** What Convex's query(), mutation() and action() make. */
export type Registered = { isQuery?: true; isMutation?: true; isAction?: true };

/** Every registered function replaced by what `wrap` makes of it; names are like "events/sync:syncOrgEvents". */
export function overrideAll(
  wrap: (name: string, registered: Registered) => object,
): Record<string, object> {
  const overrides: Record<string, object> = {};
  for (const [file, exports] of Object.entries(modules)) {
    if (file.includes("/_generated/")) continue;
    const path = file.replace("../../convex/", "").replace(/\.ts$/, "");
    overrides[path] = Object.fromEntries(
      Object.entries(exports).map(([name, value]) => [
        name,
        isRegistered(value) ? wrap(`${path}:${name}`, value) : value,
      ]),
    );
  }
  return overrides;
}

function isRegistered(value: unknown): value is Registered {
  return typeof value === "function" && "_handler" in value;
}
