import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    // The nearest thing to Convex's default runtime: web globals only.
    environment: "edge-runtime",
    server: { deps: { inline: ["convex-test"] } },
    // Only a hang takes so long: the slowest tests take 5 s, and more on a busy machine.
    testTimeout: 60_000,
    // The module logs as it does when deployed; only a failed test's log is worth reading.
    silent: "passed-only",
    unstubEnvs: true,
    unstubGlobals: true,
    restoreMocks: true,
  },
});
