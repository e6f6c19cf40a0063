/** The sentence that an administrator reads when a sync fails. lumaClient.test.ts tests what each cause leads to. */
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

/** What the message says after "Organization … was not synced: it went wrong." */
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
])("A failure of the cause $cause tells an administrator what to do", ({ cause, advice }) => {
  expect(adviceFor([cause])).toBe(advice);
});

test("The error for a rejected key in a variable says how to replace and use it", () => {
  expect(adviceFor(["keyRejected"], inVariable())).toBe(
    "The key in the environment variable LUMA_API_KEY_ACME is wrong, or its calendar isn't on Luma Plus: copy the key from " +
      'the calendar\'s settings on lu.ma, and run npx convex env set LUMA_API_KEY_ACME. Then press "sync now" or run ' +
      "events/sync:syncOrgEvents; otherwise, the next daily run uses it.",
  );
});

test.for<[causes: Cause[], kind: string, advice: string]>([
  [["gone", "redirected"], "permanent", NEWER_VERSION],
  [["gone", "keyRejected"], "permanent", `${NEWER_VERSION} ${REPLACE_KEY}`],
  [["gone", "unavailable"], "transient", RETRIED],
  [["gone", "tooSlow"], "transient", RETRIED],
])("The causes %s of two addresses are a %s failure", ([causes, kind, advice]) => {
  expect(describeFailure(new SyncError("no", ...causes), "Acme", STORED).kind).toBe(kind);
  expect(adviceFor(causes)).toBe(advice);
});

test("A failure that looks like lu.ma's suggests checking LUMA_LIST_EVENTS_URL if set", () => {
  vi.stubEnv("LUMA_LIST_EVENTS_URL", "https://proxy.example/calendar/list-events");
  const suspicion =
    "LUMA_LIST_EVENTS_URL is set on this deployment: if it is wrong, correct it, or remove it to use lu.ma itself.";
  expect(adviceFor(["unavailable"])).toBe(`${suspicion} ${RETRIED}`);
  expect(adviceFor(["gone"])).toBe(`${NEWER_VERSION} ${suspicion}`);
  // These have nothing to do with the address.
  expect(adviceFor(["misconfigured"])).toBe("");
  expect(adviceFor([])).toBe(RETRIED);
  vi.stubEnv("LUMA_LIST_EVENTS_URL", " ");
  expect(adviceFor(["unavailable"])).toBe(RETRIED);
});

test("A failed Convex call is quoted on one line, without the key, once that is known", () => {
  const error = new Error(`Uncaught Error: ${KEY} is too large\n    at handler (secret.js)`);
  const begin = 'Organization "Acme" was not synced: a call to Convex failed';
  expect(toFailure(error, "Acme", STORED)).toEqual({
    message: `${begin} (Uncaught Error: [API key] is too large). ${RETRIED}`,
    kind: "transient",
  });
  expect(toFailure("gone", "Acme", STORED).message).toBe(`${begin} (gone). ${RETRIED}`);
  expect(toFailure(error, "Acme")).toEqual({ message: `${begin}.`, kind: "transient" });
});

test("The error of an overtaken sync is passed on unchanged", () => {
  const overtaken = { message: "A later sync has begun.", kind: "overtaken" };
  expect(toFailure(new ConvexError(overtaken), "Acme", STORED)).toEqual(overtaken);
});
