/**
 * What lu.ma answers, in lu.ma's own names, checked: both generations of the API. The older one wraps each event in an
 * entry, names the id `api_id` and may leave nearly everything out; the current one gives the events themselves.
 */
import { isValid, parseISO } from "date-fns";
import * as z from "zod/v4";
import { toWellFormed } from "../text";

/** Longer than any id that lu.ma has given out (`evt-` and 16 characters). */
const MAX_ID_UNITS = 200;

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

/** Who may see an event. */
const audience = z.object({
  visibility: anything,
  platform: anything,
  access: anything,
  status: anything,
});
export type Audience = z.output<typeof audience>;

const lumaEvent = z.object({
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
});

/** An event of a listing, whichever generation it came in. Times in ms since 1970. */
export type LumaEvent = z.output<typeof lumaEvent> & {
  id: string;
  /** Said in the event and, in the older generation, also in the entry that wraps it. */
  audiences: Audience[];
  isWrapped: boolean;
};

/** An entry that could not be read. Without an id, nobody can say which event it is. */
export type InvalidEntry = { id: string | null; reason: string };

const wrappedEntry = z.object({ event: z.record(z.string(), z.unknown()) });
const lumaId = z
  .string()
  .trim()
  .min(1)
  .max(MAX_ID_UNITS)
  .refine((id) => toWellFormed(id) === id);
const eventId = z
  .object({ id: lumaId })
  .or(z.object({ api_id: lumaId }).transform((event) => ({ id: event.api_id })));

/** Reads one entry of a page; never throws. */
export function readEntry(entry: unknown): { event: LumaEvent } | { invalid: InvalidEntry } {
  const { event: fields, isWrapped } = unwrap(entry);
  const id = eventId.safeParse(fields).data?.id;
  if (id === undefined) return { invalid: { id: null, reason: "no readable id" } };
  const event = lumaEvent.safeParse(fields);
  if (!event.success) return { invalid: { id, reason: explain(event.error) } };
  const audiences = (isWrapped ? [fields, entry] : [fields]).map((said) => audience.parse(said));
  return { event: { ...event.data, id, audiences, isWrapped } };
}

function unwrap(json: unknown): { event: unknown; isWrapped: boolean } {
  const wrapped = wrappedEntry.safeParse(json);
  return { event: wrapped.data?.event ?? json, isWrapped: wrapped.success };
}

/** Which fields are wrong, and how; quotes nothing of what lu.ma sent. */
function explain(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ");
}

const describedEvent = z.object({
  description: z.string().nullish().catch(undefined),
  description_md: z.string().nullish().catch(undefined),
});

/**
 * The Markdown in an answer for one event, or else its plain text, which drops the addresses of links; empty when lu.ma
 * has neither. `null` for an answer that is no event.
 */
export function readDescription(json: unknown): string | null {
  const described = describedEvent.safeParse(unwrap(json).event);
  if (!described.success) return null;
  const { description, description_md } = described.data;
  if (description === undefined && description_md === undefined) return null;
  return [description_md, description].find((text) => text?.trim()) ?? "";
}
