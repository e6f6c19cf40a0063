/** Turns an event of lu.ma's into the fields that are stored. Pure: no network, no database. */
import { boundText, toHttpUrl } from "../text";
import type { MirroredEvent } from "../validators";
import type { LumaEvent } from "./wire";

// Convex refuses a document over 1 MiB, and with it the calendar's whole sync, every day.
const MAX_TITLE_UNITS = 500;
const MAX_LOCATION_UNITS = 1_000;
const MAX_DESCRIPTION_UNITS = 50_000;

/** Every mirrored field of an event. */
export function toMirroredEvent(event: LumaEvent): MirroredEvent {
  return {
    lumaEventId: event.id,
    title: boundText(event.name, MAX_TITLE_UNITS),
    description: optionalBound(event.description ?? event.description_md, MAX_DESCRIPTION_UNITS),
    startAt: event.start_at,
    endAt: event.end_at !== undefined && event.end_at >= event.start_at ? event.end_at : undefined,
    timezone: toTimezone(event.timezone),
    coverUrl: toHttpUrl(event.cover_url),
    url: toEventUrl(event),
    location: optionalBound(toLocation(event), MAX_LOCATION_UNITS),
    isVirtual: event.meeting_url !== undefined || event.zoom_meeting_url !== undefined,
    status: isPublic(event.visibility) ? "listed" : "unlisted",
  };
}

/** A word that lu.ma may add some day means hidden until somebody has looked at it. */
function isPublic(visibility: unknown): boolean {
  return visibility === "public" || visibility === undefined || visibility === null;
}

/** lu.ma's API gives the full address also of events that show it to their guests only. */
function toLocation(event: LumaEvent): string | undefined {
  const place = event.geo_address_json;
  return isPublic(event.location_visibility)
    ? (place?.full_address ?? place?.address)
    : (place?.city_state ?? place?.city);
}

/** lu.ma gives a URL or, in older answers, only the last part of one. */
function toEventUrl({ id, url }: LumaEvent): string {
  const whole = url !== undefined && /^[\w-]+$/.test(url) ? `https://lu.ma/${url}` : url;
  return toHttpUrl(whole) ?? `https://lu.ma/event/${encodeURIComponent(id)}`;
}

// Asking Intl costs more than the rest of the mapping, and a calendar has a handful of time zones.
const knownTimezones = new Map<string, boolean>();

function toTimezone(name: string | undefined): string {
  // Newer engines take offsets such as "+02:00" for time zones; they are no IANA names.
  if (name === undefined || !/^[A-Za-z][\w+/-]{0,99}$/.test(name)) return "UTC";
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

function optionalBound(text: string | undefined, maxUnits: number): string | undefined {
  return text === undefined ? undefined : boundText(text, maxUnits);
}
