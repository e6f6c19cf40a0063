/** An engine whose calls fail on demand: they are refused, committed without an answer, killed or stalled. */
import { getFunctionName, type FunctionReference } from "convex/server";
import { overrideAll, startEngine, withHandler, type Engine, type Registered } from "./engine";

/** A function, such as `internal.events.sync.syncOrgEvents`, or all of them. */
export type Which =
  FunctionReference<"query" | "mutation" | "action", "internal" | "public"> | "any";
/** How many of the next calls, or which ones. */
export type Times = number | (() => boolean);
/** An action stops after this many of its calls, before it gets the last one's answer. 0 is before its first line. */
type Where = { afterCalls?: number; times?: Times };

/** A call of an action, in ms since 1970; `endedAt` is NaN while it is under way. */
type ActionRun = { name: string; args: object; startedAt: number; endedAt: number };

type Watcher = (run: ActionRun, called: string, args: object) => Promise<void>;

export type FaultyEngine = {
  t: Engine;
  /** The actions, in the order in which they began. */
  runs: ActionRun[];
  /** Is told about each call by an action, once it is committed. */
  watch: (watcher: Watcher) => void;
  /** A call throws before it runs. If it was scheduled, it isn't retried, although Convex would retry a mutation. */
  refuse: (which: Which, times?: Times) => void;
  /** A call by an action commits, and then throws. */
  loseAnswer: (which: Which, times?: Times) => void;
  /** An action throws to its caller and does nothing more; none of its own code can catch this. */
  kill: (which: Which, where?: Where) => void;
  /** An action pauses until the returned function is called. */
  stall: (which: Which, where?: Where) => () => void;
};

type Kind = "refuse" | "loseAnswer" | "stop";
type Fault = { kind: Kind; name: string; times: Times } & Stop;
/** How an action stops. It goes on when `over` resolves. */
type Stop = { afterCalls: number; over: Promise<void>; isKill: boolean };

const NEVER = new Promise<never>(() => undefined);
const NO_STOP: Stop = { afterCalls: NaN, over: NEVER, isKill: false };

export function startFaultyEngine(): FaultyEngine {
  const faults: Fault[] = [];
  const runs: ActionRun[] = [];
  const add = (kind: Kind, which: Which, times: Times = 1, stop = NO_STOP) => {
    faults.push({ kind, name: which === "any" ? which : getFunctionName(which), times, ...stop });
  };
  const take = (kind: Kind, name: string): Fault | undefined => {
    const meant = faults.filter((one) => one.kind === kind && [name, "any"].includes(one.name));
    const fault = meant.find(({ times }) => (typeof times === "number" ? times > 0 : times()));
    if (typeof fault?.times === "number") fault.times -= 1;
    return fault;
  };
  let watcher: Watcher = () => Promise.resolve();
  const told: Watcher = (...call) => watcher(...call);
  const t = startEngine(
    overrideAll((name, registered) => toFaulty(name, registered, take, runs, told)),
  );
  return {
    t,
    runs,
    watch: (given) => void (watcher = given),
    refuse: (which, times) => add("refuse", which, times),
    loseAnswer: (which, times) => add("loseAnswer", which, times),
    kill: (which, { afterCalls = 0, times } = {}) =>
      add("stop", which, times, { afterCalls, over: NEVER, isKill: true }),
    stall: (which, { afterCalls = 0, times } = {}) => {
      let resume = () => undefined as void;
      const over = new Promise<void>((resolve) => (resume = resolve));
      add("stop", which, times, { afterCalls, over, isKill: false });
      return resume;
    },
  };
}

type Call = (called: Exclude<Which, "any">, args: object) => Promise<unknown>;
type ActionCtx = { runQuery: Call; runMutation: Call; runAction: Call };

function toFaulty(
  name: string,
  registered: Registered,
  take: (kind: Kind, name: string) => Fault | undefined,
  runs: ActionRun[],
  told: Watcher,
): object {
  return withHandler(registered, (original) => {
    const handler = original as (ctx: ActionCtx, args: object) => Promise<unknown>;
    return (async (ctx: ActionCtx, args: object) => {
      if (take("refuse", name)) throw new Error(`${name} was refused`);
      if (!registered.isAction) return await handler(ctx, args);

      const run = { name, args, startedAt: Date.now(), endedAt: NaN };
      runs.push(run);
      const stop = take("stop", name) ?? NO_STOP;
      let calls = 0;
      let kill = (_error: Error) => undefined as void;
      const killed = new Promise<never>((_resolve, reject) => (kill = reject));
      const passStop = async () => {
        if (calls !== stop.afterCalls) return;
        if (stop.isKill) kill(new Error(`${name} was killed`));
        await stop.over;
      };
      const watch = (call: Call): Call => {
        return async (called, args) => {
          const result = await call(called, args);
          calls += 1;
          const name = getFunctionName(called);
          await told(run, name, args);
          await passStop();
          if (take("loseAnswer", name)) throw new Error(`the answer of ${name} was lost`);
          return result;
        };
      };
      const [runQuery, runMutation] = [watch(ctx.runQuery), watch(ctx.runMutation)];
      const watched = { ...ctx, runQuery, runMutation, runAction: watch(ctx.runAction) };
      try {
        return await Promise.race([passStop().then(() => handler(watched, args)), killed]);
      } finally {
        run.endedAt = Date.now();
      }
    }) as never;
  });
}

/** Everything that was ever scheduled, in that order. */
export async function jobs(t: Engine) {
  return await t.run((ctx) => ctx.db.system.query("_scheduled_functions").collect());
}

/** Cancels a function's pending jobs, as a person can in the dashboard, and returns how many there were. */
export async function cancelJobs(t: Engine, called: Exclude<Which, "any">): Promise<number> {
  const name = getFunctionName(called);
  const all = await jobs(t);
  const meant = all.filter((job) => job.name === name && job.state.kind === "pending");
  await t.run(async (ctx) => {
    for (const { _id } of meant) await ctx.scheduler.cancel(_id);
  });
  return meant.length;
}
