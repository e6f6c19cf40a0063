/**
 * Counts what the code asks of an engine, without changing the code: calls by wrapping the registered functions, and
 * documents by wrapping the engine's system calls.
 */
import { getDocumentSize, jsonToConvex, type JSONValue, type Value } from "convex/values";
import { overrideAll, startEngine, withHandler, type Registered } from "./engine";

const NO_COUNTS = {
  /** Calls of registered functions, including those by the test. */
  queries: 0,
  mutations: 0,
  actions: 0,
  /** Arguments of mutations, as JSON in UTF-8. */
  mutationBytes: 0,
  largestMutationBytes: 0,
  mostEventsInAMutation: 0,
  documentsRead: 0,
  /** The size of these documents, as Convex measures it. */
  bytesRead: 0,
  eventsRead: 0,
  organizationsRead: 0,
  /** Inserted, patched, replaced or deleted. A patch or a replacement doesn't count as a read. */
  documentsWritten: 0,
  eventsWritten: 0,
  organizationsWritten: 0,
  /** The longest list in a function's arguments or result: Convex's arrays hold 8,192 elements. */
  longestList: 0,
};
export type Counts = typeof NO_COUNTS;

/** A call of an action, such as "events/sync:runFullEventSync", in ms since 1970. */
export type ActionCall = { name: string; startedAt: number; endedAt: number };

export type CountedEngine = ReturnType<typeof startCountedEngine>;

/**
 * An engine whose calls, reads and writes are counted until `stop`, including those in `t.run`. Use only one at a time,
 * because all engines share the system calls. `actionCalls` are the calls that have ended, in that order.
 */
export function startCountedEngine(appSchema?: unknown) {
  const counts = { ...NO_COUNTS };
  const actionCalls: ActionCall[] = [];
  const t = startEngine(
    overrideAll((name, registered) => toCounted(registered, name, counts, actionCalls)),
    appSchema,
  );
  const stop = countDocuments(counts);
  const reset = () => {
    Object.assign(counts, NO_COUNTS);
    actionCalls.length = 0;
  };
  return { t, counts, actionCalls, reset, stop };
}

/** The same function, with a handler that counts and then calls the original one. */
function toCounted(
  registered: Registered,
  name: string,
  counts: Counts,
  actionCalls: ActionCall[],
): object {
  return withHandler(registered, (handler) => async (...ctxAndArgs) => {
    const [, args] = ctxAndArgs as unknown as [ctx: object, Record<string, unknown>];
    const startedAt = Date.now();
    measureLists(counts, args);
    if (registered.isQuery) counts.queries += 1;
    if (registered.isMutation) countMutation(counts, args);
    if (registered.isAction) counts.actions += 1;
    try {
      const result: unknown = await handler(...ctxAndArgs);
      measureLists(counts, result);
      return result;
    } finally {
      if (registered.isAction) actionCalls.push({ name, startedAt, endedAt: Date.now() });
    }
  });
}

function measureLists(counts: Counts, value: unknown): void {
  if (Array.isArray(value)) counts.longestList = Math.max(counts.longestList, value.length);
  if (typeof value !== "object" || value === null) return;
  for (const inner of Object.values(value)) measureLists(counts, inner);
}

function countMutation(counts: Counts, args: Record<string, unknown>): void {
  const bytes = new TextEncoder().encode(JSON.stringify(args)).length;
  const events = args.events ?? args.eventIds ?? args.descriptions;
  const eventCount = Array.isArray(events) ? events.length : 0;
  counts.mutations += 1;
  counts.mutationBytes += bytes;
  counts.largestMutationBytes = Math.max(counts.largestMutationBytes, bytes);
  counts.mostEventsInAMutation = Math.max(counts.mostEventsInAMutation, eventCount);
}

/** Convex's client library looks the engine up here at each call. */
type SystemCalls = {
  syscall: (op: string, args: string) => string;
  asyncSyscall: (op: string, args: string) => Promise<string>;
  jsSyscall: (op: string, args: Record<string, unknown>) => unknown;
};
const globalWithConvex = globalThis as unknown as { Convex: SystemCalls };

/** Counts until the function that it returns is called. */
function countDocuments(counts: Counts): () => void {
  const engine = globalWithConvex.Convex;
  globalWithConvex.Convex = {
    syscall: (op, args) => engine.syscall(op, args),
    asyncSyscall: async (op, args) => {
      const result = await engine.asyncSyscall(op, args);
      for (const document of documentsRead(op, result)) countRead(counts, document);
      const written = idWritten(op, args, result);
      if (written !== undefined) countWritten(counts, written);
      return result;
    },
    jsSyscall: (op, args) => engine.jsSyscall(op, args),
  };
  return () => {
    globalWithConvex.Convex = engine;
  };
}

type Stored = { _id: string; [field: string]: JSONValue } | null;

function documentsRead(op: string, result: string): Stored[] {
  if (op === "1.0/get") return [JSON.parse(result) as Stored];
  if (op === "1.0/queryStreamNext") return [(JSON.parse(result) as { value: Stored }).value];
  if (op === "1.0/queryPage") return (JSON.parse(result) as { page: Stored[] }).page;
  return [];
}

function idWritten(op: string, args: string, result: string): string | undefined {
  if (op === "1.0/insert") return (JSON.parse(result) as { _id: string })._id;
  const isWrite = ["1.0/shallowMerge", "1.0/replace", "1.0/remove"].includes(op);
  return isWrite ? (JSON.parse(args) as { id: string }).id : undefined;
}

function countRead(counts: Counts, document: Stored): void {
  const table = tableOf(document?._id);
  if (document === null || table === undefined) return;
  counts.documentsRead += 1;
  counts.bytesRead += getDocumentSize(jsonToConvex(document) as Record<string, Value>);
  if (table === "events") counts.eventsRead += 1;
  if (table === "organizations") counts.organizationsRead += 1;
}

function countWritten(counts: Counts, id: string): void {
  const table = tableOf(id);
  if (table === undefined) return;
  counts.documentsWritten += 1;
  if (table === "events") counts.eventsWritten += 1;
  if (table === "organizations") counts.organizationsWritten += 1;
}

/** convex-test's ids are a number and a table's name, which begins with `_` if the table is Convex's own. */
function tableOf(id = ""): string | undefined {
  return /^\d+([^_\d].*)/.exec(id)?.[1];
}
