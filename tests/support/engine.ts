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
