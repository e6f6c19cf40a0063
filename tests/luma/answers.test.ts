import { describe, expect, test } from "vitest";
import { toMirroredEvent } from "../../convex/events/luma/mapping";
import { lumaPage, readDescription, readEntry } from "../../convex/events/luma/wire";
import type { MirroredEvent } from "../../convex/events/validators";
import cursorOnLastPage from "../answers/current-cursor-on-last-page.json";
import managedElsewhere from "../answers/current-managed-elsewhere.json";
import current from "../answers/current.json";
import currentEvent from "../answers/event-get.current.json";
import olderEvent from "../answers/event-get.older.json";
import older2 from "../answers/older-2.json";
import older from "../answers/older.json";

/** The events of a listing, as a sync would store them. */
function mirror({ body }: { body: unknown }): MirroredEvent[] {
  return lumaPage.parse(body).entries.map((entry) => {
    const read = readEntry(entry);
    if ("invalid" in read) throw new Error(read.invalid.reason);
    return toMirroredEvent(read.event);
  });
}

describe("what lu.ma answers", () => {
  test("today is mirrored, the place of a guests-only event by its city", () => {
    expect(mirror(current)).toEqual([
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

  test("with a cursor on the last page is the last page all the same", () => {
    expect(lumaPage.parse(cursorOnLastPage.body).has_more).toBe(false);
    expect(mirror(cursorOnLastPage)).toMatchObject([
      { title: "Londrisoft Camp 2026", status: "listed", location: undefined },
    ]);
  });

  test("about events that are managed elsewhere is never listed", () => {
    expect(mirror(managedElsewhere).map(({ status }) => status)).toEqual(["unlisted", "unlisted"]);
  });

  test("in the older format is mirrored, with its descriptions left for later", () => {
    const [event, ...more] = mirror(older);
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

  test("in the older format about a private event is not listed, its place the city at most", () => {
    expect(mirror(older2)).toMatchObject([
      { title: "In person", status: "unlisted", location: "San Francisco, California" },
    ]);
  });

  test("for one event holds its description, in both formats", () => {
    expect(readDescription(currentEvent.body)).toBe("An evening for founders.\n\nBring a friend.");
    expect(readDescription(olderEvent.body)).toContain("We've all heard a lot about memory");
  });
});
