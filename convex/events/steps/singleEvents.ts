/** Fetches events one by one: how many in a sync, how fast, and when to stop. */
import { settings } from "../../lumaApp";
import { SyncError } from "../failure";
import type { LumaKey } from "../luma/key";
import type { LumaAddress } from "../luma/addresses";
import { ONCE, pause, PATIENT } from "../luma/request";
import { fetchEvent, type EventAnswer } from "../lumaClient";

/** The most events that a sync fetches one by one. All users of a key share its 200 requests a minute. */
export const MAX_ASKED_FOR = settings.singleRequests ?? 100;
/** From the start of one request to the start of the next: 200 a minute. */
const PAUSE_MS = 300;
/** A single event may fail for its own reasons. Two in a row mean that lu.ma is in trouble. */
const MAX_FAILURES_IN_A_ROW = 2;

type Source = { key: LumaKey; address: LumaAddress; deadline: number };

export class SingleEvents {
  /** Why it has stopped; absent while it hasn't. */
  end: "allowance" | "time" | "failures" | undefined;
  lastFailure: SyncError | undefined;
  private askedFor = 0;
  private failuresInARow = 0;
  private lastAskedAt = -Infinity;
  private readonly source: Source;

  /** @param source `deadline` is when to stop, ms since 1970. */
  constructor(source: Source) {
    this.source = source;
  }

  /**
   * Fetches an event: with retries to check whether it's gone, and without for a description, which can wait until the
   * next sync. Never throws a SyncError.
   */
  async ask(
    lumaEventId: string,
    what: "check" | "description",
  ): Promise<EventAnswer | "failed" | "not asked"> {
    if (this.askedFor >= MAX_ASKED_FOR) this.end ??= "allowance";
    if (this.end !== undefined) return "not asked";
    const patience = what === "check" ? PATIENT : ONCE;
    try {
      const waitMs = Math.max(0, this.lastAskedAt + PAUSE_MS - Date.now());
      await pause(waitMs, this.source.deadline);
      this.askedFor += 1;
      this.lastAskedAt = Date.now();
      const answer = await fetchEvent({ ...this.source, patience }, lumaEventId);
      if (answer !== "nothing") this.failuresInARow = 0;
      return answer;
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      if (error.causes.includes("tooSlow")) {
        this.end = "time";
        return "not asked";
      }
      this.lastFailure = error;
      this.failuresInARow += 1;
      const isLimited = error.causes.includes("rateLimited");
      if (isLimited || this.failuresInARow === MAX_FAILURES_IN_A_ROW) this.end = "failures";
      return "failed";
    }
  }

  describe(): string {
    const what = `Single events requested: ${this.askedFor}`;
    if (this.lastFailure === undefined) return `${what}.`;
    const result = this.end === "failures" ? "gave up after a failure" : "last failure";
    return `${what}; ${result}: ${this.lastFailure.message}.`;
  }
}
