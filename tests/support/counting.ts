/**
 * Counts what an engine is asked for, from outside of the code that asks: calls around the registered functions,
 * documents at the engine's system calls.
 */
import { getDocumentSize, jsonToConvex, type JSONValue, type Value } from "convex/values";
import { overrideAll, startEngine, withHandler, type Engine, type Registered } from "./engine";

export type Counts = {
  /** Calls of registered functions, by anybody: a test's own ones, too. */
  queries: number;
  mutations: number;
  actions: number;
  /** Arguments of mutations, as JSON in UTF-8. */
  mutationBytes: number;
  largestMutationBytes: number;
  mostEventsInAMutation: number;
  /** Each `db.get` and each `db.query`. */
  indexRanges: number;
  documentsRead: number;
  /** Of these documents, as Convex counts them. */
  bytesRead: number;
  eventsRead: number;
  organizationsRead: number;
  /** Inserted, patched, replaced or deleted. What a patch or a replace reads of its own is not counted as read. */
  documentsWritten: number;
  eventsWritten: number;
  organizationsWritten: number;
  /** The longest list in a function's arguments or result: Convex's arrays hold 8,192 elements. */
  longestList: number;
};

/** A call of an action, such as "events/sync:runFullEventSync", in ms since 1970. */
export type ActionCall = { name: string; startedAt: number; endedAt: number };

export type CountedEngine = {
  t: Engine;
  counts: Counts;
  /** The actions that have ended, in the order in which they did. */
  actionCalls: ActionCall[];
  /** Sets all counts to zero and forgets the calls. */
  reset: () => void;
  /** Stops counting; the engine goes on. */
  stop: () => void;
};

/**
 * An engine whose calls, reads and writes are counted, those of `t.run` included. Only one at a time: the
 * system calls are the same for all engines.
 */
export function startCountedEngine(appSchema?: unknown): CountedEngine {
  const counts = noCounts();
  const actionCalls: ActionCall[] = [];
  const t = startEngine(
    overrideAll((name, registered) => toCounted(registered, name, counts, actionCalls)),
    appSchema,
  );
  const stop = countDocuments(counts);
  const reset = () => {
    Object.assign(counts, noCounts());
    actionCalls.length = 0;
  };
  return { t, counts, actionCalls, reset, stop };
}

function noCounts(): Counts {
  return {
    queries: 0,
    mutations: 0,
    actions: 0,
    mutationBytes: 0,
    largestMutationBytes: 0,
    mostEventsInAMutation: 0,
    indexRanges: 0,
    documentsRead: 0,
    bytesRead: 0,
    eventsRead: 0,
    organizationsRead: 0,
    documentsWritten: 0,
    eventsWritten: 0,
    organizationsWritten: 0,
    longestList: 0,
  };
}

type Args = Record<string, unknown>;

/** The same function with a handler that counts before it calls the function's own. */
function toCounted(
  registered: Registered,
  name: string,
  counts: Counts,
  actionCalls: ActionCall[],
): object {
  return withHandler(registered, (handler) => async (...ctxAndArgs) => {
    measureLists(counts, ctxAndArgs[1]);
    if (registered.isQuery) counts.queries += 1;
    if (registered.isMutation) countMutation(counts, ctxAndArgs[1] as unknown as Args);
    if (!registered.isAction) {
      const result: unknown = await handler(...ctxAndArgs);
      measureLists(counts, result);
      return result;
    }
    counts.actions += 1;
    const startedAt = Date.now();
    try {
      return await handler(...ctxAndArgs);
    } finally {
      actionCalls.push({ name, startedAt, endedAt: Date.now() });
    }
  });
}

function measureLists(counts: Counts, value: unknown): void {
  if (Array.isArray(value)) counts.longestList = Math.max(counts.longestList, value.length);
  if (typeof value !== "object" || value === null) return;
  for (const inner of Object.values(value)) measureLists(counts, inner);
}

function countMutation(counts: Counts, args: Args): void {
  const bytes = new TextEncoder().encode(JSON.stringify(args)).length;
  const events = args.events ?? args.eventIds ?? args.descriptions;
  counts.mutations += 1;
  counts.mutationBytes += bytes;
  counts.largestMutationBytes = Math.max(counts.largestMutationBytes, bytes);
  counts.mostEventsInAMutation = Math.max(
    counts.mostEventsInAMutation,
    Array.isArray(events) ? events.length : 0,
  );
}

/** Where Convex's client library finds the engine, at each call anew. */
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
    syscall: (op, args) => {
      if (op === "1.0/queryStream") counts.indexRanges += 1;
      return engine.syscall(op, args);
    },
    asyncSyscall: async (op, args) => {
      const result = await engine.asyncSyscall(op, args);
      countSystemCall(counts, op, args, result);
      return result;
    },
    jsSyscall: (op, args) => engine.jsSyscall(op, args),
  };
  return () => {
    globalWithConvex.Convex = engine;
  };
}

type Stored = { _id: string; [field: string]: JSONValue } | null;

function countSystemCall(counts: Counts, op: string, args: string, result: string): void {
  switch (op) {
    case "1.0/get":
      counts.indexRanges += 1;
      countRead(counts, JSON.parse(result) as Stored);
      return;
    case "1.0/queryStreamNext":
      countRead(counts, (JSON.parse(result) as { value: Stored }).value);
      return;
    case "1.0/queryPage":
      counts.indexRanges += 1;
      for (const document of (JSON.parse(result) as { page: Stored[] }).page) {
        countRead(counts, document);
      }
      return;
    case "1.0/insert":
      countWritten(counts, (JSON.parse(result) as { _id: string })._id);
      return;
    case "1.0/shallowMerge":
    case "1.0/replace":
    case "1.0/remove":
      countWritten(counts, (JSON.parse(args) as { id: string }).id);
      return;
  }
}

function countRead(counts: Counts, document: Stored): void {
  if (document === null) return;
  const table = tableOf(document._id);
  if (isSystemTable(table)) return;
  counts.documentsRead += 1;
  counts.bytesRead += getDocumentSize(jsonToConvex(document) as Record<string, Value>);
  if (table === "events") counts.eventsRead += 1;
  if (table === "organizations") counts.organizationsRead += 1;
}

function countWritten(counts: Counts, id: string): void {
  const table = tableOf(id);
  if (isSystemTable(table)) return;
  counts.documentsWritten += 1;
  if (table === "events") counts.eventsWritten += 1;
  if (table === "organizations") counts.organizationsWritten += 1;
}

/** convex-test's ids are a number and the table's name. */
function tableOf(id: string): string {
  return id.replace(/^\d+/, "");
}

/** Such as the scheduled functions: they are Convex's own bookkeeping. */
function isSystemTable(table: string): boolean {
  return table.startsWith("_");
}
