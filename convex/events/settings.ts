/**
 * What an app sets and calls: the module's settings, the public functions of an organization's settings page, and their
 * building blocks, for an app that wants its own.
 */
import { milliseconds } from "date-fns";
import { ConvexError, v, type Infer } from "convex/values";
import { mutation, query, type MutationCtx, type QueryCtx } from "../_generated/server";
import { isOrgAdmin } from "../lumaApp";
import { checkConfig, lumaConfig, type LumaConfig } from "./luma/config";
import { describeLumaKey, hasKeyInField, hasLumaKey, STORED, toShownField } from "./luma/key";
import { deleteSecrets, getSecrets, getWebhookSecret, setSecrets } from "./luma/secrets";
import { getOrg, nameOf, noKey, orgId, patchOrg, requireOrg } from "./organizations";
import type { Org, OrgId } from "./organizations";
import { getSync, makeDue, stopSyncs, writeSync } from "./queue/syncs";
import { advanceQueue, release } from "./queue/worker";
import { getVariable } from "./runtime";
import { calendar } from "./tables";

/** Each setting overrides one of the module's constants. The comments give the defaults. */
export type LumaSettings = {
  /** How far back the mirror reaches: 30 days. */
  windowBackDays?: number;
  /** How far ahead the mirror reaches: 90 days. */
  windowAheadDays?: number;
  /** When a transient failure is retried, in hours after the organization became due: [0.5, 1.5, 3.5, 7.5, 15.5]. */
  retryAfterHours?: number[];
  /** How many events a sync may fetch one by one: 100. */
  singleRequests?: number;
  /** How many upcoming events a list shows: 50. */
  maxUpcoming?: number;
  /** How many past events a page shows: 20. */
  maxPast?: number;
};

async function requireOrgAdmin(ctx: QueryCtx, orgId: OrgId): Promise<void> {
  if (!(await isOrgAdmin(ctx, orgId))) throw new ConvexError("Not allowed.");
}

/**
 * Connects an organization's calendar; see `configureLuma`. For the organization's own admins.
 *
 * @throws ConvexError `Not allowed.` for anybody else, and as `configureLuma` does.
 */
export const connectCalendar = mutation({
  args: { orgId, ...lumaConfig.fields },
  returns: v.null(),
  handler: async (ctx, { orgId, ...config }) => {
    await requireOrgAdmin(ctx, orgId);
    await configureLuma(ctx, orgId, config);
    return null;
  },
});

/**
 * Queues a sync of an organization, for its own admins. It begins as soon as possible, but at the earliest 5 minutes
 * after the last one began.
 *
 * @throws ConvexError `Not allowed.` for anybody else, and as `requestSync` does.
 */
export const syncNow = mutation({
  args: { orgId },
  returns: v.null(),
  handler: async (ctx, { orgId }) => {
    await requireOrgAdmin(ctx, orgId);
    await requestSync(ctx, orgId);
    return null;
  },
});

/** Times in ISO 8601, UTC. */
export const syncStatus = v.object({
  orgId,
  name: v.string(),
  /** `env:NAME`, `a stored key` or `no key`; never the key. */
  connectedBy: v.string(),
  /** The calendar that the key belongs to; `null` until a sync has found out. */
  calendar: v.union(calendar, v.null()),
  /** When the last successful sync began. */
  lastSyncedAt: v.union(v.string(), v.null()),
  /** Why the last sync failed, or what it could not check; `null` if there is nothing to report. */
  error: v.union(v.string(), v.null()),
  /** When the sync that is running began; `null` if none is. */
  syncingSince: v.union(v.string(), v.null()),
  /** When the organization is due next; `null` until something makes it due. */
  nextSyncAt: v.union(v.string(), v.null()),
  /** `off`, `no call yet`, when lu.ma's last valid webhook call came, or why calls can't be checked. */
  liveUpdates: v.string(),
  /** The URL to enter when you create the calendar's webhook on lu.ma. */
  webhookUrl: v.string(),
});
export type SyncStatus = Infer<typeof syncStatus>;

/** An organization's sync status, for its own admins; `null` for anybody else, or if the organization was deleted. */
export const getStatus = query({
  args: { orgId },
  returns: v.union(syncStatus, v.null()),
  handler: async (ctx, { orgId }) => {
    const org = (await isOrgAdmin(ctx, orgId)) ? await getOrg(ctx, orgId) : null;
    return org && (await toSyncStatus(ctx, org));
  },
});

/**
 * Sets the page to embed, the API key, and the secret of the calendar's webhook. Setting or clearing the key, even to
 * the same value, ends a running sync and clears the last error. Setting it also queues an urgent sync. Clearing it
 * clears the webhook's secret, too. The caller must check who may do this.
 *
 * @throws ConvexError if there is no such organization, or a value is invalid. `env:` is refused, because whoever can
 * name a variable can use another organization's key; only the internal `setLumaConfig` accepts it.
 */
