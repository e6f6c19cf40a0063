/** Validates the settings that connect a calendar. */
import { ConvexError, v, type Infer } from "convex/values";
import { toHttpUrl } from "../text";
import { API_KEY, parseSecret, STORED, WEBHOOK_SECRET } from "./key";

const optionalText = v.optional(v.union(v.string(), v.null()));

/** Omitted fields are unchanged; `null` clears a field. */
export const lumaConfig = v.object({
  /** The page to embed: an https URL on lu.ma or luma.com. */
  lumaCalendarUrl: optionalText,
  lumaApiKey: optionalText,
  /** The secret of the calendar's webhook. */
  lumaWebhookSecret: optionalText,
});
export type LumaConfig = Infer<typeof lumaConfig>;

const ON_LUMA = /^https:\/\/(lu\.ma|luma\.com)\//;

/**
 * The validated configuration, ready to be stored.
 *
 * @param orgName for errors.
 * @param mayUseVariables whether the caller may name the deployment's environment variables.
 * @throws ConvexError with a sentence that says what is wrong, and never contains a key or a secret.
 */
export function checkConfig(
  { lumaCalendarUrl, lumaApiKey, lumaWebhookSecret }: LumaConfig,
  orgName: string,
  mayUseVariables: boolean,
): LumaConfig {
  const refuse = (problem: string) => new ConvexError(`Organization "${orgName}": ${problem}.`);
  const checkSecret = (input: string, kind: typeof API_KEY): string => {
    const parsed = parseSecret(input, kind);
    if ("problem" in parsed) throw refuse(parsed.problem);
    if ("variable" in parsed && !mayUseVariables) {
      throw refuse("env: can only be set by an administrator, with setLumaConfig");
    }
    return input.trim();
  };
  const checkKey = (input: string): string => {
    if (input.trim() !== STORED) return checkSecret(input, API_KEY);
    throw refuse(`"${STORED}" is no key: leave the field out to keep the one that is stored`);
  };
  const checkUrl = (input: string): string => {
    // The parser would encode spaces and drop line breaks. Here, they're a paste error.
    const url = /\s/.test(input.trim()) ? undefined : toHttpUrl(input);
    if (url !== undefined && ON_LUMA.test(url)) return url;
    throw refuse(
      "the calendar URL must be an https URL on lu.ma or luma.com, such as " +
        "https://lu.ma/embed/calendar/cal-…/events",
    );
  };
  return {
    lumaCalendarUrl: ifText(lumaCalendarUrl, checkUrl),
    lumaApiKey: ifText(lumaApiKey, checkKey),
    lumaWebhookSecret: ifText(lumaWebhookSecret, (input) => checkSecret(input, WEBHOOK_SECRET)),
  };
}

function ifText(input: string | null | undefined, check: (text: string) => string) {
  return typeof input === "string" ? check(input) : input;
}
