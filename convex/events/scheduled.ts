/** Scheduled functions: says whether they are still to come, and cancels them. */
import type { Id } from "../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../_generated/server";

export type ScheduledId = Id<"_scheduled_functions">;

export async function isPending(ctx: QueryCtx, id: ScheduledId): Promise<boolean> {
  return (await ctx.db.system.get("_scheduled_functions", id))?.state.kind === "pending";
}

export async function cancelIfPending(ctx: MutationCtx, id?: ScheduledId): Promise<void> {
  if (id !== undefined && (await isPending(ctx, id))) await ctx.scheduler.cancel(id);
}
