/** Creating an organization and connecting it to its lu.ma calendar, for administrators. */
import { ConvexError, v } from "convex/values";
import type { Doc, Id } from "../_generated/dataModel";
import { internalMutation, type MutationCtx } from "../_generated/server";
import { ENV_KEYS_BEFORE, ENV_KEYS_FROM, parseLumaKey, resolveLumaKey } from "./lumaKey";

const CALENDAR_HOSTS = ["lu.ma", "luma.com"];
const MAX_URL_UNITS = 2_000;
/** More environment variables than a Convex deployment can have. */
const MAX_ENV_KEYS = 2_000;

/**
 * Creates an organization, not yet connected to lu.ma, and returns its id.
 *
 * @throws ConvexError when the name is empty, or the slug is empty or taken.
 */
export const createOrg = internalMutation({
  args: { name: v.string(), slug: v.optional(v.string()), logoUrl: v.optional(v.string()) },
  returns: v.id("organizations"),
  handler: async (ctx, { name, slug, logoUrl }) => {
    if (name.trim() === "") throw new ConvexError("An organization needs a name.");
    if (slug !== undefined) {
      if (slug.trim() === "")
        throw new ConvexError("The slug is empty: give one, or leave it out.");
      const taken = await ctx.db
        .query("organizations")
        .withIndex("by_slug", (q) => q.eq("slug", slug.trim()))
        .first();
      if (taken !== null) {
        throw new ConvexError(
          `The slug "${slug.trim()}" is taken by the organization "${taken.name}": choose another.`,
        );
      }
    }
    return await ctx.db.insert("organizations", {
      name: name.trim(),
      slug: slug?.trim(),
      logoUrl,
    });
  },
});

/**
 * Connects an organization to its lu.ma calendar: the public page to embed, and the key to mirror its events
 * with. What is left out stays as it is; `null` clears. Events that were mirrored stay when the key goes.
 *
 * @throws ConvexError when there is no such organization, the URL is not an https one on lu.ma or luma.com, the key
 * is empty or names another variable than `LUMA_API_KEY…`, or another organization has the same key.
 */
export const setLumaConfig = internalMutation({
  args: {
    orgId: v.id("organizations"),
    lumaCalendarUrl: v.optional(v.union(v.string(), v.null())),
    lumaApiKey: v.optional(v.union(v.string(), v.null())),
  },
  returns: v.null(),
  handler: async (ctx, { orgId, lumaCalendarUrl, lumaApiKey }) => {
    const org = await ctx.db.get("organizations", orgId);
    if (org === null) {
      throw new ConvexError(`There is no organization with the id ${orgId}: check the id.`);
    }
    const changes: Partial<Doc<"organizations">> = {};
    if (lumaCalendarUrl !== undefined) {
      changes.lumaCalendarUrl = toCalendarUrl(lumaCalendarUrl, org);
    }
    if (lumaApiKey !== undefined) {
      changes.lumaApiKey = await toKeyField(ctx, lumaApiKey, org);
      // Nothing would ever clear it: the organization is not synced any more.
      if (lumaApiKey === null) changes.eventsSyncError = undefined;
    }
    await ctx.db.patch("organizations", orgId, changes);
    return null;
  },
});

function toCalendarUrl(input: string | null, org: Doc<"organizations">): string | undefined {
  if (input === null) return undefined;
  const url = input.trim();
  if (url.length > MAX_URL_UNITS || !isCalendarUrl(url)) {
    throw new ConvexError(
      `Organization "${org.name}": the calendar URL must be an https URL on lu.ma or luma.com, such as ` +
        "https://lu.ma/your-calendar.",
    );
  }
  return url;
}

function isCalendarUrl(text: string): boolean {
  try {
    const url = new URL(text);
    return (
      text.isWellFormed() &&
      // The URL parser drops line breaks; what is stored and embedded must be what was checked.
      !/\s/.test(text) &&
      url.protocol === "https:" &&
      CALENDAR_HOSTS.includes(url.host) &&
      url.username === "" &&
      url.password === ""
    );
  } catch {
    return false;
  }
}

async function toKeyField(
  ctx: MutationCtx,
  input: string | null,
  org: Doc<"organizations">,
): Promise<string | undefined> {
  if (input === null) return undefined;
  const parsed = parseLumaKey(input);
  if ("problem" in parsed) throw new ConvexError(`Organization "${org.name}": ${parsed.problem}.`);
  const other = await findOtherWithSameKey(ctx, parsed.field, org._id);
  if (other !== null) {
    throw new ConvexError(
      `Organization "${org.name}": the organization "${other.name}" already has this lu.ma API key. A key is ` +
        "one calendar, and two organizations would take each other's events: use the key of this " +
        `organization's own calendar, or disconnect "${other.name}" first.`,
    );
  }
  return parsed.field;
}

/** `env:NAME` and the key it stands for are the same key. */
async function findOtherWithSameKey(
  ctx: MutationCtx,
  field: string,
  orgId: Id<"organizations">,
): Promise<Doc<"organizations"> | null> {
  const apiKey = toComparable(field);
  for (const spelling of new Set([field, apiKey])) {
    const holders = await ctx.db
      .query("organizations")
      .withIndex("by_luma_api_key", (q) => q.eq("lumaApiKey", spelling))
      .take(2);
    const other = holders.find((holder) => holder._id !== orgId);
    if (other !== undefined) return other;
  }
  const withVariable = await ctx.db
    .query("organizations")
    .withIndex("by_luma_api_key", (q) =>
      q.gte("lumaApiKey", ENV_KEYS_FROM).lt("lumaApiKey", ENV_KEYS_BEFORE),
    )
    .take(MAX_ENV_KEYS);
  return (
    withVariable.find(
      (holder) =>
        holder._id !== orgId &&
        holder.lumaApiKey !== undefined &&
        toComparable(holder.lumaApiKey) === apiKey,
    ) ?? null
  );
}

/** The key that a field stands for; a variable that is not set yet stands for itself. */
function toComparable(field: string): string {
  const resolved = resolveLumaKey(field);
  return "apiKey" in resolved ? resolved.apiKey : field;
}
