/**
 * What lu.ma answers, in lu.ma's own names, checked: both generations of the API. The older one wraps each event in an
 * entry, names the id `api_id` and may leave nearly everything out; the current one gives the events themselves.
 */
import { isValid, parseISO } from "date-fns";
import * as z from "zod/v4";
import { toWellFormed } from "../text";

/** A page of a listing; its entries are read one by one, so that a bad one does not cost the others. */
export const lumaPage = z.object({
  entries: z.array(z.unknown()),
  has_more: z.boolean(),
  next_cursor: z.string().nullish(),
});

/** Text that may be absent, null or empty. Anything else than text counts as absent too. */
const optionalText = z
  .string()
  .transform((text) => (text.trim() === "" ? undefined : text.trim()))
  .optional()
  .catch(undefined);

/** Luma's own pattern allows no seconds, and any offset; without one, nobody can say which time it is. */
const ISO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/;

const time = z
  .string("no possible time")
  .transform((iso) => (ISO_TIME.test(iso) ? parseISO(iso) : new Date(NaN)))
  .refine(isValid, "no possible time")
  .transform((date) => date.getTime());

const address = z
  .object({
    full_address: optionalText,
    address: optionalText,
    city_state: optionalText,
    city: optionalText,
  })
  .optional()
  .catch(undefined);

/** Kept as it comes: a value that nobody knows must be seen as unknown, not as absent. */
const anything = z.unknown().optional();

/** Longer than any id that lu.ma has given out (`evt-` and 16 characters). */
const MAX_ID_UNITS = 200;
const lumaId = z
  .string()
  .trim()
  .min(1)
  .max(MAX_ID_UNITS)
  .refine((id) => toWellFormed(id) === id)
  .optional()
  .catch(undefined);

/** Empty: lu.ma has none. Absent: lu.ma does not say. */
const descriptionText = z.string().nullish().catch(undefined);

const lumaEvent = z.object({
  id: lumaId,
  /** The id, in the older generation. */
  api_id: lumaId,
  name: z.string("no title").trim().min(1, "no title"),
  start_at: time,
  end_at: time.optional().catch(undefined),
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
});

/** Who may see an event. */
export type Audience = {
  visibility?: unknown;
  platform?: unknown;
  access?: unknown;
  status?: unknown;
};

/** An event, whichever generation it came in. Times in ms since 1970. */
export type LumaEvent = Omit<z.output<typeof lumaEvent>, "api_id"> & { id: string };

/**
 * An entry of a list or an answer for one event. Without an id, nobody can say which event it is. Who may see it is said
 * in the event and, in the older generation, also in what wraps it.
 */
export type ReadEntry = { audiences: Audience[] } & (
  { event: LumaEvent } | { id: string | null; reason: string }
);

/** Never throws. */
export function readEntry(entry: unknown): ReadEntry {
  const wrapper = isRecord(entry) ? entry : {};
  const fields = isRecord(wrapper["event"]) ? wrapper["event"] : wrapper;
  const audiences = [...new Set([fields, wrapper])];
  const { data, error } = lumaEvent.safeParse(fields);
  if (data === undefined) {
    const id = lumaId.parse(fields["id"]) ?? lumaId.parse(fields["api_id"]) ?? null;
    return { audiences, id, reason: id === null ? NO_ID : explain(error) };
  }
  const { api_id, ...event } = data;
  const id = event.id ?? api_id;
  if (id === undefined) return { audiences, id: null, reason: NO_ID };
  return { audiences, event: { ...event, id } };
}

/** The calendar of a key: bare, or wrapped in `calendar`; its id is `api_id` in older answers. */
const lumaCalendar = z.object({ id: lumaId, api_id: lumaId, name: z.string() });

/** `null` for an answer that is no calendar. Never throws. */
export function readCalendar(json: unknown): { id: string; name: string } | null {
  const wrapper = isRecord(json) ? json : {};
  const { data } = lumaCalendar.safeParse(wrapper["calendar"] ?? wrapper);
  const id = data?.id ?? data?.api_id;
  return data && id !== undefined ? { id, name: data.name } : null;
}

const NO_ID = "no readable id";

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Which fields are wrong, and how; quotes nothing of what lu.ma sent. */
function explain(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ");
}
