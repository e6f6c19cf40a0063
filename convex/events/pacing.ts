/** How a sync and a run call Convex: what it refuses is tried again, and what is written is written slowly. */
import { ConvexError } from "convex/values";
import { internal } from "../_generated/api";
import type { ActionCtx } from "../_generated/server";
import type { Org, OrgId } from "../orgs/app";

/** Conflicts, overloads and a spent write budget pass within seconds. */
const REPEAT_AFTER_MS = [1_000, 3_000];
/** A free deployment may write 4 MiB a second, for all of the app: the mirror takes a quarter of it. */
const WRITE_BYTES_PER_SECOND = 1024 * 1024;
/** So that no second sees much more than 2 MiB: a batch just before it, and one in it. */
export const MAX_WRITE_BYTES = WRITE_BYTES_PER_SECOND;

/**
 * Calls a query or a mutation, and again after 1 and 3 s if it fails with an error that is not the module's own. All that
 * are called so are safe to repeat.
 */
export async function repeated<Result>(call: () => Promise<Result>): Promise<Result> {
  for (const waitMs of REPEAT_AFTER_MS) {
    try {
      return await call();
    } catch (error) {
      if (error instanceof ConvexError) throw error;
      await sleep(waitMs);
    }
  }
  return await call();
}

/** Writes, then pauses for as long as so many bytes of documents may take. */
export async function writeSlowly<Result>(
  bytes: number,
  write: () => Promise<Result>,
): Promise<Result> {
  const result = await repeated(write);
  await sleep(Math.ceil((bytes / WRITE_BYTES_PER_SECOND) * 1_000));
  return result;
}

export async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

export type Begun = { syncNumber: number; name: string };

/** @throws ConvexError as `beginSync` does. */
export async function begin(ctx: ActionCtx, orgId: OrgId): Promise<Begun> {
  return await repeated(() => ctx.runMutation(internal.events.turns.beginSync, { orgId }));
}

export async function lookUp(ctx: ActionCtx, orgId: OrgId): Promise<Org | null> {
  return await repeated(() => ctx.runQuery(internal.orgs.queries.getById, { orgId }));
}
