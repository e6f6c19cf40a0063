/** What an app sets and calls: the module's settings, and an organization's calendar and how its syncs stand. */
import { milliseconds } from "date-fns";
import { ConvexError, v, type Infer } from "convex/values";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import { describeLumaKey, hasLumaKey, parseLumaKey } from "./luma/key";
import {
  nameOf,
  noKey,
  orgId,
  patchOrg,
  requireOrg,
  type LumaFields,
  type Org,
  type OrgId,
} from "./organizations";
import { calendar, getSync, makeDue, stopSyncs } from "./queue/syncs";
import { advanceQueue, letGo } from "./queue/worker";
import { toHttpUrl } from "./text";

/** Each replaces a constant of the module's, which says what it is for. */
export type LumaSettings = {
  /** How far back the mirror reaches: 30 days. */
  windowBackDays?: number;
  /** How far ahead the mirror reaches: 90 days. */
  windowAheadDays?: number;
  /** When transient failures are retried, in hours since the first: [0.5, 1.5, 3.5, 7.5, 15.5]. */
  retryAfterHours?: number[];
  /** How many events a sync asks for one by one: 100. */
  singleRequests?: number;
  /** How many events a list of upcoming ones shows: 50. */
  maxUpcoming?: number;
  /** How many past events a page shows: 20. */
  maxPast?: number;
};

/** From the start of a sync to the next one that is requested: a button can't use up a key's 200 requests a minute. */
const REQUEST_PAUSE_MS = milliseconds({ minutes: 5 });
const ON_LUMA = /^https:\/\/(lu\.ma|luma\.com)\//;

/** Omitted fields are unchanged; `null` clears a field. */
export type LumaConfig = { lumaCalendarUrl?: string | null; lumaApiKey?: string | null };

/**
 * Sets the page to embed and the key to mirror events with. Setting or clearing the key, even the same one again, ends a
 * sync that is running and clears the last sync's error. With a key, the queue syncs the organization now. The caller
 * must check who may do this.
 *
 * @throws ConvexError when there is no such organization, the URL isn't an https one on lu.ma or luma.com, or the key
 * is empty, can't be sent, names a variable that doesn't start with `LUMA_API_KEY`, or is a variable's name itself.
 */
export async function configureLuma(
  ctx: MutationCtx,
  orgId: OrgId,
  { lumaCalendarUrl, lumaApiKey }: LumaConfig,
): Promise<void> {
  const org = await requireOrg(ctx, orgId);
  const refuse = (problem: string) => new ConvexError(`Organization "${nameOf(org)}": ${problem}.`);
  const fields: Partial<LumaFields> = {};
  if (lumaCalendarUrl === null) fields.lumaCalendarUrl = undefined;
  else if (lumaCalendarUrl !== undefined) {
    fields.lumaCalendarUrl = toCalendarUrl(lumaCalendarUrl);
    if (fields.lumaCalendarUrl === undefined) {
      throw refuse(
        "the calendar URL must be an https URL on lu.ma or luma.com, such as " +
          "https://lu.ma/embed/calendar/cal-…/events",
      );
    }
  }
  if (lumaApiKey !== undefined) {
    const parsed = lumaApiKey === null ? null : parseLumaKey(lumaApiKey);
    if (parsed !== null && "problem" in parsed) throw refuse(parsed.problem);
    fields.lumaApiKey = lumaApiKey?.trim();
    fields.eventsSyncError = undefined;
    const isSame = fields.lumaApiKey === org.lumaApiKey;
    await stopSyncs(ctx, orgId, isSame ? {} : { calendar: undefined });
    if (lumaApiKey !== null) await makeDue(ctx, orgId, Date.now(), { isUrgent: true });
  }
  await patchOrg(ctx, orgId, fields);
  // After the key is written: the queue may take the organization at once.
  if (lumaApiKey !== undefined) await letGo(ctx, orgId);
}

/** The parser takes line breaks and spaces out of a URL; here, they are a slip. */
function toCalendarUrl(input: string): string | undefined {
  const url = /\s/.test(input.trim()) ? undefined : toHttpUrl(input);
  return url !== undefined && ON_LUMA.test(url) ? url : undefined;
}

/**
 * Has the queue sync an organization now, at most once every 5 minutes: for an app's own "sync now". It is harmless to
 * call it again. The caller must check who may do this.
 *
 * @throws ConvexError when there is no such organization, or it has no key.
 */
export async function requestSync(ctx: MutationCtx, orgId: OrgId): Promise<void> {
  const org = await requireOrg(ctx, orgId);
  if (!hasLumaKey(org)) throw new ConvexError(noKey(org));
  const { startedAt = -Infinity } = (await getSync(ctx, orgId)) ?? {};
  const at = Math.max(Date.now(), startedAt + REQUEST_PAUSE_MS);
  await makeDue(ctx, orgId, at, { isUrgent: true });
  await advanceQueue(ctx);
}

/** Times in ISO 8601, UTC. */
export const syncStatus = v.object({
  orgId,
  name: v.string(),
  /** `env:` and the variable that has the key, or that there is a stored one, or none; never the key. */
  connectedBy: v.string(),
  /** The key's calendar; `null` when it is not known (yet). */
  calendar: v.union(calendar, v.null()),
  /** When the last successful sync began. */
  lastSyncedAt: v.union(v.string(), v.null()),
  /** Why the last sync failed; `null` when it succeeded. */
  error: v.union(v.string(), v.null()),
  /** When the sync that is running began; `null` when none is. */
  syncingSince: v.union(v.string(), v.null()),
  /** When the organization is due next; `null`: not before something makes it due. */
  nextSyncAt: v.union(v.string(), v.null()),
});
export type SyncStatus = Infer<typeof syncStatus>;

/**
 * How the syncs of one organization stand, for an app's own settings page. The caller must check who may see this.
 *
 * @throws ConvexError when there is no such organization.
 */
export async function readSyncStatus(ctx: QueryCtx, orgId: OrgId): Promise<SyncStatus> {
  return await toSyncStatus(ctx, await requireOrg(ctx, orgId));
}

/** Doesn't read the queue's document, which every sync of every organization writes. */
export async function toSyncStatus(ctx: QueryCtx, org: Org): Promise<SyncStatus> {
  const sync = await getSync(ctx, org._id);
  const isRunning = sync?.running !== undefined;
  return {
    orgId: org._id,
    name: nameOf(org),
    connectedBy: describeLumaKey(org),
    calendar: sync?.calendar ?? null,
    lastSyncedAt: toIso(org.eventsLastSynced),
    error: org.eventsSyncError ?? null,
    syncingSince: toIso(isRunning ? sync.startedAt : undefined),
    nextSyncAt: toIso(isRunning ? sync.dueAgainAt : sync?.dueAt),
  };
}

function toIso(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
