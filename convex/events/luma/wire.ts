/**
 * Checks what lu.ma answers, in lu.ma's own names, in both generations of the API. The older one wraps each event in an
 * entry, names the id `api_id` and may leave nearly everything out; the current one gives the events themselves.
 */
import * as z from "zod/v4";
import { toWellFormed } from "../text";

/** A page of lu.ma's list; readEntry reads its entries one by one, so that a bad one does not cost the others. */
export const lumaPage = z.object({
  entries: z.array(z.unknown()),
  has_more: z.boolean(),
  next_cursor: z.string().nullish(),
});

/** The text, trimmed; nothing for what is absent, null, empty or no text. */
function toText(value: unknown): string | undefined {
  const text = typeof value === "string" ? value.trim() : "";
  return text === "" ? undefined : text;
}

/** lu.ma's own pattern makes seconds optional, and allows any offset; without one, nobody can say which time it is. */
const ISO_TIME = /^(\d{4}-\d\d-(\d\d))T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/;

/** In ms since 1970. */
function toTime(value: unknown): number | undefined {
  const [iso, date, day] = ISO_TIME.exec(toText(value) ?? "") ?? [];
  if (iso === undefined || date === undefined) return undefined;
  const ms = Date.parse(iso);
  // Engines take February 30 for March 2.
  const isPossible = !Number.isNaN(ms) && new Date(date).getUTCDate() === Number(day);
  return isPossible ? ms : undefined;
}

// One function a field, not a chain of schemas: a chain makes reading an entry several times as slow.
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

/** Kept as it comes: a value that nobody knows must be seen as unknown, not as absent. */
const anything = z.unknown().optional();

/** Empty: lu.ma has none. Absent: lu.ma does not say. */
const descriptionText = z.string().nullish().catch(undefined);

const lumaEvent = z.object({
  name: z.transform(toText).pipe(z.string("no title")),
  start_at: z.transform(toTime).pipe(z.number("no possible time")),
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

/** Who may see an event. */
export type Audience = {
  visibility?: unknown;
  platform?: unknown;
  access?: unknown;
  status?: unknown;
};

/** An event, whichever generation it came in. Times in ms since 1970. */
export type LumaEvent = z.output<typeof lumaEvent> & { id: string };

/**
 * An entry of a list or an answer for one event. Without an id, nobody can say which event it is. The event says who
 * may see it and, in the older generation, so does what wraps it.
 */
export type ReadEntry = { audiences: Audience[] } & (
  { event: LumaEvent } | { id: string | null; reason: string }
);

/** Never throws. */
export function readEntry(entry: unknown): ReadEntry {
  const wrapper = isRecord(entry) ? entry : {};
  const fields = isRecord(wrapper["event"]) ? wrapper["event"] : wrapper;
  const audiences = [...new Set([fields, wrapper])];
  const id = toId(fields["id"]) ?? toId(fields["api_id"]);
  if (id === undefined) return { audiences, id: null, reason: "no readable id" };
  const { data, error } = lumaEvent.safeParse(fields);
  return data === undefined
    ? { audiences, id, reason: explain(error) }
    : { audiences, event: { ...data, id } };
}

/** Longer than any id that lu.ma has given out (`evt-` and 16 characters). */
const MAX_ID_UNITS = 200;

/** The key's calendar, bare or wrapped in `calendar`; `null` for an answer that is none. Never throws. */
export function readCalendar(json: unknown): { id: string; name: string } | null {
  const wrapper = isRecord(json) ? json : {};
  const fields = isRecord(wrapper["calendar"]) ? wrapper["calendar"] : wrapper;
  const id = toId(fields["id"]) ?? toId(fields["api_id"]);
  const name = toText(fields["name"]);
  return id !== undefined && name !== undefined ? { id, name } : null;
}

function toId(value: unknown): string | undefined {
  const id = toText(value);
  return id !== undefined && id.length <= MAX_ID_UNITS && toWellFormed(id) === id ? id : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Which fields are wrong, and how; quotes nothing of what lu.ma sent. */
function explain(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ");
}
