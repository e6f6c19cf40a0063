/** Connects an organization to its lu.ma calendar, for administrators. */
import { v } from "convex/values";
import { internalMutation } from "../_generated/server";
import { orgId } from "../events/organizations";
import { configureLuma } from "../events/settings";

/**
 * Connects an organization to its lu.ma calendar, or disconnects it; see `configureLuma`. Omitted fields are unchanged;
 * `null` clears a field. Mirrored events stay when the key goes.
 *
 * @throws ConvexError as `configureLuma` does.
 */
export const setLumaConfig = internalMutation({
  args: {
    orgId,
    lumaCalendarUrl: v.optional(v.union(v.string(), v.null())),
    lumaApiKey: v.optional(v.union(v.string(), v.null())),
  },
  returns: v.null(),
  handler: async (ctx, { orgId, ...config }) => {
    await configureLuma(ctx, orgId, config);
    return null;
  },
});
