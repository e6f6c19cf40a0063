import { describe, expect, test } from "vitest";
import { isSaidToBeHidden, toDescription, toMirroredEvent } from "../../convex/events/luma/mapping";
import { readEntry } from "../../convex/events/luma/wire";
import type { MirroredEvent } from "../../convex/events/validators";
import { aWireEvent } from "../support/builders";
import type { WireEvent } from "../support/lumaServer";

/** From lu.ma's entry to the stored fields, as a sync does it. */
function mirror(overrides: Partial<WireEvent>): MirroredEvent {
  return mirrorEntry(aWireEvent(overrides));
}

function mirrorEntry(entry: unknown): MirroredEvent {
  const read = readEntry(entry);
  if ("reason" in read) throw new Error(read.reason);
  return toMirroredEvent(read.event, read.audiences);
}

const GUESTS_ONLY = { location_visibility: "guests-only" };
const PUBLIC = { visibility: "public" };
const EMOJI = "🎉";

describe("an event", () => {
  test("of the current format arrives with every field", () => {
    const entry = aWireEvent({
      id: "evt-9",
      name: "Summer party",
      start_at: "2026-09-05T18:00:00.000Z",
      end_at: "2026-09-05T22:30:00.000Z",
    });
    expect(mirrorEntry(entry)).toEqual({
      lumaEventId: "evt-9",
      title: "Summer party",
      startAt: Date.UTC(2026, 8, 5, 18),
      endAt: Date.UTC(2026, 8, 5, 22, 30),
      timezone: "Europe/Berlin",
      coverUrl: "https://images.lumacdn.com/cover.png",
      url: "https://lu.ma/evt-9",
      location: "Main Street 1, 10115 Berlin, Germany",
      isVirtual: false,
      status: "listed",
    });
  });

  test("of the older format needs no more than an id, a title and a start", () => {
    const event = { api_id: "evt-8", name: "Talk", start_at: "2026-09-05T18:00:00Z" };
    const absent = Object.fromEntries(
      ["end_at", "cover_url", "meeting_url", "zoom_meeting_url"]
        .concat(["geo_address_json", "timezone", "visibility", "url"])
        .map((field) => [field, null]),
    );
    const expected = {
      lumaEventId: "evt-8",
      title: "Talk",
      startAt: Date.UTC(2026, 8, 5, 18),
      timezone: "UTC",
      url: "https://lu.ma/event/evt-8",
      isVirtual: false,
      status: "unlisted",
    };
    expect(mirrorEntry({ api_id: "evt-8", event })).toEqual(expected);
    expect(mirrorEntry({ api_id: "evt-8", event: { ...event, ...absent } })).toEqual(expected);
  });

  test.for([
    "2026-09-05T18:00:00.000Z",
    "2026-09-05T18:00:00Z",
    "2026-09-05T18:00Z",
    "2026-09-05T20:00:00+02:00",
    "2026-09-05T20:00:00.000+0200",
    "2026-09-05T13:30-0430",
    "2026-09-05T18:00:00+0000",
  ])("may give its times as %s", (start_at) => {
    expect(mirror({ start_at }).startAt).toBe(Date.UTC(2026, 8, 5, 18));
  });

  test.for([
    "2026-09-05T18:00:00",
    "2026-09-05",
    "2026-09-31T18:00:00Z",
    "2026-09-05T25:00:00Z",
    "2026T18:00Z",
    "soon, 2026-09-05T18:00:00Z",
    "2026-09-05T18:00:00Z or later",
    1_788_631_200_000,
    null,
  ])("cannot start at %s", (start_at) => {
    expect(readEntry({ ...aWireEvent(), start_at })).toMatchObject({
      id: "evt-1",
      reason: "start_at: no possible time",
    });
  });

  test("that would end before it starts has no end", () => {
    const start_at = "2026-09-05T18:00:00.000Z";
    expect(mirror({ start_at, end_at: "2026-09-05T17:59:59.000Z" }).endAt).toBeUndefined();
    expect(mirror({ start_at, end_at: start_at }).endAt).toBe(Date.parse(start_at));
    expect(mirror({ start_at, end_at: "2026-13-05T18:00:00.000Z" }).endAt).toBeUndefined();
  });

  test.for(["Mars/Olympus", "+02:00", "-0800", "Europe/Berlin".padEnd(101, "x"), "", null, 7])(
    "in the time zone %s is shown in UTC",
    (name) => {
      expect(mirror({ timezone: name }).timezone).toBe("UTC");
    },
  );

  test.for(["America/Argentina/Buenos_Aires", "Etc/GMT+5", "Asia/Calcutta"])(
    "in the time zone %s is shown there",
    (name) => {
      expect(mirror({ timezone: name }).timezone).toBe(name);
    },
  );
});

