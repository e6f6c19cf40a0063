/** Reads the deployment's environment variables. */

// Declared here, so that an app needs no types of Node's: its frontend's typecheck reads this, too.
declare const process: { env: Record<string, string | undefined> };

/** The value, trimmed; nothing for a variable that is blank or not set. */
export function getVariable(name: string): string | undefined {
  const value = process.env[name]?.trim();
  return value === "" ? undefined : value;
}
