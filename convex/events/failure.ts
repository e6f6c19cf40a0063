/** Everything that makes a sync fail, what follows from it, and the sentence that an administrator reads. */
import { ConvexError, v, type Infer } from "convex/values";
import { getOrgName, type Org, type OrgId } from "../orgs/app";
import { resolveLumaKey, type KeyPlace } from "../orgs/lumaKey";
import { getVariable } from "./environment";
import { quote } from "./text";

/** Replaces lu.ma's own addresses; see luma/addresses.ts. */
export const LIST_VARIABLE = "LUMA_LIST_EVENTS_URL";

type Advice = string | ((place: KeyPlace) => string);

type Consequences = {
  /** What lu.ma or Convex did. */
  when: string;
  /** What is `passing` is synced again by itself; only a person can mend what is `lasting`. */
  kind: "passing" | "lasting";
  /** What to do and where, in sentences. */
  advice: Advice;
  /** lu.ma served nothing: when five organizations in a row meet this, the queue rests. */
  isOutage?: true;
  /** The documented address of the list is gone for good: the sync asks the older one. */
  asksOlder?: true;
  /**
   * What it says of a single event that lu.ma was asked for: that it is gone, or nothing. Absent: it concerns all
   * events, and asking ends.
   */
  ofOneEvent?: "gone" | "nothing";
  /** It does not say whether lu.ma serves; another address would change nothing. */
  isOurs?: true;
};

type More = Omit<Consequences, "when" | "kind" | "advice">;
const passing = (when: string, advice: Advice = "", more: More = {}): Consequences => ({
  when,
  kind: "passing",
  advice,
  ...more,
});
const lasting = (when: string, advice: Advice, more: More = {}): Consequences => ({
  ...passing(when, advice, more),
  kind: "lasting",
});

const NO_WORD_OF_LUMAS = "That is no answer of lu.ma's own.";
const NEWER_VERSION = "lu.ma may have changed its API: look for a newer version of this module.";
const READ_IT =
  "The answer says why; if it is of no help, look for a newer version of this module.";
const WRONG_ADDRESS = `${LIST_VARIABLE} is set on this deployment: if it is wrong, correct it, or remove it to ask lu.ma itself.`;
const replaceKey = ({ source, howToSet }: KeyPlace) =>
  `The key in ${source} is wrong, or its calendar has no Luma Plus: take the key from the calendar's settings on ` +
  `lu.ma, and set it with ${howToSet}.`;

/** The rows of the manual's table "When lu.ma fails". */
export const CAUSES = {
  rateLimited: passing(
    "429, four times for one page",
    ({ source }) => `The key in ${source} is rate limited, and something else may be using it.`,
  ),
  broken: passing("5xx, a lost connection, no answer in 30 s, a 2xx that is not JSON", "", {
    isOutage: true,
  }),
  unconnected: passing("no connection", "If that goes on, look at this deployment's own network.", {
    isOutage: true,
  }),
  notNow: passing("408, 425"),
  blocked: passing("another 4xx that is not JSON: a proxy's word", NO_WORD_OF_LUMAS, {
    isOutage: true,
  }),
  misrouted: passing("404, 410 that is not JSON", NO_WORD_OF_LUMAS),
  keyRejected: lasting("401 in JSON", replaceKey),
  forbidden: lasting("403 in JSON", replaceKey, { ofOneEvent: "gone" }),
  gone: lasting("404, 410 in JSON", NEWER_VERSION, { asksOlder: true, ofOneEvent: "gone" }),
  redirected: lasting("a redirect, which is never followed", NEWER_VERSION, {
    asksOlder: true,
    ofOneEvent: "nothing",
  }),
  malformed: lasting("400 in JSON", READ_IT, { ofOneEvent: "gone" }),
  refused: lasting("another 4xx in JSON", READ_IT, { ofOneEvent: "nothing" }),
  expired: passing("a 4xx in JSON, except 401 and 403, on a page after the first"),
  noList: lasting("JSON that is no list", NEWER_VERSION, { asksOlder: true }),
  oddPages: passing("a next page without a cursor or with a used one, more than 200 pages"),
  unreadable: lasting("entries of which not one can be read", NEWER_VERSION),
  unchecked: passing("an event that the list lacks cannot be asked for"),
  tooSlow: passing("more than 7 minutes in all", "", { isOurs: true }),
  noKey: lasting(
    "a key that cannot be sent, or a variable that is not set",
    ({ howToSet }) => `Set it with ${howToSet}.`,
    { isOurs: true },
  ),
  wrongAddress: lasting(
    `${LIST_VARIABLE} is no address of a list`,
    "Correct it on this deployment, or remove it to ask lu.ma itself.",
    { isOurs: true },
  ),
  convex: passing("Convex refuses a step, or events are left to write after 7 minutes 30", "", {
    isOurs: true,
  }),
  lost: passing("nothing is heard of a sync for 12 minutes", "", { isOurs: true }),
};

