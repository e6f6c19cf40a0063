/** The sentence that an administrator reads when a sync fails. What each cause leads to is in lumaClient.test.ts. */
import { ConvexError } from "convex/values";
import { expect, test, vi } from "vitest";
import { describeFailure, SyncError, toFailure, type Cause } from "../convex/events/failure";
import { resolveLumaKey } from "../convex/events/luma/key";

const KEY = "secret-4711";
const STORED = resolveLumaKey({ lumaApiKey: "stored" }, KEY);

function inVariable() {
  vi.stubEnv("LUMA_API_KEY_ACME", KEY);
  return resolveLumaKey({ lumaApiKey: "env:LUMA_API_KEY_ACME" }, null);
}

/** What is said after "Organization … was not synced: it went wrong." */
function adviceFor(causes: Cause[], key = STORED): string {
  const { message } = describeFailure(new SyncError("it went wrong", ...causes), "Acme", key);
  const begin = 'Organization "Acme" was not synced: it went wrong.';
  expect(message.slice(0, begin.length)).toBe(begin);
  return message.slice(begin.length).trim();
}

const RETRIED = "It will be retried automatically.";
const NEWER_VERSION = "lu.ma may have changed its API: look for a newer version of this module.";
const READ_IT = "The answer says why; if it doesn't help, look for a newer version of this module.";
const REPLACE_KEY =
  "Its stored key is wrong, or its calendar isn't on Luma Plus: copy the key from the calendar's settings on lu.ma, and " +
  "set it on the settings page, or with setLumaConfig.";

test.for<{ cause: Cause; advice: string }>([
  {
    cause: "rateLimited",
    advice: `Its stored key is rate limited: something else may be using it. ${RETRIED}`,
  },
  { cause: "unavailable", advice: RETRIED },
  {
    cause: "foreign",
    advice: `lu.ma itself answers in JSON, so a proxy may have answered. ${RETRIED}`,
  },
  { cause: "oddPages", advice: RETRIED },
  { cause: "tooSlow", advice: RETRIED },
  { cause: "keyRejected", advice: REPLACE_KEY },
  { cause: "forbidden", advice: REPLACE_KEY },
  { cause: "gone", advice: NEWER_VERSION },
  { cause: "redirected", advice: NEWER_VERSION },
  { cause: "malformed", advice: READ_IT },
  { cause: "refused", advice: READ_IT },
  { cause: "unreadable", advice: NEWER_VERSION },
  { cause: "misconfigured", advice: "" },
])("An administrator is told what to do about the cause $cause", ({ cause, advice }) => {
  expect(adviceFor([cause])).toBe(advice);
});

test("A key in a variable is replaced in two steps, or in one and a night", () => {
  expect(adviceFor(["keyRejected"], inVariable())).toBe(
    "The key in the environment variable LUMA_API_KEY_ACME is wrong, or its calendar isn't on Luma Plus: copy the key from " +
      'the calendar\'s settings on lu.ma, and run npx convex env set LUMA_API_KEY_ACME. Then press "sync now" or run ' +
      "events/sync:syncOrgEvents; otherwise, the next morning's run uses it.",
  );
});

test.for<{ causes: Cause[]; kind: string; advice: string }>([
  { causes: ["gone", "redirected"], kind: "permanent", advice: NEWER_VERSION },
  { causes: ["gone", "keyRejected"], kind: "permanent", advice: `${NEWER_VERSION} ${REPLACE_KEY}` },
  { causes: ["gone", "unavailable"], kind: "transient", advice: RETRIED },
  { causes: ["gone", "tooSlow"], kind: "transient", advice: RETRIED },
])("Two addresses that fail by $causes are a $kind failure", ({ causes, kind, advice }) => {
  expect(describeFailure(new SyncError("no", ...causes), "Acme", STORED).kind).toBe(kind);
  expect(adviceFor(causes)).toBe(advice);
});

test("An address in LUMA_LIST_EVENTS_URL is suspected of what lu.ma seems to do", () => {
  vi.stubEnv("LUMA_LIST_EVENTS_URL", "https://proxy.example/calendar/list-events");
  const suspicion =
    "LUMA_LIST_EVENTS_URL is set on this deployment: if it is wrong, correct it, or remove it to use lu.ma itself.";
  expect(adviceFor(["unavailable"])).toBe(`${suspicion} ${RETRIED}`);
  expect(adviceFor(["gone"])).toBe(`${NEWER_VERSION} ${suspicion}`);
  // Of what is ours, it is not.
  expect(adviceFor(["misconfigured"])).toBe("");
  expect(adviceFor([])).toBe(RETRIED);
  vi.stubEnv("LUMA_LIST_EVENTS_URL", " ");
  expect(adviceFor(["unavailable"])).toBe(RETRIED);
});

test("Convex is quoted by its first line, without the key, and not before the key is known", () => {
  const error = new Error(`Uncaught Error: ${KEY} is too large\n    at handler (secret.js)`);
  const begin = 'Organization "Acme" was not synced: a call to Convex failed';
  expect(toFailure(error, "Acme", STORED)).toEqual({
    message: `${begin} (Uncaught Error: [API key] is too large). ${RETRIED}`,
    kind: "transient",
  });
  expect(toFailure("gone", "Acme", STORED).message).toBe(`${begin} (gone). ${RETRIED}`);
  expect(toFailure(error, "Acme")).toEqual({ message: `${begin}.`, kind: "transient" });
});

test("A sync that was ended says so in the words of what ended it", () => {
  const overtaken = { message: "A later sync has begun.", kind: "overtaken" };
  expect(toFailure(new ConvexError(overtaken), "Acme", STORED)).toEqual(overtaken);
});
