/** For the deployment's administrators. */
import { v } from "convex/values";
import { internalMutation } from "../_generated/server";
import { lumaConfig } from "../events/luma/config";
import { orgId } from "../events/organizations";
import { applyConfig } from "../events/settings";

/**
 * Connects an organization to its lu.ma calendar, or disconnects it; see `configureLuma`. Omitted fields are unchanged,
 * and `null` clears a field. Clearing the key keeps the mirrored events. Unlike `configureLuma`, this accepts
 * `env:LUMA_API_KEY…` and `env:LUMA_WEBHOOK_SECRET…`, which name environment variables of the deployment.
 *
 * @throws ConvexError as `configureLuma` does.
 */
export const setLumaConfig = internalMutation({
  args: { orgId, ...lumaConfig.fields },
  returns: v.null(),
  handler: async (ctx, { orgId, ...config }) => {
    await applyConfig(ctx, orgId, config, true);
    return null;
  },
});