export type Cause = keyof typeof CAUSES;

/** A sync cannot go on. The message is a clause that says who did what; it never holds the API key. */
export class SyncError extends Error {
  /** More than one when each of lu.ma's addresses failed in its own way. */
  readonly causes: Cause[];
  constructor(what: string, ...causes: Cause[]) {
    super(what);
    this.causes = causes;
  }
}

/** Why a sync failed: the data of the module's own ConvexErrors in a sync. */
export const syncFailure = v.object({
  message: v.string(),
  /** As in CAUSES; or `ended` by a change of the key or organization, or as lost; or `overtaken` by a later sync. */
  kind: v.union(
    v.literal("passing"),
    v.literal("lasting"),
    v.literal("ended"),
    v.literal("overtaken"),
  ),
  isOutage: v.optional(v.boolean()),
});
export type SyncFailure = Infer<typeof syncFailure>;

/** @param org `null` when it is not known: then Convex is not quoted, because it might quote the key. */
export function toFailure(error: unknown, orgId: OrgId, org: Org | null): SyncFailure {
  const data = error instanceof ConvexError ? (error.data as SyncFailure | string) : undefined;
  // The data of an error that is not a sync's own is its sentence: no such organization, no key.
  if (typeof data === "string") return { message: data, kind: "lasting" };
  if (data?.kind !== undefined) return data;
  const cause =
    error instanceof SyncError
      ? error
      : new SyncError(`Convex refused a step of it${quoteConvex(error, org)}`, "convex");
  return describeFailure(cause, orgId, org);
}

function describeFailure(error: SyncError, orgId: OrgId, org: Org | null): SyncFailure {
  const met = error.causes.map((cause) => CAUSES[cause]);
  const kind = met.some((one) => one.kind === "passing") ? "passing" : "lasting";
  const place = resolveLumaKey(org ?? {});
  const advice = met
    .filter((one) => one.kind === kind)
    .map((one) => (typeof one.advice === "string" ? one.advice : one.advice(place)));
  const isLumas = met.some((one) => !one.isOurs);
  if (isLumas && getVariable(LIST_VARIABLE)) advice.push(WRONG_ADDRESS);
  // Without an organization, perhaps no sync had begun that could be due again.
  if (kind === "passing" && org !== null) advice.push("It is synced again by itself.");
  const what = `Organization "${org === null ? orgId : getOrgName(org)}" was not synced: ${error.message}.`;
  return {
    message: [what, ...new Set(advice)].filter(Boolean).join(" "),
    kind,
    isOutage: isLumas ? met.some((one) => one.isOutage) : undefined,
  };
}

/** The first line of an error of Convex's. */
export function quoteConvex(error: unknown, org: Org | null): string {
  const key = resolveLumaKey(org ?? {});
  if (!("apiKey" in key)) return "";
  const message = error instanceof Error ? error.message : String(error);
  return ` (${quote(message.split("\n", 1).join(""), key.apiKey)})`;
}
