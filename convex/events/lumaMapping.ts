/** Turns an event of lu.ma's into the fields that are stored. Pure: no network, no database. */
import type { LumaEvent } from "./lumaWire";
import { boundText } from "./text";
import type { ListedEvent } from "./validators";

// Convex refuses a document over 1 MiB, and with it the calendar's whole sync, every day.
const MAX_TITLE_UNITS = 500;
const MAX_LOCATION_UNITS = 1_000;
const MAX_DESCRIPTION_UNITS = 50_000;
const MAX_URL_UNITS = 2_000;

/** Every stored field of an event but those that only the database knows. */
export function toListedEvent(event: LumaEvent): ListedEvent {
  return {
    lumaEventId: event.id,
    title: boundText(event.title, MAX_TITLE_UNITS),
    description: optionalBound(event.description, MAX_DESCRIPTION_UNITS),
    startAt: event.startAt,
    endAt: event.endAt !== undefined && event.endAt >= event.startAt ? event.endAt : undefined,
    timezone: toTimezone(event.timezone),
    coverUrl: toHttpUrl(event.coverUrl),
    url: toEventUrl(event),
    location: optionalBound(toLocation(event), MAX_LOCATION_UNITS),
    isVirtual: event.isVirtual,
    status: isPublic(event.visibility) ? "listed" : "unlisted",
  };
}

/** A word that lu.ma may add some day means hidden until somebody has looked at it. */
function isPublic(visibility: unknown): boolean {
  return visibility === "public" || visibility === undefined || visibility === null;
}

/** lu.ma's API gives the full address also of events that show it to their guests only. */
function toLocation(event: LumaEvent): string | undefined {
  return isPublic(event.locationVisibility) ? event.fullAddress?.trim() : event.city?.trim();
}

/** lu.ma gives a URL or, in older answers, only the last part of one. */
function toEventUrl(event: LumaEvent): string {
  const url = event.url?.trim();
  const whole = url !== undefined && /^[\w-]+$/.test(url) ? `https://lu.ma/${url}` : url;
  return toHttpUrl(whole) ?? `https://lu.ma/event/${encodeURIComponent(event.id)}`;
}

function toHttpUrl(text: string | undefined): string | undefined {
  const url = text?.trim().toWellFormed();
  if (url === undefined || url.length > MAX_URL_UNITS || !/^https?:\/\//i.test(url)) {
    return undefined;
  }
  try {
    new URL(url);
    return url;
  } catch {
    return undefined;
  }
}

// Asking Intl costs more than the rest of the mapping, and a calendar has a handful of time zones.
const knownTimezones = new Map<string, boolean>();
const MAX_KNOWN_TIMEZONES = 1_000;

function toTimezone(name: string | undefined): string {
  // Newer engines take offsets such as "+02:00" for time zones; they are no IANA names.
  if (name === undefined || !/^[A-Za-z][\w+/-]{0,99}$/.test(name)) return "UTC";
  let isKnown = knownTimezones.get(name);
  if (isKnown === undefined) {
    isKnown = isTimezone(name);
    if (knownTimezones.size < MAX_KNOWN_TIMEZONES) knownTimezones.set(name, isKnown);
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
