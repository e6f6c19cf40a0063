/** Turns an event of lu.ma's into the fields that are stored. Pure: no network, no database. */
import { boundText, toHttpUrl } from "../text";
import type { MirroredEvent } from "../validators";
import type { Audience, LumaEvent } from "./wire";

// Convex refuses a document over 1 MiB, and with it the calendar's whole sync, every day.
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

/** lu.ma's Markdown or, without any, the plain text, which leaves out the links' addresses; empty if there is neither. */
export function toDescription({ description, description_md }: LumaEvent): string | undefined {
  if (description === undefined && description_md === undefined) return undefined;
  const text = [description_md, description].find((one) => one?.trim()) ?? "";
  return boundText(text, MAX_DESCRIPTION_UNITS);
}

// lu.ma's words for places online; `unknown` is some meeting link. The others: `offline`, and `missing` for no place.
const ONLINE: unknown[] = ["discord", "meet", "twitch", "twitter", "youtube", "zoom", "unknown"];

function isVirtual(event: LumaEvent): boolean {
  const hasLink = event.meeting_url !== undefined || event.zoom_meeting_url !== undefined;
  return hasLink || ONLINE.includes(event.location_type);
}

/** Only such events become `listed`. */
export function isKnownToBePublic(audiences: Audience[]): boolean {
  return (
    audiences.some(({ visibility }) => visibility === "public") && !isSaidToBeHidden(audiences)
  );
}

/** Not public, not lu.ma's own, not managed by the calendar, or not approved. What is not said hides nothing. */
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
 * lu.ma's API also gives the full addresses of events that show them to guests only; its older generation never says
 * which those are.
 */
function toLocation(event: LumaEvent): string | undefined {
  const place = event.geo_address_json;
  const city = place?.city_state ?? place?.city;
  const location =
    event.location_visibility === "public" ? (place?.full_address ?? place?.address ?? city) : city;
  return location && boundText(location, MAX_LOCATION_UNITS);
}

/** lu.ma gives a URL or, in older answers, only the last part of one. */
function toEventUrl({ id, url }: LumaEvent): string {
  const whole = url !== undefined && /^[\w-]+$/.test(url) ? `https://lu.ma/${url}` : url;
  return toHttpUrl(whole) ?? `https://lu.ma/event/${encodeURIComponent(id)}`;
}

// Asking Intl costs more than the rest of the mapping, and a calendar has a handful of time zones.
const MAX_TIMEZONE_UNITS = 100;
const knownTimezones = new Map<string, boolean>();

function toTimezone(name: string | undefined): string {
  // Newer engines take offsets such as "+02:00" for time zones; they are no IANA names.
  if (name === undefined || name.length > MAX_TIMEZONE_UNITS || /^[+-]/.test(name)) return "UTC";
  let isKnown = knownTimezones.get(name);
  if (isKnown === undefined) {
    isKnown = isTimezone(name);
    knownTimezones.set(name, isKnown);
  }
  return isKnown ? name : "UTC";
}

function isTimezone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
