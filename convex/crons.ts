/** The app's cron jobs: the full sync, every day at 07:00 UTC. */
import { cronJobs } from "convex/server";
import { internal } from "./_generated/api";

const crons = cronJobs();

crons.daily(
  "sync-luma-events",
  { hourUTC: 7, minuteUTC: 0 },
  internal.events.sync.runFullEventSync,
  {},
);

export default crons;
