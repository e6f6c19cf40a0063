// Runs a TypeScript file of tests/support (the demo, the benchmark) through Vite, which convex-test's way of
// finding Convex functions needs.
import { createServer } from "vite";

const file = process.argv[2];
if (!file) {
  console.error("usage: node tests/support/run.mjs FILE.ts");
  process.exit(2);
}
const vite = await createServer({
  configFile: false,
  logLevel: "error",
  appType: "custom",
  optimizeDeps: { noDiscovery: true },
  server: { middlewareMode: true, watch: null, ws: false },
});
const { main } = await vite.ssrLoadModule(file);
const exitCode = await main();
await vite.close();
// The engine keeps the timers of cancelled functions, some for minutes.
process.exit(exitCode);
