/**
 * Picks the events for a list of upcoming ones. Of its 50 places, 10 are for events longer than a day, 15 for others
 * that are on now, and the rest for those that start next, so that no kind crowds out another. Places that are left go
 * to more events that are on now, and then to more long ones.
 */
import { milliseconds } from "date-fns";
import type { Doc } from "../../_generated/dataModel";
import type { QueryCtx } from "../../_generated/server";
import { settings } from "../../lumaApp";
import type { OrgId } from "../organizations";

type Event = Doc<"events">;

const MAX_UPCOMING = settings.maxUpcoming ?? 50;
const LONG_PLACES = Math.floor(MAX_UPCOMING * 0.2);
const ON_NOW_PLACES = Math.floor(MAX_UPCOMING * 0.3);
/** The most long events to read for a list, and the most that are on now, including those that are skipped. */
const MAX_LOOKED_AT = 100;

/** `isLong` is set for events that last longer than this. */
export const DAY_MS = milliseconds({ hours: 24 });

export type Upcoming = {
  /** "all" means every organization. */
  orgIds: OrgId[] | "all";
  /** ms since 1970. */
  now: number;
  /** Events that start later (ms since 1970) are left out. */
  until: number;
  /** The most events that start next to read, including those that are skipped. */
  maxNext: number;
};

/**
 * The events of a list by lu.ma id, in order of start. An event on two calendars is in it once.
 *
 * @param toShown what to show of an event; returns `null` to skip it.
 */
export async function listUpcoming<Shown>(
  ctx: QueryCtx,
  { orgIds, now, until, maxNext }: Upcoming,
  toShown: (event: Event) => Promise<Shown | null>,
): Promise<Map<string, Shown>> {
  const look = (
    query: (orgId?: OrgId) => AsyncIterable<Event>,
    order: Order,
    count: number,
    isWanted: (event: Event) => boolean,
  ) => lookAt(merge(orgIds === "all" ? [query()] : orgIds.map(query), order), count, isWanted);
  const long = look(
    (orgId) => queryLong(ctx, now, orgId),
    (event) => event.overAt,
    MAX_LOOKED_AT,
    (event) => event.startAt <= until,
  );
  const onNow = look(
    // An event that lasts at most a day, and is on now, began within the last day.
    (orgId) => queryStarts(ctx, now - DAY_MS, now, orgId).order("desc"),
    (event) => -event.startAt,
    MAX_LOOKED_AT,
    (event) => !event.isLong && event.overAt > now,
  );
  const next = look(
    (orgId) => queryStarts(ctx, now, until, orgId),
    (event) => event.startAt,
    maxNext,
    (event) => !event.isLong,
  );

  const list = new Map<string, { startAt: number; shown: Shown }>();
  const fill = async (events: AsyncIterator<Event>, places: number) => {
    for (const end = Math.min(list.size + places, MAX_UPCOMING); list.size < end;) {
      const { done, value: event } = await events.next();
      if (done) return;
      if (list.has(event.lumaEventId)) continue;
      const shown = await toShown(event);
      if (shown !== null) list.set(event.lumaEventId, { startAt: event.startAt, shown });
    }
  };
  await fill(long, LONG_PLACES);
  await fill(onNow, ON_NOW_PLACES);
  for (const events of [next, onNow, long]) await fill(events, MAX_UPCOMING);
  const inOrder = [...list].sort(([, a], [, b]) => a.startAt - b.startAt);
  return new Map(inOrder.map(([id, { shown }]) => [id, shown]));
}

/** Long events that aren't over, the first to end first. */
function queryLong(ctx: QueryCtx, now: number, orgId?: OrgId) {
  const events = ctx.db.query("events");
  return orgId === undefined
    ? events.withIndex("by_status_long_over", (q) =>
        q.eq("status", "listed").eq("isLong", true).gt("overAt", now),
      )
    : events.withIndex("by_org_status_long_over", (q) =>
        q.eq("orgId", orgId).eq("status", "listed").eq("isLong", true).gt("overAt", now),
      );
}

/** Events that start after `after`, and by `until`. */
function queryStarts(ctx: QueryCtx, after: number, until: number, orgId?: OrgId) {
  const events = ctx.db.query("events");
  return orgId === undefined
    ? events.withIndex("by_status_start", (q) =>
        q.eq("status", "listed").gt("startAt", after).lte("startAt", until),
      )
    : events.withIndex("by_org_status_start", (q) =>
        q.eq("orgId", orgId).eq("status", "listed").gt("startAt", after).lte("startAt", until),
      );
}

type Order = (event: Event) => number;

/** Merges the results of several queries, each in this order. Reads one event ahead in each, and no more. */
export async function* merge(
  queries: AsyncIterable<Event>[],
  order: Order,
): AsyncGenerator<Event, undefined> {
  const heads: { event: Event; events: AsyncIterator<Event> }[] = [];
  for (const query of queries) {
    const events = query[Symbol.asyncIterator]();
    const { done, value } = await events.next();
    if (!done) heads.push({ event: value, events });
  }
  for (;;) {
    const [head] = heads.sort((a, b) => order(a.event) - order(b.event));
    if (head === undefined) return;
    yield head.event;
    const { done, value } = await head.events.next();
    if (done) heads.shift();
    else head.event = value;
  }
}

/** The wanted ones among the first `count` events. */
async function* lookAt(
  events: AsyncIterable<Event>,
  count: number,
  isWanted: (event: Event) => boolean,
): AsyncGenerator<Event, undefined> {
  let left = count;
  for await (const event of events) {
    left -= 1;
    if (isWanted(event)) yield event;
    if (left === 0) return;
  }
}
