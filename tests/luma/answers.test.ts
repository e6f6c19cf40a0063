import { describe, expect } from "vitest";
import { getAddresses } from "../../convex/events/luma/addresses";
import { EventReader, fetchLumaEvents } from "../../convex/events/lumaClient";
import type { MirroredEvent } from "../../convex/events/validators";
import cursorOnLastPage from "../answers/current-cursor-on-last-page.json";
import managedElsewhere from "../answers/current-managed-elsewhere.json";
import current from "../answers/current.json";
import currentEvent from "../answers/event-get.current.json";
import olderEvent from "../answers/event-get.older.json";
import older2 from "../answers/older-2.json";
import older from "../answers/older.json";
import { settle } from "../support/clock";
import { test } from "../support/fixtures";
import { status, type LumaServer } from "../support/lumaServer";

const ANY_TIME = { after: 0, before: Date.UTC(2030, 0, 1), deadline: Infinity };
const KEY = { apiKey: "key-1", source: "a test", howToSet: "a test" };

/** The events of a listing, as a sync would store them. */
async function mirror(luma: LumaServer, { body }: { body: unknown }): Promise<MirroredEvent[]> {
  luma.answerNext(status(200, body));
  const fetching = fetchLumaEvents({ key: KEY, ...ANY_TIME });
  const { listed, invalid } = await settle(fetching, luma.activity);
  expect(invalid).toEqual([]);
  expect(luma.requests).toHaveLength(1);
  return [...listed.values()];
}

async function readOne(luma: LumaServer, { body }: { body: unknown }, id: string) {
  const [address] = getAddresses();
  if (address === undefined) throw new Error("there is no address");
  luma.answerNext(status(200, body));
  const reader = new EventReader({ key: KEY, address, deadline: Infinity });
  return await settle(reader.fetchEvent(id, "check"), luma.activity);
}

describe("what lu.ma answers", () => {
  test("today is mirrored, the place of a guests-only event by its city", async ({ luma }) => {
    expect(await mirror(luma, current)).toEqual([
      {
        lumaEventId: "evt-ZWviVlhfy5Wstc9",
        title: "Hot Shot Investor Dinner ATX",
        startAt: Date.UTC(2026, 8, 17, 23),
        endAt: Date.UTC(2026, 8, 18, 2),
        timezone: "America/Chicago",
        coverUrl: "https://images.lumacdn.com/uploads/example.png",
        url: "https://lu.ma/example",
        location: "Austin",
        isVirtual: false,
        status: "listed",
      },
    ]);
  });

  test("with a cursor on the last page is the last page all the same", async ({ luma }) => {
    expect(await mirror(luma, cursorOnLastPage)).toMatchObject([
      { title: "Londrisoft Camp 2026", status: "listed", location: undefined },
    ]);
  });

  test("about events that are managed elsewhere is never listed", async ({ luma }) => {
    const statuses = (await mirror(luma, managedElsewhere)).map((event) => event.status);
    expect(statuses).toEqual(["unlisted", "unlisted"]);
  });

  test("in the older format is mirrored, with its descriptions left for later", async ({
    luma,
  }) => {
    const [event, ...more] = await mirror(luma, older);
    expect(more).toEqual([]);
    expect(event).toMatchObject({
      lumaEventId: "evt-7AfHSGOBmoz4iLO",
      title: "🦄 ai that works: Memory from scratch",
      isVirtual: true,
      status: "listed",
    });
    expect(event).not.toHaveProperty("description");
    expect(JSON.stringify(event)).not.toContain("zoom.us");
  });

  test("in the older format about a private event is not listed, its place the city at most", async ({
    luma,
  }) => {
    expect(await mirror(luma, older2)).toMatchObject([
      { title: "In person", status: "unlisted", location: "San Francisco, California" },
    ]);
  });

  test("for one event holds its description, in both formats", async ({ luma }) => {
    expect(await readOne(luma, currentEvent, "evt-ZWviVlhfy5Wstc9")).toMatchObject({
      description: "An **evening** for founders.\n\nBring a friend.",
    });
    expect(await readOne(luma, olderEvent, "evt-7AfHSGOBmoz4iLO")).toMatchObject({
      description: expect.stringContaining("> A weekly conversation") as string,
    });
  });
});
