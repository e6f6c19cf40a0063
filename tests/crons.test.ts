import { expect, test } from "vitest";
import crons from "../convex/crons";

test("The full sync runs every day at 07:00 UTC, and nothing else runs by itself", () => {
  expect(crons.crons).toEqual({
    "sync-luma-events": {
      name: "events/sync:runFullEventSync",
      args: [{}],
      schedule: { type: "daily", hourUTC: 7, minuteUTC: 0 },
    },
  });
});
