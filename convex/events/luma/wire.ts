/**
 * Validates lu.ma's answers, with lu.ma's own names. The current API returns events as they are. The older one wraps
 * each event in an entry, calls its id `api_id`, and may omit nearly everything else.
 */
import * as z from "zod/v4";
import { toWellFormed } from "../text";

/**
 * A page of lu.ma's list. Its entries are read one by one (see readEntry), so an invalid one doesn't discard the
 * others.
 */
export const lumaPage = z.object({
  entries: z.array(z.unknown()),
  has_more: z.boolean(),
  next_cursor: z.string().nullish(),
});

/** Trimmed text; `undefined` if it is absent, empty or not a string. */
function toText(value: unknown): string | undefined {
  const text = typeof value === "string" ? value.trim() : "";
  return text === "" ? undefined : text;
}

/**
 * As in lu.ma's own pattern, seconds are optional and any offset is allowed. Without an offset, a time is ambiguous.
 */
const ISO_TIME = /^(\d{4}-\d\d-(\d\d))T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/;

/** In ms since 1970. */
function toTime(value: unknown): number | undefined {
  const [iso, date, day] = ISO_TIME.exec(toText(value) ?? "") ?? [];
  if (iso === undefined || date === undefined) return undefined;
  const ms = Date.parse(iso);
  // Engines read February 30 as March 2.
  const isPossible = !Number.isNaN(ms) && new Date(date).getUTCDate() === Number(day);
  return isPossible ? ms : undefined;
}

// One function per field: a chain of schemas would make reading an entry several times slower.
const optionalText = z.transform(toText);
const optionalTime = z.transform(toTime);

const address = z
  .object({
    full_address: optionalText,
    address: optionalText,
    city_state: optionalText,
    city: optionalText,
  })
  .nullish()
  .catch(undefined);

/** Kept as is, so that an unknown value isn't mistaken for an absent one. */
const anything = z.unknown().optional();

/** Empty or null: the event has none. Absent: lu.ma doesn't say. */
const descriptionText = z.string().nullish().catch(undefined);

const lumaEvent = z.object({
  name: z.transform(toText).pipe(z.string("missing title")),
  start_at: z.transform(toTime).pipe(z.number("missing or invalid time")),
  end_at: optionalTime,
  timezone: optionalText,
  cover_url: optionalText,
  url: optionalText,
  geo_address_json: address,
  location_visibility: anything,
  location_type: anything,
  meeting_url: optionalText,
  zoom_meeting_url: optionalText,
  description: descriptionText,
  description_md: descriptionText,
  calendar_id: optionalText,
});

/** The fields that say who may see an event. */
export type Audience = {
  visibility?: unknown;
  platform?: unknown;
  access?: unknown;
  status?: unknown;
};

/** An event, whichever generation it came in. Times in ms since 1970. */
export type LumaEvent = z.output<typeof lumaEvent> & { id: string };

/**
 * An entry of a list, or an answer for one event. Without an id, there's no telling which event it is. Who may see the
 * event is in its own fields and, in the older API, in those of its wrapper, too.
 */
export type ReadEntry = { audiences: Audience[] } & (
  { event: LumaEvent } | { id: string | null; reason: string }
);

/** Never throws. */
export function readEntry(entry: unknown): ReadEntry {
  const { wrapper, fields, id } = unwrap(entry, "event");
  const audiences = [...new Set([fields, wrapper])];
  if (id === undefined) return { audiences, id: null, reason: "no readable id" };
  const { data, error } = lumaEvent.safeParse(fields);
  return data === undefined
    ? { audiences, id, reason: explain(error) }
    : { audiences, event: { ...data, id } };
}

/** Far longer than lu.ma's ids, which are `evt-` and 16 characters. */
const MAX_ID_UNITS = 200;

/** A calendar, bare or wrapped in `calendar`; `null` if the answer isn't one. Never throws. */
export function readCalendar(json: unknown): { id: string; name: string } | null {
  const { fields, id } = unwrap(json, "calendar");
  const name = toText(fields["name"]);
  return id !== undefined && name !== undefined ? { id, name } : null;
}

/** The fields of an event or a calendar, bare or wrapped under its name, and its id in either generation of the API. */
function unwrap(json: unknown, name: "event" | "calendar") {
  const wrapper = isRecord(json) ? json : {};
  const inner = wrapper[name];
  const fields = isRecord(inner) ? inner : wrapper;
  return { wrapper, fields, id: toId(fields["id"]) ?? toId(fields["api_id"]) };
}

function toId(value: unknown): string | undefined {
  const id = toText(value);
  return id !== undefined && id.length <= MAX_ID_UNITS && toWellFormed(id) === id ? id : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Which fields are wrong, and how. Quotes nothing that lu.ma sent. */
function explain(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ");
}
