/** What an organization's `lumaApiKey` means: the key itself, or `env:NAME` for a key that is never in the database. */
import { SyncError } from "../failure";
import { getVariable } from "../runtime";

const ENV_PREFIX = "env:";
/**
 * No other variables: an organization's field must not be a way to send any other secret to lu.ma. Convex allows names
 * of at most 40 characters.
 */
const ENV_NAME = /^LUMA_API_KEY\w{0,28}$/;

type KeyField = { lumaApiKey?: string };

/** A key that can be sent, and for errors, where it comes from and how to replace it. */
export type LumaKey = { apiKey: string; source: string; howToSet: string };

export function hasLumaKey({ lumaApiKey = "" }: KeyField): boolean {
  return lumaApiKey.trim() !== "";
}

/** `env:NAME`, or that the key itself is stored, or that there is none; never the key. */
export function describeLumaKey({ lumaApiKey = "" }: KeyField): string {
  if (lumaApiKey.trim() === "") return "no key";
  const parsed = parseLumaKey(lumaApiKey);
  return "variable" in parsed ? `${ENV_PREFIX}${parsed.variable}` : "a stored key";
}

/**
 * The key to send. Every sync reads the environment variable, so a new value counts from the next one on.
 *
 * @throws SyncError when there is no key that can be sent.
 */
export function resolveLumaKey({ lumaApiKey = "" }: KeyField): LumaKey {
  const parsed = parseLumaKey(lumaApiKey);
  if ("variable" in parsed) return readVariable(parsed.variable);
  const howToSet = "set it with orgs/mutations:setLumaConfig";
  if ("apiKey" in parsed) return { ...parsed, source: "Its stored key", howToSet };
  throw new SyncError(`${parsed.problem}; ${howToSet}`, "misconfigured");
}

function readVariable(name: string): LumaKey {
  const howToSet = `set it with npx convex env set ${name}`;
  const apiKey = getVariable(name) ?? "";
  const variable = `the environment variable ${name}`;
  if (canBeSent(apiKey)) return { apiKey, source: `The key in ${variable}`, howToSet };
  const problem = apiKey === "" ? "is not set on this deployment" : NOT_SENDABLE;
  throw new SyncError(`${variable} ${problem}; ${howToSet}`, "misconfigured");
}

/** What a `lumaApiKey` says, or what is wrong with it. */
export function parseLumaKey(
  input: string,
): { apiKey: string } | { variable: string } | { problem: string } {
  const field = input.trim();
  if (field === "") {
    return { problem: "the lu.ma API key is empty: give one, or null to disconnect" };
  }
  // However it is spelled: "ENV:X" is a typo, not a key.
  if (field.toLowerCase().startsWith(ENV_PREFIX)) {
    const variable = field.slice(ENV_PREFIX.length);
    if (field.startsWith(ENV_PREFIX) && ENV_NAME.test(variable)) return { variable };
    return {
      problem:
        "env: must be followed by the name of a variable that starts with LUMA_API_KEY, such as " +
        "env:LUMA_API_KEY_BERLIN (letters, digits and _, at most 40 in all)",
    };
  }
  if (/^LUMA_API_KEY/i.test(field)) {
    return { problem: "the lu.ma API key is the name of a variable: write env: before it" };
  }
  if (canBeSent(field)) return { apiKey: field };
  return { problem: `the lu.ma API key ${NOT_SENDABLE}: copy it again` };
}

const NOT_SENDABLE = "has more than 200 characters, or characters that no key has, such as spaces";

/** What can't be in a request's header can't be a key. The runtime's own error would quote it. */
function canBeSent(key: string): boolean {
  return /^[\x21-\x7e]{1,200}$/.test(key);
}
