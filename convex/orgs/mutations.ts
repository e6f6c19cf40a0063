/** Connects an organization to its lu.ma calendar, for administrators. */
import { v } from "convex/values";
import { internalMutation } from "../_generated/server";
import { orgId } from "./app";
import { configureLuma } from "./lumaConfig";

/**
 * Connects an organization to its lu.ma calendar, or disconnects it; see `configureLuma`. What is left out stays as it
 * is; `null` clears. Mirrored events stay when the key goes.
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
