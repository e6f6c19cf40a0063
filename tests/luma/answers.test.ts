import { expect } from "vitest";
import { getAddresses } from "../../convex/events/luma/addresses";
import { PATIENT } from "../../convex/events/luma/request";
import { fetchEvent, fetchLumaEvents } from "../../convex/events/lumaClient";
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
  const request = { key: KEY, address, deadline: Infinity, patience: PATIENT };
  return await settle(fetchEvent(request, id), luma.activity);
}

test("A guests-only event in the recorded format is mirrored with only its city", async ({
  luma,
}) => {
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

test("A recorded last page ends the list, although it has a cursor", async ({ luma }) => {
  expect(await mirror(luma, cursorOnLastPage)).toMatchObject([
    { title: "Londrisoft Camp 2026", status: "listed", location: undefined },
  ]);
});

test("A documented event that is managed elsewhere is unlisted", async ({ luma }) => {
  const statuses = (await mirror(luma, managedElsewhere)).map((event) => event.status);
  expect(statuses).toEqual(["unlisted", "unlisted"]);
});

test("A recorded list in the older format is mirrored without descriptions", async ({ luma }) => {
  const events = await mirror(luma, older);
  const [lumaEventId, title] = ["evt-7AfHSGOBmoz4iLO", "🦄 ai that works: Memory from scratch"];
  expect(events).toMatchObject([{ lumaEventId, title, isVirtual: true, status: "listed" }]);
  expect(JSON.stringify(events)).not.toMatch(/description|zoom\.us/);
});

test("A recorded private event in the older format is unlisted, with its city", async ({
  luma,
}) => {
  expect(await mirror(luma, older2)).toMatchObject([
    { title: "In person", status: "unlisted", location: "San Francisco, California" },
  ]);
});

test("A documented answer for one event has its description, in both formats", async ({ luma }) => {
  const today = await readOne(luma, currentEvent, "evt-ZWviVlhfy5Wstc9");
  const description = "An **evening** for founders.\n\nBring a friend.";
  expect(today).toMatchObject({ description });
  const before = await readOne(luma, olderEvent, "evt-7AfHSGOBmoz4iLO");
  expect(JSON.stringify(before)).toContain('"description":"🦄 ai that works\\n\\n> A weekly');
});
