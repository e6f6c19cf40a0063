/** The URLs of lu.ma's API: the list of events, a single event, and the key's calendar. */
import { LIST_VARIABLE, SyncError } from "../failure";
import { getVariable } from "../runtime";
import { parseUrl } from "../text";

/**
 * First the documented list, then an older one: the documentation says that older URLs "remain available for backward
 * compatibility", but not for how long.
 */
const LISTS = [
  "https://public-api.luma.com/v1/calendars/events/list",
  "https://public-api.lu.ma/public/v1/calendar/list-events",
];

/**
 * The two generations of the API: how their paths end, and the parameter that names an event. The older one has no
 * known path for the key's calendar, and doesn't say who may see where an event takes place.
 */
const CURRENT = { list: "/calendars/events/list", event: "/events/get", idParameter: "event_id" };
const OLDER = { list: "/calendar/list-events", event: "/event/get", idParameter: "api_id" };
const CALENDAR = "/calendars/get";

export type LumaAddress = {
  list: URL;
  event: URL;
  idParameter: string;
  /** The key's calendar; `null` in the older API. */
  calendar: URL | null;
  isOlder: boolean;
};

/** In the order to try them. If the variable is set, it's the only one: for tests, demos and proxies. */
export function getAddresses(): LumaAddress[] {
  const setting = getVariable(LIST_VARIABLE);
  if (setting === undefined) return LISTS.flatMap((list) => toAddress(list) ?? []);
  const address = toAddress(setting);
  if (address !== undefined) return [address];
  throw new SyncError(
    `the environment variable ${LIST_VARIABLE} is not an http(s) URL (without a user name) whose path ends in ` +
      `${CURRENT.list} or ${OLDER.list}. Correct it on this deployment, or remove it to use lu.ma itself`,
    "misconfigured",
  );
}

function toAddress(text: string): LumaAddress | undefined {
  const list = parseUrl(text);
  // fetch refuses URLs with a user name or password.
  if (!list || list.username || list.password) return undefined;
  if (!["http:", "https:"].includes(list.protocol)) return undefined;
  const generation = [CURRENT, OLDER].find((one) => list.pathname.endsWith(one.list));
  if (generation === undefined) return undefined;
  const base = list.pathname.slice(0, -generation.list.length);
  const beside = (path: string) => new URL(`${list.origin}${base}${path}${list.search}`);
  const { event, idParameter } = generation;
  const isOlder = generation === OLDER;
  const calendar = isOlder ? null : beside(CALENDAR);
  return { list, event: beside(event), idParameter, calendar, isOlder };
}

/** One page of the list. `after` and `before` in ms since 1970, UTC. */
export function toPageUrl(
  { list }: LumaAddress,
  page: { after: number; before: number; size: number; cursor?: string },
): URL {
  const url = new URL(list);
  url.searchParams.set("after", new Date(page.after).toISOString());
  url.searchParams.set("before", new Date(page.before).toISOString());
  url.searchParams.set("pagination_limit", String(page.size));
  url.searchParams.set("sort_column", "start_at");
  url.searchParams.set("sort_direction", "asc");
  if (page.cursor !== undefined) url.searchParams.set("pagination_cursor", page.cursor);
  return url;
}

export function toEventUrl({ event, idParameter }: LumaAddress, lumaEventId: string): URL {
  const url = new URL(event);
  url.searchParams.set(idParameter, lumaEventId);
  return url;
}