export async function configureLuma(ctx: MutationCtx, orgId: OrgId, config: LumaConfig) {
  await applyConfig(ctx, orgId, config, false);
}

/** Like `configureLuma`, but accepts `env:` if the caller may use the deployment's variables. */
export async function applyConfig(
  ctx: MutationCtx,
  orgId: OrgId,
  config: LumaConfig,
  mayUseVariables: boolean,
): Promise<void> {
  const org = await requireOrg(ctx, orgId);
  const checked = checkConfig(config, nameOf(org), mayUseVariables);
  const { lumaCalendarUrl: url, lumaApiKey: key, lumaWebhookSecret: secret } = checked;
  if (url !== undefined) await patchOrg(ctx, orgId, { lumaCalendarUrl: url ?? undefined });
  if (key !== undefined) await setKey(ctx, org, key ?? undefined);
  if (secret !== undefined) await setWebhookSecret(ctx, orgId, secret ?? undefined);
}

async function setKey(ctx: MutationCtx, org: Org, key: string | undefined): Promise<void> {
  const { apiKey } = await getSecrets(ctx, org._id);
  // A key that was written into the field by hand has not been used yet.
  const field = toShownField(org)?.trim();
  const isSame = key !== undefined && key === (field === STORED ? apiKey : field);
  await stopSyncs(ctx, org._id, isSame ? {} : { calendar: undefined });
  const isText = hasKeyInField({ lumaApiKey: key });
  if (key === undefined) await deleteSecrets(ctx, org._id);
  else await setSecrets(ctx, org._id, { apiKey: isText ? key : undefined });
  await patchOrg(ctx, org._id, {
    lumaApiKey: isText ? STORED : key,
    eventsSyncError: undefined,
  });
  if (key !== undefined) await makeDue(ctx, org._id, Date.now(), { isUrgent: true });
  await release(ctx, org._id);
}

async function setWebhookSecret(ctx: MutationCtx, orgId: OrgId, secret: string | undefined) {
  const { webhookSecret } = await getSecrets(ctx, orgId);
  if (webhookSecret === secret) return;
  await setSecrets(ctx, orgId, { webhookSecret: secret });
  await writeSync(ctx, orgId, await getSync(ctx, orgId), { webhookCalledAt: undefined });
}

/** From the start of a sync to a requested one. Without it, a button could use up a key's 200 requests a minute. */
const REQUEST_PAUSE_MS = milliseconds({ minutes: 5 });

/**
 * Queues a sync of an organization, for an app's own "sync now". It begins as soon as possible, but at the earliest 5
 * minutes after the last one began. Calling this again is harmless. The caller must check who may do this.
 *
 * @throws ConvexError if there is no such organization, or it has no key.
 */
export async function requestSync(ctx: MutationCtx, orgId: OrgId): Promise<void> {
  const org = await requireOrg(ctx, orgId);
  if (!hasLumaKey(org)) throw new ConvexError(noKey(org));
  await requestSyncAt(ctx, orgId, Date.now(), { isUrgent: true });
}

/** Like `requestSync`, for an organization that has a key, and no earlier than `at` (ms). */
export async function requestSyncAt(
  ctx: MutationCtx,
  orgId: OrgId,
  at: number,
  { isUrgent = false } = {},
): Promise<void> {
  const { startedAt = -Infinity } = (await getSync(ctx, orgId)) ?? {};
  await makeDue(ctx, orgId, Math.max(at, startedAt + REQUEST_PAUSE_MS), { isUrgent });
  await advanceQueue(ctx);
}

/**
 * An organization's sync status, for an app's own settings page. The caller must check who may see this.
 *
 * @throws ConvexError if there is no such organization.
 */
export async function readSyncStatus(ctx: QueryCtx, orgId: OrgId): Promise<SyncStatus> {
  return await toSyncStatus(ctx, await requireOrg(ctx, orgId));
}

/** Doesn't read the queue's document: every sync of any organization writes that, and would re-run this. */
export async function toSyncStatus(ctx: QueryCtx, org: Org): Promise<SyncStatus> {
  const sync = await getSync(ctx, org._id);
  const isRunning = sync?.running !== undefined;
  const secret = hasLumaKey(org) ? await getWebhookSecret(ctx, org._id) : undefined;
  const calledAt = toIso(sync?.webhookCalledAt) ?? "no call yet";
  return {
    orgId: org._id,
    name: nameOf(org),
    connectedBy: describeLumaKey(org),
    calendar: sync?.calendar ?? null,
    lastSyncedAt: toIso(org.eventsLastSynced),
    error: org.eventsSyncError ?? null,
    syncingSince: toIso(isRunning ? sync.startedAt : undefined),
    nextSyncAt: toIso(isRunning ? sync.dueAgainAt : sync?.dueAt),
    liveUpdates: secret === undefined ? "off" : "problem" in secret ? secret.problem : calledAt,
    webhookUrl: `${getVariable("CONVEX_SITE_URL") ?? ""}/luma/${org._id}`,
  };
}

function toIso(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
