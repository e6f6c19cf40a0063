/** The module's own functions on convex-test's engine in memory, with Convex's transaction limits on. */
import { convexTest, type TestConvex } from "convex-test";
import schema from "../../convex/schema";

export type Engine = TestConvex<typeof schema>;
type Modules = Record<string, () => Promise<unknown>>;

export const modules: Modules = import.meta.glob([
  "../../convex/**/*.ts",
  "../../convex/_generated/*.js",
]);

/** `overrides` replaces modules by their paths below convex/, such as "events/mutations". */
export function startEngine(overrides: Record<string, object> = {}): Engine {
  const replaced = Object.fromEntries(
    Object.entries(overrides).map(([path, module]) => [
      `../../convex/${path}.ts`,
      () => Promise.resolve(module),
    ]),
  );
  return convexTest({
    schema,
    modules: { ...modules, ...replaced },
    transactionLimits: true,
  });
}
