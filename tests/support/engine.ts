/** The module's own functions on convex-test's engine in memory, with Convex's transaction limits on. */
import { convexTest, type TestConvex } from "convex-test";
import schema from "../../convex/schema";

export type Engine = TestConvex<typeof schema>;
type Modules = Record<string, () => Promise<unknown>>;

export const modules: Modules = import.meta.glob([
  "../../convex/**/*.ts",
  "../../convex/_generated/*.js",
  "!**/*.d.ts",
]);

/** Loads all modules: the first import takes real time, in which simulated time must not pass. */
export async function loadModules(): Promise<void> {
  await Promise.all(Object.values(modules).map((load) => load()));
}

/**
 * `overrides` replaces modules by their paths below convex/, such as "events/mutations"; `appSchema` is the schema of an
 * app that has fields of its own.
 */
export function startEngine(
  overrides: Record<string, object> = {},
  appSchema: unknown = schema,
): Engine {
  const replaced = Object.fromEntries(
    Object.entries(overrides).map(([path, module]) => [
      `../../convex/${path}.ts`,
      () => Promise.resolve(module),
    ]),
  );
  return convexTest({
    schema: appSchema as typeof schema,
    modules: { ...modules, ...replaced },
    transactionLimits: true,
  });
}

type Handler = (...args: never[]) => unknown;

/** A registered function with another handler, made from its own; for `overrides`. */
export function withHandler(registered: object, wrap: (handler: Handler) => Handler): object {
  const { _handler } = registered as { _handler: Handler };
  return Object.assign(Object.create(registered) as object, { _handler: wrap(_handler) });
}
