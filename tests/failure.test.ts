import { ConvexError } from "convex/values";
import { expect, test, vi } from "vitest";
import { CAUSES, quoteConvex, SyncError, toFailure, type Cause } from "../convex/events/failure";
import type { Org, OrgId } from "../convex/orgs/app";

const ID = "org-1" as OrgId;
const KEY = "secret-4711";
const STORED = { _id: ID, _creationTime: 0, name: "Acme\u001b[2J\nInc.", lumaApiKey: KEY } as Org;
const IN_VARIABLE: Org = { ...STORED, lumaApiKey: "env:LUMA_API_KEY_ACME" };

function failBy(causes: Cause[], org: Org | null = STORED) {
  return toFailure(new SyncError("it went wrong", ...causes), ID, org);
}

const BEGIN = 'Organization "Acme [2J Inc." was not synced: it went wrong.';
const AGAIN = "It is synced again by itself.";
const NO_WORD = "That is no answer of lu.ma's own.";
const NEWER = "lu.ma may have changed its API: look for a newer version of this module.";
const READ_IT =
  "The answer says why; if it is of no help, look for a newer version of this module.";
const REPLACE =
  "The key in its lumaApiKey is wrong, or its calendar has no Luma Plus: take the key from the calendar's settings on " +
  "lu.ma, and set it with orgs/mutations:setLumaConfig.";
const RATE_LIMITED =
  "The key in its lumaApiKey is rate limited, and something else may be using it.";
const CORRECT_IT = "Correct it on this deployment, or remove it to ask lu.ma itself.";
const WRONG_ADDRESS =
  "LUMA_LIST_EVENTS_URL is set on this deployment: if it is wrong, correct it, or remove it to ask lu.ma itself.";

/** Whether it is an outage; `undefined` where it says nothing of lu.ma. */
const FAILURES: Record<Cause, [kind: string, isOutage: boolean | undefined, advice: string]> = {
  rateLimited: ["passing", false, RATE_LIMITED],
  broken: ["passing", true, ""],
  unconnected: ["passing", true, "If that goes on, look at this deployment's own network."],
  notNow: ["passing", false, ""],
  blocked: ["passing", true, NO_WORD],
  misrouted: ["passing", false, NO_WORD],
  keyRejected: ["lasting", false, REPLACE],
  forbidden: ["lasting", false, REPLACE],
  gone: ["lasting", false, NEWER],
  redirected: ["lasting", false, NEWER],
  malformed: ["lasting", false, READ_IT],
  refused: ["lasting", false, READ_IT],
  expired: ["passing", false, ""],
  noList: ["lasting", false, NEWER],
  oddPages: ["passing", false, ""],
  unreadable: ["lasting", false, NEWER],
  unchecked: ["passing", false, ""],
  tooSlow: ["passing", undefined, ""],
  noKey: ["lasting", undefined, "Set it with orgs/mutations:setLumaConfig."],
  wrongAddress: ["lasting", undefined, CORRECT_IT],
  convex: ["passing", undefined, ""],
  lost: ["passing", undefined, ""],
};

test.for(Object.keys(CAUSES) as Cause[])(
  "A sync that failed because of %s says what happened, what to do, and whether it may pass",
  (cause) => {
    const [kind, isOutage, advice] = FAILURES[cause];
    const message = (...sentences: string[]) => [BEGIN, ...sentences].filter(Boolean).join(" ");
    const again = kind === "passing" ? AGAIN : "";
    vi.stubEnv("LUMA_LIST_EVENTS_URL", " ");
    expect(failBy([cause])).toEqual({ message: message(advice, again), kind, isOutage });
    vi.stubEnv("LUMA_LIST_EVENTS_URL", "https://proxy.example/calendar/list-events");
    const wrong = isOutage === undefined ? "" : WRONG_ADDRESS;
    expect(failBy([cause]).message).toBe(message(advice, wrong, again));
  },
);

test.for<[Cause[], string, boolean, string]>([
  [["gone", "redirected"], "lasting", false, ` ${NEWER}`],
  [["gone", "keyRejected"], "lasting", false, ` ${NEWER} ${REPLACE}`],
  [["gone", "broken"], "passing", true, ` ${AGAIN}`],
  [["gone", "misrouted"], "passing", false, ` ${NO_WORD} ${AGAIN}`],
  [["gone", "tooSlow"], "passing", false, ` ${AGAIN}`],
])(
  "A sync that failed because of %j may pass if either may, and gives the advice of that kind",
  ([causes, kind, isOutage, advice]) => {
    expect(failBy(causes)).toEqual({ message: `${BEGIN}${advice}`, kind, isOutage });
  },
);

test("A failure says where the key is, set or not, and the id while the name is unknown", () => {
  const place = "The key in the environment variable LUMA_API_KEY_ACME is";
  expect(failBy(["rateLimited"], IN_VARIABLE).message).toContain(place);
  vi.stubEnv("LUMA_API_KEY_ACME", KEY);
  expect(failBy(["keyRejected"], IN_VARIABLE).message).toMatch(
    new RegExp(`${place} wrong.* npx convex env set LUMA_API_KEY_ACME\\.$`),
  );
  expect(failBy(["lost"], null).message).toMatch(/^Organization "org-1" was not synced: /);
});

test("A failure quotes what Convex refused by its first line, without the key", () => {
  const error = new Error(`Uncaught Error: ${KEY} is too large\n    at handler (secret.js)`);
  const said = "Convex refused a step of it (Uncaught Error: [API key] is too large).";
  const message = `Organization "Acme [2J Inc." was not synced: ${said} ${AGAIN}`;
  expect(toFailure(error, ID, STORED)).toEqual({ message, kind: "passing" });
  expect(quoteConvex("gone", STORED)).toBe(" (gone)");
  // What the key is, nobody knows: it might be in there.
  for (const org of [null, IN_VARIABLE]) expect(quoteConvex(error, org)).toBe("");
});

test("A sync that was ended says so in the words of who ended it", () => {
  const ended = { message: "A later sync has begun.", kind: "overtaken" };
  expect(toFailure(new ConvexError(ended), ID, STORED)).toEqual(ended);
  const message = "There is no such organization.";
  expect(toFailure(new ConvexError(message), ID, STORED)).toEqual({ message, kind: "lasting" });
});
