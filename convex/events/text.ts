/** Makes text from outside safe to store, log, quote and link to. */

/** Longer URLs are dropped. Real ones are far shorter, and a longer one would be an event's largest field. */
const MAX_URL_UNITS = 2_000;

/**
 * Well-formed text of at most `maxUnits` UTF-16 units, including the ellipsis of a text that was cut. Convex rejects
 * half of a surrogate pair, and the whole mutation fails.
 */
export function boundText(text: string, maxUnits: number): string {
  if (text.length <= maxUnits) return toWellFormed(text);
  const cut = text.slice(0, maxUnits - 1).replace(/[\uD800-\uDBFF]$/, "");
  // Rebuilt, because a slice keeps the whole text in memory.
  return `${Array.from(toWellFormed(cut)).join("")}…`;
}

/** One line without control characters, which a terminal would obey. */
export function toOneLine(text: string, maxUnits: number): string {
  return boundText(text.replace(/[\s\p{Cc}]+/gu, " ").trim(), maxUnits);
}

const MAX_QUOTE_UNITS = 200;

/** The beginning of a text from outside, for a message: on one line and without the key. */
export function quote(text: string, apiKey: string): string {
  return toOneLine(withoutKey(text, apiKey), MAX_QUOTE_UNITS);
}

/** A server may repeat the key in its answer, and a runtime in its errors. */
function withoutKey(text: string, apiKey: string): string {
  const spellings = [apiKey, encodeURIComponent(apiKey), JSON.stringify(apiKey).slice(1, -1)];
  return spellings.reduce((rest, spelling) => rest.split(spelling).join("[API key]"), text);
}

/** An http(s) URL as the URL parser writes it, which is ASCII; `undefined` for anything else. */
export function toHttpUrl(text = ""): string | undefined {
  const trimmed = text.trim();
  // The parser also accepts things like "https:lu.ma".
  const url = /^https?:\/\//i.test(trimmed) ? parseUrl(trimmed)?.href : undefined;
  return url !== undefined && url.length <= MAX_URL_UNITS ? url : undefined;
}

export function parseUrl(text: string): URL | undefined {
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
}

/** Halves of surrogate pairs become U+FFFD. */
export function toWellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\uFFFD");
}

const MAX_LISTED = 20;
/** Convex cuts a line at 4 KiB; this leaves room for some characters of more than one byte. */
const MAX_LINE_UNITS = 3_500;
const MAX_ITEM_UNITS = 150;

export function toLogLine(...parts: string[]): string {
  return toOneLine(parts.join(" "), MAX_LINE_UNITS);
}

/** The first 20 items, and how many more there are. Empty for an empty list. */
export function listSome(title: string, items: string[]): string {
  if (items.length === 0) return "";
  const some = items.slice(0, MAX_LISTED).map(toLogItem);
  const more = items.length - some.length;
  return `${title}: ${some.join("; ")}${more > 0 ? `; and ${more} more` : ""}.`;
}

export function toLogItem(text: string): string {
  return toOneLine(text, MAX_ITEM_UNITS);
}
