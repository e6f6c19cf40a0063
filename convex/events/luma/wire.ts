/**
 * lu.ma's listing in lu.ma's own names, checked: both generations of the address. The older one wraps each event in
 * an entry, names the id `api_id` and may leave nearly everything out; the current one lists the events themselves.
 */
import { isValid, parseISO } from "date-fns";
import * as z from "zod";
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

const time = z.iso
  .datetime({ offset: true, error: "no possible time" })
  .transform((iso) => parseISO(iso))
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

const lumaEvent = z.object({
  name: z.string("no title").trim().min(1, "no title"),
  start_at: time,
  end_at: time.optional().catch(undefined),
  timezone: optionalText,
  description: optionalText,
  description_md: optionalText,
  cover_url: optionalText,
  url: optionalText,
  geo_address_json: address,
  meeting_url: optionalText,
  zoom_meeting_url: optionalText,
  // Kept as they come: a value that nobody knows must be seen as unknown, not as absent.
  visibility: z.unknown().optional(),
  location_visibility: z.unknown().optional(),
});

/** An event of lu.ma's, whichever generation it came in. Times in ms since 1970. */
export type LumaEvent = z.output<typeof lumaEvent> & { id: string };

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
  const wrapped = wrappedEntry.safeParse(entry);
  const fields = wrapped.success ? wrapped.data.event : entry;
  const id = eventId.safeParse(fields);
  if (!id.success) return { invalid: { id: null, reason: "no readable id" } };
  const event = lumaEvent.safeParse(fields);
  if (!event.success) return { invalid: { id: id.data.id, reason: explain(event.error) } };
  return { event: { ...event.data, id: id.data.id } };
}

/** Which fields are wrong, and how; quotes nothing of what lu.ma sent. */
function explain(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ");
}
