/**
 * What an organization's `lumaApiKey` means, and what is valid as an API key or webhook secret: the text itself, or
 * `env:NAME` for an environment variable of the deployment.
 */
import { SyncError } from "../failure";
import { getVariable } from "../runtime";

/** In `lumaApiKey`: the key is in the table `lumaSecrets`. */
export const STORED = "stored";
const ENV_PREFIX = "env:";
/** Convex allows names of at most 40 characters. */
const MAX_NAME = 40;

/**
 * A kind of secret, and the prefix of its environment variables. Without the prefix, anyone who can edit an
 * organization could have any of the deployment's secrets sent to lu.ma.
 */
type Kind = { name: string; variables: string };
export const API_KEY: Kind = { name: "the lu.ma API key", variables: "LUMA_API_KEY" };
export const WEBHOOK_SECRET: Kind = {
  name: "the webhook's secret",
  variables: "LUMA_WEBHOOK_SECRET",
};

type KeyField = { lumaApiKey?: string };

/** A key that can be sent. For errors, `source` says where it comes from, and `howToSet` how to replace it. */
export type LumaKey = { apiKey: string; source: string; howToSet: string };

export function hasLumaKey({ lumaApiKey = "" }: KeyField): boolean {
  return lumaApiKey.trim() !== "";
}

/** Whether the field contains a key, which belongs in `lumaSecrets`, rather than `stored` or `env:NAME`. */
export function hasKeyInField({ lumaApiKey = "" }: KeyField): boolean {
  const field = lumaApiKey.trim();
  return field !== "" && field !== STORED && !("variable" in parseSecret(field, API_KEY));
}

/** The field `lumaApiKey`, with a key in it shown as `stored`. */
export function toShownField(org: KeyField): string | undefined {
  return hasKeyInField(org) ? STORED : org.lumaApiKey;
}

/** `env:NAME`, `a stored key` or `no key`. */
export function describeLumaKey(org: KeyField): string {
  if (!hasLumaKey(org)) return "no key";
  const shown = toShownField(org)?.trim() ?? "";
  return shown === STORED ? "a stored key" : shown;
}

/**
 * The key to send. Every sync reads the environment variable, so a new value is used by the next one.
 *
 * @param stored the key in `lumaSecrets`.
 * @throws SyncError if there is no key that can be sent.
 */
export function resolveLumaKey({ lumaApiKey = "" }: KeyField, stored: string | null): LumaKey {
  const key = lumaApiKey.trim() === STORED ? stored : lumaApiKey;
  const parsed =
    key === null ? { problem: "its stored key is missing" } : parseSecret(key, API_KEY);
  if ("variable" in parsed) return readKey(parsed.variable);
  const where = "on the settings page, or with setLumaConfig";
  if ("problem" in parsed) {
    throw new SyncError(`${parsed.problem}. Set it ${where}`, "misconfigured");
  }
  return { apiKey: parsed.text, source: "Its stored key", howToSet: `set it ${where}` };
}

function readKey(name: string): LumaKey {
  const setIt = `npx convex env set ${name}`;
  const value = readVariable(name);
  if ("problem" in value) throw new SyncError(`${value.problem}. Run ${setIt}`, "misconfigured");
  return {
    apiKey: value.text,
    source: `The key in the environment variable ${name}`,
    howToSet: `run ${setIt}. Then press "sync now" or run events/sync:syncOrgEvents; otherwise, the next daily run uses it`,
  };
}

/** The secret in an environment variable, or what is wrong with it. */
export function readVariable(name: string): { text: string } | { problem: string } {
  const text = getVariable(name);
  if (text === undefined) {
    return { problem: `the environment variable ${name} is not set on this deployment` };
  }
  return canBeSent(text)
    ? { text }
    : { problem: `the environment variable ${name} ${NOT_SENDABLE}` };
}

/** Parses a secret as somebody entered it, or says what is wrong with it. */
export function parseSecret(
  input: string,
  { name, variables }: Kind,
): { text: string } | { variable: string } | { problem: string } {
  const text = input.trim();
  if (text === "") return { problem: `${name} is empty: give one, or null to clear it` };
  // However it is spelled: "ENV:X" is a typo, not a key.
  if (text.toLowerCase().startsWith(ENV_PREFIX)) {
    const variable = text.slice(ENV_PREFIX.length);
    const isName = /^\w+$/.test(variable) && variable.length <= MAX_NAME;
    if (text.startsWith(ENV_PREFIX) && isName && variable.startsWith(variables))
      return { variable };
    return {
      problem:
        `env: must be followed by the name of a variable that starts with ${variables}, such as ` +
        `env:${variables}_BERLIN (letters, digits and _, at most ${MAX_NAME} in all)`,
    };
  }
  if (text.toUpperCase().startsWith(variables)) {
    return { problem: `${name} is the name of a variable: write env: before it` };
  }
  return canBeSent(text) ? { text } : { problem: `${name} ${NOT_SENDABLE}: copy it again` };
}

const NOT_SENDABLE =
  "is longer than 200 characters, or contains spaces or other characters that a secret can't have";

/** Whether it fits in a request's header. If it doesn't, the runtime's own error would quote it. */
function canBeSent(key: string): boolean {
  return /^[\x21-\x7e]{1,200}$/.test(key);
}