describe("what lu.ma hides", () => {
  const isHidden = (entry: unknown) => isSaidToBeHidden(readEntry(entry).audiences);

  test.for<[string, unknown[], string, boolean]>([
    ["visibility", ["public"], "listed", false],
    ["visibility", [undefined, null], "unlisted", false],
    ["visibility", ["private", "members-only", "Public", "", true], "unlisted", true],
    ["platform", ["luma", undefined], "listed", false],
    ["platform", ["external"], "unlisted", true],
    ["access", ["manage", undefined, null], "listed", false],
    ["access", ["view"], "unlisted", true],
    ["status", ["approved", undefined], "listed", false],
    ["status", ["pending"], "unlisted", true],
  ])("%s %j makes an event of the current format %s", ([field, values, status, hides]) => {
    for (const value of values) {
      expect(mirror({ [field]: value }).status, String(value)).toBe(status);
      expect(isHidden(aWireEvent({ [field]: value })), String(value)).toBe(hides);
    }
  });

  test.for<[string, object, object, string, boolean]>([
    ["says nothing", {}, {}, "unlisted", false],
    ["says null", {}, { visibility: null }, "unlisted", false],
    ["is public in its event", {}, { visibility: "public" }, "listed", false],
    ["is public in its entry", { visibility: "public" }, {}, "listed", false],
    ["is private in its event", {}, { visibility: "private" }, "unlisted", true],
    ["is private in its entry", { visibility: "private" }, PUBLIC, "unlisted", true],
    ["is for some in its event", PUBLIC, { visibility: "?" }, "unlisted", true],
    ["is merely viewed, says its entry", { access: "view" }, PUBLIC, "unlisted", true],
    ["is external, says its event", {}, { ...PUBLIC, platform: "external" }, "unlisted", true],
    ["is pending, says its entry", { status: "pending" }, PUBLIC, "unlisted", true],
  ])("an event of the older format that %s is %s", ([, inEntry, inEvent, status, hides]) => {
    const event = { api_id: "evt-8", name: "Talk", start_at: "2026-09-05T18:00:00Z", ...inEvent };
    const entry = { api_id: "evt-8", ...inEntry, event };
    expect(mirrorEntry(entry).status).toBe(status);
    expect(isHidden(entry)).toBe(hides);
  });

  test("a guests-only address is at most its city", () => {
    expect(mirror(GUESTS_ONLY).location).toBe("Berlin, Germany");
    const address = { address: "Secret Street 2", full_address: "Secret Street 2, Bonn" };
    const onlyCity = { ...address, city: "Bonn", city_state: null };
    expect(mirror({ ...GUESTS_ONLY, geo_address_json: onlyCity }).location).toBe("Bonn");
    expect(mirror({ ...GUESTS_ONLY, geo_address_json: address }).location).toBeUndefined();
  });

  test.for(["friends", "", 0, null, undefined])(
    "a location_visibility that is not public (%s) hides the address too",
    (word) => {
      expect(mirror({ location_visibility: word }).location).toBe("Berlin, Germany");
    },
  );

  test("a meeting link leaves nothing but the fact that there is one", () => {
    const link = "https://meet.example/secret-room";
    for (const field of ["meeting_url", "zoom_meeting_url"]) {
      const event = mirror({ [field]: link, geo_address_json: null });
      expect(event.isVirtual).toBe(true);
      expect(JSON.stringify(event)).not.toContain("secret-room");
    }
    expect(mirror({ meeting_url: "" }).isVirtual).toBe(false);
    expect(mirror({ meeting_url: " " }).isVirtual).toBe(false);
  });
});

describe("an event without a meeting link", () => {
  const online = ["discord", "meet", "twitch", "twitter", "youtube", "zoom", "unknown"];
  test.for<[unknown, boolean]>([
    ...online.map((type): [string, boolean] => [type, true]),
    ...["offline", "missing", "hologram", "", 5, null, undefined].map(
      (type): [unknown, boolean] => [type, false],
    ),
  ])("at a place of the type %s is virtual: %s", ([location_type, isVirtual]) => {
    expect(mirror({ location_type }).isVirtual).toBe(isVirtual);
  });
});

describe("a location", () => {
  test("is the full address or, without one, the address", () => {
    const address = { address: "Main Street 1", full_address: null, city: "Berlin" };
    expect(mirror({ geo_address_json: address }).location).toBe("Main Street 1");
    expect(mirror({ geo_address_json: { ...address, full_address: "All of it" } }).location).toBe(
      "All of it",
    );
    expect(mirror({ geo_address_json: { city: " Berlin\n", address: " " } }).location).toBe(
      "Berlin",
    );
    for (const none of [null, undefined, "here", {}, { city: 5 }]) {
      expect(mirror({ geo_address_json: none }).location).toBeUndefined();
    }
  });
});

