/** Bounds text that comes from outside, so that it can be stored, logged and quoted. */

/**
 * Well-formed and at most `maxUnits` UTF-16 units long, the ellipsis of a cut text included. Convex refuses
 * a string with half of a surrogate pair, and with it the whole mutation.
 */
export function boundText(text: string, maxUnits: number): string {
  const wellFormed = text.toWellFormed();
  if (wellFormed.length <= maxUnits) return wellFormed;
  const cut = wellFormed.slice(0, maxUnits - 1);
  return `${cut.isWellFormed() ? cut : cut.slice(0, -1)}…`;
}

/** One line, for a message or a log. */
export function toOneLine(text: string, maxUnits: number): string {
  return boundText(text.replace(/\s+/g, " ").trim(), maxUnits);
}
