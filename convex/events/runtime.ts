/** Environment variables and waiting. */

// Declared here, because a frontend's typecheck reads this file, too, and may not have Node's types.
declare const process: { env: Record<string, string | undefined> };

/** The trimmed value; `undefined` if the variable is blank or not set. */
export function getVariable(name: string): string | undefined {
  const value = process.env[name]?.trim();
  return value === "" ? undefined : value;
}

export async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
