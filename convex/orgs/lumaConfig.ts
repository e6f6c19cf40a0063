/** An organization's lu.ma calendar, for an app's own mutations: connecting it, and syncing it now. */
import { milliseconds } from "date-fns";
import { ConvexError } from "convex/values";
import type { MutationCtx } from "../_generated/server";
import { parseUrl, toHttpUrl } from "../events/text";
import { forgetKey, getSync, leaveQueue, makeDue, requireConnected } from "../events/eventSyncs";
import { wakeQueue } from "../events/queue";
import { getOrgName, patchOrg, requireOrg, type LumaFields, type OrgId } from "./app";
import { parseLumaKey } from "./lumaKey";

/** From the start of a sync to the next one that is requested: a button cannot use up a key's 200 requests a minute. */
const REQUEST_PAUSE_MS = milliseconds({ minutes: 5 });
const ON_LUMA = /^https:\/\/(lu\.ma|luma\.com)\//;

/** What is left out stays as it is; `null` clears. */
export type LumaConfig = { lumaCalendarUrl?: string | null; lumaApiKey?: string | null };

/**
 * Sets the page to embed and the key to mirror events with. Setting or clearing the key, also the same one again, ends
 * a sync that is running, and clears the last sync's error. With a key, the queue syncs the organization now; without
 * one, no more. The caller must check who may do this.
 *
 * @throws ConvexError when there is no such organization, the URL is not an https one on lu.ma or luma.com, or the key
 * is empty, cannot be sent, names another variable than `LUMA_API_KEY…`, or is a variable's name itself.
 */
export async function configureLuma(
  ctx: MutationCtx,
  orgId: OrgId,
  { lumaCalendarUrl, lumaApiKey }: LumaConfig,
): Promise<void> {
  const org = await requireOrg(ctx, orgId);
  const refuse = (problem: string) =>
    new ConvexError(`Organization "${getOrgName(org)}": ${problem}.`);
  const fields: Partial<LumaFields> = {};
  if (lumaCalendarUrl === null) fields.lumaCalendarUrl = undefined;
  else if (lumaCalendarUrl !== undefined) {
    fields.lumaCalendarUrl = toCalendarUrl(lumaCalendarUrl);
    if (fields.lumaCalendarUrl === undefined) {
      throw refuse(
        "the calendar URL must be an https URL on lu.ma or luma.com, such as " +
          "https://lu.ma/embed/calendar/cal-…/events",
      );
    }
  }
  if (lumaApiKey !== undefined) {
    const parsed = lumaApiKey === null ? null : parseLumaKey(lumaApiKey);
    if (parsed !== null && "problem" in parsed) throw refuse(parsed.problem);
    fields.lumaApiKey = lumaApiKey?.trim();
    fields.eventsSyncError = undefined;
    // A variable may have another value by now.
    const isSameKey = parsed !== null && "apiKey" in parsed && parsed.apiKey === org.lumaApiKey;
    await forgetKey(ctx, orgId, isSameKey);
    if (lumaApiKey === null) await leaveQueue(ctx, orgId);
    else await makeDue(ctx, orgId, Date.now());
    await wakeQueue(ctx);
  }
  await patchOrg(ctx, orgId, fields);
}

/** As the URL parser writes it, which is what a browser opens; nothing for any other URL. */
function toCalendarUrl(input: string): string | undefined {
  const text = input.trim();
  // The parser also takes what is not written as a URL: "https:lu.ma", or one with line breaks.
  const url = /^https:\/\/\S+$/i.test(text) ? parseUrl(text) : undefined;
  return url && ON_LUMA.test(url.href) ? toHttpUrl(url.href) : undefined;
}

/**
 * Has the queue sync an organization now, or 5 minutes after the start of its last sync, good or bad: for an app's own
 * "sync now". Harmless to call again. The caller must check who may do this.
 *
 * @throws ConvexError when there is no such organization, or it has no key.
 */
export async function requestSync(ctx: MutationCtx, orgId: OrgId): Promise<void> {
  await requireConnected(ctx, orgId);
  const { startedAt = -Infinity } = (await getSync(ctx, orgId)) ?? {};
  await makeDue(ctx, orgId, Math.max(Date.now(), startedAt + REQUEST_PAUSE_MS));
  await wakeQueue(ctx);
}
