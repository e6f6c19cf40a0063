/** Turns a lu.ma event into the fields that are stored. */
import { boundText, toHttpUrl } from "../text";
import type { MirroredEvent } from "../validators";
import type { Audience, LumaEvent } from "./wire";

// One document over Convex's limit of 1 MiB would fail the calendar's sync every day.
const MAX_TITLE_UNITS = 500;
const MAX_LOCATION_UNITS = 1_000;
const MAX_DESCRIPTION_UNITS = 20_000;

/** Every mirrored field of an event. */
export function toMirroredEvent(event: LumaEvent, audiences: Audience[]): MirroredEvent {
  return {
    lumaEventId: event.id,
    title: boundText(event.name, MAX_TITLE_UNITS),
    startAt: event.start_at,
    endAt: event.end_at !== undefined && event.end_at >= event.start_at ? event.end_at : undefined,
    timezone: toTimezone(event.timezone),
    coverUrl: toHttpUrl(event.cover_url),
    url: toEventUrl(event),
    location: toLocation(event),
    isVirtual: isVirtual(event),
    status: isKnownToBePublic(audiences) ? "listed" : "unlisted",
  };
}

/**
 * lu.ma's Markdown or else its plain text, which has no links. Empty if the event has none; `undefined` if lu.ma
 * doesn't say.
 */
export function toDescription({ description, description_md }: LumaEvent): string | undefined {
  if (description === undefined && description_md === undefined) return undefined;
  const text = [description_md, description].find((one) => one?.trim()) ?? "";
  return boundText(text, MAX_DESCRIPTION_UNITS);
}

// lu.ma's location types for online events; `unknown` is some other link. The rest are `offline` and `missing`.
const ONLINE: unknown[] = ["discord", "meet", "twitch", "twitter", "youtube", "zoom", "unknown"];

function isVirtual(event: LumaEvent): boolean {
  const hasLink = event.meeting_url !== undefined || event.zoom_meeting_url !== undefined;
  return hasLink || ONLINE.includes(event.location_type);
}

/** Only events that are known to be public become `listed`. */
export function isKnownToBePublic(audiences: Audience[]): boolean {
  return (
    audiences.some(({ visibility }) => visibility === "public") && !isSaidToBeHidden(audiences)
  );
}

/** Not public, not lu.ma's own, not managed by the calendar, or not approved. An absent field hides nothing. */
export function isSaidToBeHidden(audiences: Audience[]): boolean {
  return !audiences.every(
    ({ visibility, platform, access, status }) =>
      isAbsentOr("public", visibility) &&
      isAbsentOr("luma", platform) &&
      isAbsentOr("manage", access) &&
      isAbsentOr("approved", status),
  );
}

function isAbsentOr(word: string, said: unknown): boolean {
  return said === undefined || said === null || said === word;
}

/**
 * lu.ma's API returns the full address even if only guests may see it, and the older API doesn't say who may. So this
 * is just the city, unless the location is known to be public.
 */
function toLocation(event: LumaEvent): string | undefined {
  const place = event.geo_address_json;
  const city = place?.city_state ?? place?.city;
  const location =
    event.location_visibility === "public" ? (place?.full_address ?? place?.address ?? city) : city;
  return location && boundText(location, MAX_LOCATION_UNITS);
}

/** lu.ma returns a whole URL or, in older answers, only its last part. */
function toEventUrl({ id, url }: LumaEvent): string {
  const whole = url !== undefined && /^[\w-]+$/.test(url) ? `https://lu.ma/${url}` : url;
  return toHttpUrl(whole) ?? `https://lu.ma/event/${encodeURIComponent(id)}`;
}

// Cached, because Intl is slower than the rest of the mapping, and a calendar has only a few time zones.
const MAX_TIMEZONE_UNITS = 100;
const knownTimezones = new Map<string, boolean>();

function toTimezone(name: string | undefined): string {
  // Newer engines accept offsets such as "+02:00", which aren't IANA names.
  if (name === undefined || name.length > MAX_TIMEZONE_UNITS || /^[+-]/.test(name)) return "UTC";
  if (!knownTimezones.has(name)) knownTimezones.set(name, isTimezone(name));
  return knownTimezones.get(name) ? name : "UTC";
}

function isTimezone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
