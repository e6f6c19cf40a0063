/** What the module needs of Convex's runtime: environment variables and waiting. */

// Declared here so that apps don't need Node's types: their frontend's typecheck reads this file, too.
declare const process: { env: Record<string, string | undefined> };

/** The value, trimmed; `undefined` for a variable that is blank or not set. */
export function getVariable(name: string): string | undefined {
  const value = process.env[name]?.trim();
  return value === "" ? undefined : value;
}

export async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