describe("a description", () => {
  test.for<[string, object, string | undefined]>([
    ["Markdown", { description: "plain", description_md: "*md*" }, "*md*"],
    ["Markdown alone", { description_md: " *md*\n" }, " *md*\n"],
    ["Markdown beside what is no text", { description: 5, description_md: "*md*" }, "*md*"],
    ["plain text alone", { description: "plain" }, "plain"],
    ["plain text beside null", { description: "plain", description_md: null }, "plain"],
    ["plain text beside blanks", { description: "plain", description_md: " " }, "plain"],
    ["plain text beside what is no text", { description: "plain", description_md: 5 }, "plain"],
    ["null: there is none", { description: null, description_md: null }, ""],
    ["nothing: there is none", { description: "" }, ""],
    ["what is no text: nothing is said", { description: 5 }, undefined],
    ["no word: nothing is said", {}, undefined],
    [
      "a long text: it is cut",
      { description: `${"x".repeat(49_998)}🎉🎉` },
      `${"x".repeat(49_998)}…`,
    ],
    ["half an emoji: it is mended", { description: "half \ud83c" }, "half \uFFFD"],
  ])("is read from %s", ([, said, expected]) => {
    const { description: _, description_md: __, ...event } = aWireEvent();
    const read = readEntry({ ...event, ...said });
    expect("event" in read && toDescription(read.event)).toBe(expected);
  });
});

describe("a link", () => {
  test.for<[unknown, string]>([
    [" https://luma.com/party\n", "https://luma.com/party"],
    ["https://luma.com/party?utm=1", "https://luma.com/party?utm=1"],
    ["http://lu.ma/party", "http://lu.ma/party"],
    ["summer-party_26", "https://lu.ma/summer-party_26"],
    ["javascript:alert(1)", "https://lu.ma/event/evt-1"],
    ["ftp://lu.ma/party", "https://lu.ma/event/evt-1"],
    ["lu.ma/party", "https://lu.ma/event/evt-1"],
    ["https://", "https://lu.ma/event/evt-1"],
    ["", "https://lu.ma/event/evt-1"],
    [null, "https://lu.ma/event/evt-1"],
    [42, "https://lu.ma/event/evt-1"],
    [`https://lu.ma/${"x".repeat(2_000)}`, "https://lu.ma/event/evt-1"],
    ["x".repeat(2_000), "https://lu.ma/event/evt-1"],
  ])("%s to the event's page becomes %s", ([url, expected]) => {
    expect(mirror({ url }).url).toBe(expected);
  });

  test("made from an id is a URL whatever the id", () => {
    expect(mirror({ id: "evt 1/../?", url: null }).url).toBe(
      "https://lu.ma/event/evt%201%2F..%2F%3F",
    );
  });

  test.for<[unknown, string | undefined]>([
    ["https://images.example/a b.png", "https://images.example/a b.png"],
    ["data:image/png;base64,AAAA", undefined],
    ["cover.png", undefined],
    [null, undefined],
    [`https://images.example/${"x".repeat(2_000)}`, undefined],
  ])("%s to the cover becomes %s", ([cover_url, expected]) => {
    expect(mirror({ cover_url }).coverUrl).toBe(expected);
  });
});

describe("text", () => {
  test("is bounded, the ellipsis of a cut one included", () => {
    const long = "x".repeat(60_000);
    const event = mirror({ name: long, geo_address_json: { full_address: long } });
    expect(event.title).toBe(`${"x".repeat(499)}…`);
    expect(event.location).toBe(`${"x".repeat(999)}…`);
    expect(mirror({ name: "x".repeat(500) }).title).toBe("x".repeat(500));
  });

  test("with half an emoji in it is mended, in every field that Convex would refuse", () => {
    const half = EMOJI.slice(0, 1);
    const event = mirror({
      name: `a${half}b`,
      geo_address_json: { full_address: `${half}d` },
      url: `https://lu.ma/${half}`,
      cover_url: `https://images.example/${half}`,
      timezone: `Europe/${half}`,
    });
    expect(event.title).toBe("a\uFFFDb");
    for (const value of Object.values(event)) {
      if (typeof value === "string") expect(value.isWellFormed()).toBe(true);
    }
    expect(readEntry(aWireEvent({ id: `evt-${half}` }))).toMatchObject({ id: null });
  });
});
