/** What can make a sync fail, with what consequences, and the sentence that an administrator reads. */
import { ConvexError, v, type Infer } from "convex/values";
import type { LumaKey } from "./luma/key";
import { getVariable } from "./runtime";
import { quote } from "./text";

/** Overrides lu.ma's own endpoints; see luma/addresses.ts. */
export const LIST_VARIABLE = "LUMA_LIST_EVENTS_URL";

type Consequences = {
  /** A transient failure is retried; a permanent one needs somebody to act. */
  kind: "transient" | "permanent";
  /** What to do, in sentences. */
  advice?: string | ((key: LumaKey) => string);
  /** The documented endpoint seems to be gone for good, so the sync tries the older one. */
  asksOlder?: true;
  /** What this answer says about a single event: that it's gone, or nothing. Absent: the request failed. */
  ofOneEvent?: "gone" | "nothing";
};

const NEWER_VERSION = "lu.ma may have changed its API: look for a newer version of this module.";
const READ_IT = "The answer says why; if it doesn't help, look for a newer version of this module.";
const WRONG_ADDRESS = `${LIST_VARIABLE} is set on this deployment: if it is wrong, correct it, or remove it to use lu.ma itself.`;
const replaceKey = ({ source, howToSet }: LumaKey) =>
  `${source} is wrong, or its calendar isn't on Luma Plus: copy the key from the calendar's settings on lu.ma, and ${howToSet}.`;

const permanent = (advice: Consequences["advice"], more: Partial<Consequences> = {}) => ({
  kind: "permanent" as const,
  advice,
  ...more,
});

/** A 4xx that isn't JSON is probably a proxy's answer, and not lu.ma's own. */
const CAUSES = {
  /** 429, until the retries ran out. */
  rateLimited: {
    kind: "transient",
    advice: ({ source }) => `${source} is rate limited: something else may be using it.`,
  },
  /** No connection, no answer in time, 5xx, 408, 425, or a 2xx that isn't JSON. */
  unavailable: { kind: "transient" },
  /** A 4xx that isn't JSON. */
  foreign: {
    kind: "transient",
    advice: "lu.ma itself answers in JSON, so a proxy may have answered.",
  },
  /** The pages of lu.ma's list contradict each other. */
  oddPages: { kind: "transient" },
  /** The sync ran out of time for requests to lu.ma. */
  tooSlow: { kind: "transient" },
  /** 401 in JSON. */
  keyRejected: permanent(replaceKey),
  /** 403 in JSON. */
  forbidden: permanent(replaceKey, { ofOneEvent: "gone" }),
  /** 404 or 410 in JSON. */
  gone: permanent(NEWER_VERSION, { asksOlder: true, ofOneEvent: "gone" }),
  /** A redirect. It's never followed, because that would send the key along. */
  redirected: permanent(NEWER_VERSION, { asksOlder: true, ofOneEvent: "nothing" }),
  /** 400 in JSON. */
  malformed: permanent(READ_IT, { ofOneEvent: "gone" }),
  /** Any other 4xx in JSON. */
  refused: permanent(READ_IT, { ofOneEvent: "nothing" }),
  /** JSON, but not in the documented format. */
  unreadable: permanent(NEWER_VERSION, { asksOlder: true }),
  /** A key or a variable that can't be used. The message says what to do. */
  misconfigured: permanent(undefined),
} satisfies Record<string, Consequences>;

export type Cause = keyof typeof CAUSES;

export function toConsequences(cause: Cause): Consequences {
  return CAUSES[cause];
}

/** What went wrong in a sync. The message is a clause that says who did what, and never contains the API key. */
export class SyncError extends Error {
  /**
   * Several if both of lu.ma's endpoints failed. If there are none, the failure is transient and comes without advice.
   */
  readonly causes: Cause[];
  constructor(what: string, ...causes: Cause[]) {
    super(what);
    this.causes = causes;
  }
}

/** Why a sync failed: the data of the ConvexErrors that it throws. */
export const syncFailure = v.object({
  message: v.string(),
  kind: v.union(
    v.literal("transient"),
    v.literal("permanent"),
    /** Its key was set or cleared, its organization deleted, or it took too long. */
    v.literal("ended"),
    /** A later sync of the organization has begun, or the queue has moved on. */
    v.literal("overtaken"),
  ),
});
export type SyncFailure = Infer<typeof syncFailure>;

const ended = (message: string): SyncFailure => ({ message, kind: "ended" });

export const orgWasDeleted = (id: string) =>
  ended(`The organization with the id ${id} was deleted while it was being synced.`);

export const disconnected = (name: string) =>
  ended(`The organization "${name}" was disconnected from lu.ma while it was being synced.`);

export const stopped = (name: string) =>
  ended(
    `This sync of the organization "${name}" was ended: the lu.ma API key was set in the meantime, or the sync took longer than 12 minutes.`,
  );

export const overtaken = (name: string): SyncFailure => ({
  message: `This sync of the organization "${name}" was overtaken: a later one has begun, or the queue has moved on. It won't write anything more.`,
  kind: "overtaken",
});

/**
 * @param error a SyncError, one of the module's own ConvexErrors, or whatever Convex threw.
 * @param key absent until it is known. Without it, Convex isn't quoted: the key couldn't be redacted.
 */
export function toFailure(error: unknown, name: string, key?: LumaKey): SyncFailure {
  if (error instanceof ConvexError) return error.data as SyncFailure;
  if (error instanceof SyncError) return describeFailure(error, name, key);
  const what = describeConvexError(error, key);
  // The sync may not even have begun. Then only the queue's own syncs are retried, so don't promise it.
  const message = `Organization "${name}" was not synced: ${what}.`;
  if (key === undefined) return { message, kind: "transient" };
  return describeFailure(new SyncError(what), name, key);
}

export function describeFailure(
  error: SyncError,
  name: string,
  key?: LumaKey,
  outcome: "was not synced:" | "was synced, but" = "was not synced:",
): SyncFailure {
  const met = error.causes.map(toConsequences);
  const isPermanent = met.length > 0 && met.every(({ kind }) => kind === "permanent");
  const kind = isPermanent ? "permanent" : "transient";
  const advice = met
    .filter((one) => one.kind === kind)
    .map(({ advice = "" }) => (typeof advice === "string" ? advice : key && advice(key)));
  if (met.length > 0 && !error.causes.includes("misconfigured") && getVariable(LIST_VARIABLE)) {
    advice.push(WRONG_ADDRESS);
  }
  if (!isPermanent) advice.push("It will be retried automatically.");
  const what = `Organization "${name}" ${outcome} ${error.message}.`;
  return { message: [what, ...new Set(advice)].filter(Boolean).join(" "), kind };
}

/** That a call failed, with the first line of Convex's error if the key is known. */
export function describeConvexError(error: unknown, key?: LumaKey): string {
  const what = "a call to Convex failed";
  if (key === undefined) return what;
  const message = error instanceof Error ? error.message : String(error);
  return `${what} (${quote(message.split("\n", 1).join(""), key.apiKey)})`;
}
