/**
 * What `organizations.lumaApiKey` means: the key itself, or `env:NAME` for a key that never rests in the
 * database.
 */
import type { Doc } from "../_generated/dataModel";

const ENV_PREFIX = "env:";
/** Only such variables: an organization's field must not be a way to send any other secret to lu.ma. */
const ENV_NAME = /^LUMA_API_KEY\w*$/;

/** Bounds of a range over `by_luma_api_key` that holds all keys that name a variable. */
export const ENV_KEYS_FROM = `${ENV_PREFIX}LUMA_API_KEY`;
export const ENV_KEYS_BEFORE = `${ENV_PREFIX}LUMA_API_KEZ`;

type KeyField = Pick<Doc<"organizations">, "lumaApiKey">;

export function hasLumaKey(org: KeyField): boolean {
  return org.lumaApiKey !== undefined && org.lumaApiKey.trim() !== "";
}

/**
 * The key to send, or why there is none. Reads the environment variable now: at the sync, that is, so a new
 * value counts from the next sync on.
 */
export function resolveLumaKey(lumaApiKey: string): { apiKey: string } | { problem: string } {
  const field = lumaApiKey.trim();
  if (!isEnvReference(field)) return checkCharacters(field, "the lu.ma API key");
  const name = field.slice(ENV_PREFIX.length);
  if (!ENV_NAME.test(name)) {
    return {
      problem: `the key is to be read from a variable that does not start with LUMA_API_KEY: set one that does`,
    };
  }
  const value = process.env[name]?.trim();
  if (!value) {
    return {
      problem:
        `the environment variable ${name} is not set on this deployment: set it with ` +
        `npx convex env set ${name} <key>`,
    };
  }
  return checkCharacters(value, `the environment variable ${name}`);
}

/** The value to store for a key that an administrator gave, or what is wrong with it. */
export function parseLumaKey(input: string): { field: string } | { problem: string } {
  const field = input.trim();
  if (field === "")
    return { problem: "the lu.ma API key is empty: give one, or null to disconnect" };
  if (isEnvReference(field)) {
    if (field.startsWith(ENV_PREFIX) && ENV_NAME.test(field.slice(ENV_PREFIX.length))) {
      return { field };
    }
    return {
      problem:
        "env: must be followed by the name of a variable that starts with LUMA_API_KEY, such as " +
        "env:LUMA_API_KEY_BERLIN",
    };
  }
  const checked = checkCharacters(field, "the lu.ma API key");
  return "problem" in checked ? checked : { field };
}

/** However it is spelt: "ENV:X" is a slip, not a key. */
function isEnvReference(field: string): boolean {
  return field.toLowerCase().startsWith(ENV_PREFIX);
}

/** What cannot stand in a request's header cannot be a key; the runtime's own error would quote it. */
function checkCharacters(key: string, what: string): { apiKey: string } | { problem: string } {
  if (/^[\x21-\x7e]+$/.test(key)) return { apiKey: key };
  return { problem: `${what} contains spaces or other characters that no key has: copy it again` };
}
