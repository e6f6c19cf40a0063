// Runs a TypeScript file of tests/support (the demo, the benchmark) through Vite, which convex-test's way of
// finding Convex functions needs.
import { resolve } from "node:path";
import { runnerImport } from "vite";

const file = process.argv[2];
if (!file) {
  console.error("usage: node tests/support/run.mjs FILE.ts");
  process.exit(2);
}
const { module } = await runnerImport(resolve(file), { configFile: false, logLevel: "error" });
process.exitCode = await module.main();
