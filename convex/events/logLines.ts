/** Lines for the log. Convex cuts a line at 4 KiB. */
import { toOneLine } from "./text";

const MAX_LISTED = 20;
/** With 4 bytes for a character at the worst, still below 4 KiB for most texts. */
const MAX_LINE_UNITS = 3_500;
const MAX_ITEM_UNITS = 150;

/** One line of all parts that are not empty. */
export function toLogLine(...parts: string[]): string {
  return toOneLine(parts.filter((part) => part !== "").join(" "), MAX_LINE_UNITS);
}

/** The first 20 of a list, and how many more there are; nothing for an empty one. */
export function listSome(title: string, items: string[]): string {
  if (items.length === 0) return "";
  const some = items.slice(0, MAX_LISTED).map(toLogItem);
  const more = items.length - some.length;
  return `${title}: ${some.join("; ")}${more > 0 ? `; and ${more} more` : ""}.`;
}

export function toLogItem(text: string): string {
  return toOneLine(text, MAX_ITEM_UNITS);
}
