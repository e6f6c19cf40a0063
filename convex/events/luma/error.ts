/** What went wrong with lu.ma, in words an administrator can act on, and what follows from it. */
import { toOneLine } from "../text";

export type Consequences = {
  /** `passing` may be over by itself; `lasting` is what only a person can mend. */
  kind: "passing" | "lasting";
  /** What to do and where, in sentences. */
  advice: string;
  /** The status that was answered, if one was. */
  status?: number;
  /** lu.ma did not serve, as when it is down for all: a server's or a proxy's error, or no answer at all. */
  isUnserved?: boolean;
  /** There was no connection. */
  isUnreachable?: boolean;
  /** What another address of lu.ma's would answer makes no difference. */
  isFinal?: boolean;
};

/** No complete answer could be fetched. The message never holds the API key. */
export class LumaError extends Error {
  /** @param what a clause that names the host and says what it did. */
  constructor(
    readonly what: string,
    readonly consequences: Consequences,
  ) {
    super(`${what}. ${consequences.advice}`);
  }
}

export const SYNC_LATER = "Sync again later.";
export const CHECK_NETWORK =
  "There was no connection: look at this deployment's own network first, then sync again.";

/** What is said when every address has failed in its own way, in the order in which they were asked. */
export function combineErrors(errors: LumaError[]): LumaError {
  const all = errors.map((error) => error.consequences);
  const kind = all.some((one) => one.kind === "passing") ? "passing" : "lasting";
  const isUnreachable = all.every((one) => one.isUnreachable);
  const advice = all
    .filter((one) => one.kind === kind || one.isFinal)
    .map((one) => (one.isUnreachable && !isUnreachable ? SYNC_LATER : one.advice));
  return new LumaError(errors.map((error) => error.what).join("; "), {
    kind,
    advice: [...new Set(advice)].join(" "),
    isUnserved: all.some((one) => one.isUnserved),
  });
}

const MAX_QUOTE_UNITS = 200;

/** The beginning of something that came from outside, fit for a message: on one line and without the key. */
export function quote(text: string, apiKey: string): string {
  return toOneLine(withoutKey(text, apiKey), MAX_QUOTE_UNITS);
}

/** A server may well repeat the key in its answer, and a runtime in its error. */
export function withoutKey(text: string, apiKey: string): string {
  const spellings = [apiKey, encodeURIComponent(apiKey), JSON.stringify(apiKey).slice(1, -1)];
  return spellings.reduce((rest, spelling) => rest.replaceAll(spelling, "[API key]"), text);
}
