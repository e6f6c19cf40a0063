/** What went wrong with lu.ma, in words an administrator can act on. */
import { toOneLine } from "../text";

/** A complete answer could not be had. The message never holds the API key. */
export class LumaError extends Error {
  override name = "LumaError";
}

const MAX_QUOTE_UNITS = 200;

/**
 * The beginning of something that came from outside, fit for a message: on one line and without the key,
 * which a server may well repeat in its answer, and a runtime in its error.
 */
export function quote(text: string, apiKey?: string): string {
  if (apiKey === undefined) return toOneLine(text, MAX_QUOTE_UNITS);
  const spellings = [apiKey, encodeURIComponent(apiKey), JSON.stringify(apiKey).slice(1, -1)];
  const withoutKey = spellings.reduce((rest, key) => rest.replaceAll(key, "[API key]"), text);
  return toOneLine(withoutKey, MAX_QUOTE_UNITS);
}
