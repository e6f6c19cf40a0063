import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    // The nearest thing to Convex's default runtime: web globals only.
    environment: "edge-runtime",
    server: { deps: { inline: ["convex-test"] } },
    // The module logs as it does when deployed; only a failed test's log is worth reading.
    silent: "passed-only",
    unstubEnvs: true,
    unstubGlobals: true,
    restoreMocks: true,
  },
});
