/**
 * What an organization's `lumaApiKey` means: the key itself, or `env:NAME` for a key that is never in the database.
 */
import { getVariable } from "../events/environment";

const ENV_PREFIX = "env:";
/**
 * Only such variables: an organization's field must not be a way to send any other secret to lu.ma. Convex allows names
 * of at most 40 characters.
 */
const ENV_NAME = /^LUMA_API_KEY\w{0,28}$/;

type KeyField = { lumaApiKey?: string };

/** Where a key comes from and how to replace it, for messages. */
export type KeyPlace = { source: string; howToSet: string };
/** A key that can be sent. */
export type LumaKey = KeyPlace & { apiKey: string };

export function hasLumaKey(org: KeyField): boolean {
  return org.lumaApiKey !== undefined && org.lumaApiKey.trim() !== "";
}

/** `env:NAME`, or that the key itself is stored, or that there is none; never the key. */
export function describeLumaKey({ lumaApiKey = "" }: KeyField): string {
  if (lumaApiKey.trim() === "") return "no key";
  const parsed = parseLumaKey(lumaApiKey);
  return "variable" in parsed ? `${ENV_PREFIX}${parsed.variable}` : "a stored key";
}

/**
 * The key to send, or why there is none. Each sync reads the environment variable, so a new value counts from the next
 * one on.
 */
export function resolveLumaKey({
  lumaApiKey = "",
}: KeyField): LumaKey | (KeyPlace & { problem: string }) {
  const parsed = parseLumaKey(lumaApiKey);
  if ("variable" in parsed) return readVariable(parsed.variable);
  const place = { source: "its lumaApiKey", howToSet: "orgs/mutations:setLumaConfig" };
  if ("apiKey" in parsed) return { ...parsed, ...place };
  return { problem: `in ${place.source}, ${parsed.problem}`, ...place };
}

function readVariable(name: string): LumaKey | (KeyPlace & { problem: string }) {
  const source = `the environment variable ${name}`;
  const howToSet = `npx convex env set ${name}`;
  const apiKey = getVariable(name) ?? "";
  if (canBeSent(apiKey)) return { apiKey, source, howToSet };
  const problem = apiKey === "" ? "is not set on this deployment" : NOT_SENDABLE;
  return { problem: `${source} ${problem}`, source, howToSet };
}

/** What a `lumaApiKey` says, or what is wrong with it. */
export function parseLumaKey(
  input: string,
): { apiKey: string } | { variable: string } | { problem: string } {
  const field = input.trim();
  if (field === "") {
    return { problem: "the lu.ma API key is empty: give one, or null to disconnect" };
  }
  // However it is spelt: "ENV:X" is a slip, not a key.
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
    return { problem: "the name of a variable stands where a key should: write env: before it" };
  }
  if (canBeSent(field)) return { apiKey: field };
  return {
    problem: `the lu.ma API key ${NOT_SENDABLE}: copy it again`,
  };
}

const NOT_SENDABLE = "has more than 200 characters, or contains spaces or others that no key has";

/** What cannot stand in a request's header cannot be a key; the runtime's own error would quote it. */
function canBeSent(key: string): boolean {
  return /^[\x21-\x7e]{1,200}$/.test(key);
}
