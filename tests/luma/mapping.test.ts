import { expect, test } from "vitest";
import { isSaidToBeHidden, toDescription, toMirroredEvent } from "../../convex/events/luma/mapping";
import { readEntry } from "../../convex/events/luma/wire";
import type { MirroredEvent } from "../../convex/events/validators";
import { aWireEvent } from "../support/builders";
import type { WireEvent } from "../support/lumaServer";

/** Turns lu.ma's entry into the stored fields, as a sync does. */
function mirrorEntry(entry: unknown): MirroredEvent {
  const read = readEntry(entry);
  if ("reason" in read) throw new Error(read.reason);
  return toMirroredEvent(read.event, read.audiences);
}

const mirror = (overrides: Partial<WireEvent>) => mirrorEntry(aWireEvent(overrides));
const locationOf = (geo_address_json: unknown, said: Partial<WireEvent> = {}) =>
  mirror({ geo_address_json, ...said }).location;
const isHidden = (entry: unknown) => isSaidToBeHidden(readEntry(entry).audiences);

const PUBLIC = { visibility: "public" };
const OLDER = { api_id: "evt-8", name: "Talk", start_at: "2026-09-05T18:00:00Z" };

test("Every field of an event in the current format is mirrored", () => {
  const [start_at, end_at] = ["2026-09-05T18:00:00.000Z", "2026-09-05T22:30:00.000Z"];
  expect(mirror({ id: "evt-9", name: "Summer party", start_at, end_at })).toEqual({
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

test("An event in the older format needs only an id, a title and a start", () => {
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
  expect(mirrorEntry({ api_id: "evt-8", event: OLDER })).toEqual(expected);
  expect(mirrorEntry({ api_id: "evt-8", event: { ...OLDER, ...absent } })).toEqual(expected);
});

test.for([
  "2026-09-05T18:00:00.000Z",
  "2026-09-05T18:00:00Z",
  "2026-09-05T18:00Z",
  "2026-09-05T20:00:00+02:00",
  "2026-09-05T20:00:00.000+0200",
  "2026-09-05T13:30-0430",
  "2026-09-05T18:00:00+0000",
])("The time %s is understood", (start_at) => {
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
])("The time %j is not accepted", (start_at) => {
  const expected = { id: "evt-1", reason: "start_at: missing or invalid time" };
  expect(readEntry({ ...aWireEvent(), start_at })).toMatchObject(expected);
});

test("An end that is invalid, or before the start, is ignored", () => {
  const start_at = "2026-09-05T18:00:00.000Z";
  expect(mirror({ start_at, end_at: "2026-09-05T17:59:59.000Z" }).endAt).toBeUndefined();
  expect(mirror({ start_at, end_at: start_at }).endAt).toBe(Date.parse(start_at));
  expect(mirror({ start_at, end_at: "2026-13-05T18:00:00.000Z" }).endAt).toBeUndefined();
});

test.for([
  ...["America/Argentina/Buenos_Aires", "Etc/GMT+5", "Asia/Calcutta"].map((name) => [name, name]),
  ...["Mars/Olympus", "+02:00", "-0800", "Europe/Berlin".padEnd(101, "x"), "", null, 7].map(
    (name) => [name, "UTC"],
  ),
])("The time zone %j is stored as %s", ([timezone, shown]) => {
  expect(mirror({ timezone }).timezone).toBe(shown);
});

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
])("An event whose %s is one of %j is %s", ([field, values, status, hides]) => {
  for (const value of values) {
    expect(mirror({ [field]: value }).status, String(value)).toBe(status);
    expect(isHidden(aWireEvent({ [field]: value })), String(value)).toBe(hides);
  }
});

test.for<[string, string, boolean, inEntry: object, inEvent: object]>([
  ["nothing says who may see it", "unlisted", false, {}, {}],
  ["its visibility is null", "unlisted", false, {}, { visibility: null }],
  ["its event is public", "listed", false, {}, PUBLIC],
  ["its entry is public", "listed", false, PUBLIC, {}],
  ["its event is private", "unlisted", true, {}, { visibility: "private" }],
  ["its entry is private", "unlisted", true, { visibility: "private" }, PUBLIC],
  ["its event's visibility is unknown", "unlisted", true, PUBLIC, { visibility: "?" }],
  ["its entry has only view access", "unlisted", true, { access: "view" }, PUBLIC],
  ["its event is on another platform", "unlisted", true, {}, { ...PUBLIC, platform: "external" }],
  ["its entry is pending", "unlisted", true, { status: "pending" }, PUBLIC],
])("If %s, an event in the older format is %s", ([, status, hides, inEntry, inEvent]) => {
  const entry = { api_id: "evt-8", ...inEntry, event: { ...OLDER, ...inEvent } };
  expect(mirrorEntry(entry).status).toBe(status);
  expect(isHidden(entry)).toBe(hides);
});

test("A location is the full address, or else the address, or else the city", () => {
  const address = { address: "Main Street 1", full_address: null, city: "Berlin" };
  expect(locationOf(address)).toBe("Main Street 1");
  expect(locationOf({ ...address, full_address: "All of it" })).toBe("All of it");
  expect(locationOf({ city: " Berlin\n", address: " " })).toBe("Berlin");
  for (const none of [null, undefined, "here", {}, { city: 5 }]) {
    expect(locationOf(none)).toBeUndefined();
  }
});

test.for(["guests-only", "friends", "", 0, null, undefined])(
  "If location_visibility is %j, only the city is stored",
  (location_visibility) => {
    const address = { address: "Secret Street 2", full_address: "Secret Street 2, Bonn" };
    const said = { location_visibility };
    expect(mirror(said).location).toBe("Berlin, Germany");
    expect(locationOf({ ...address, city: "Bonn", city_state: null }, said)).toBe("Bonn");
    expect(locationOf(address, said)).toBeUndefined();
  },
);

test("A meeting link makes an event virtual, and isn't stored", () => {
  for (const field of ["meeting_url", "zoom_meeting_url"]) {
    const event = mirror({ [field]: "https://meet.example/secret-room", geo_address_json: null });
    expect(event.isVirtual).toBe(true);
    expect(JSON.stringify(event)).not.toContain("secret-room");
  }
  for (const none of ["", " "]) expect(mirror({ meeting_url: none }).isVirtual).toBe(false);
});

test.for<[boolean, unknown[]]>([
  [true, ["discord", "meet", "twitch", "twitter", "youtube", "zoom", "unknown"]],
  [false, ["offline", "missing", "hologram", "", 5, null, undefined]],
])("Without a meeting link, isVirtual is %s for these types of location: %j", ([is, types]) => {
  for (const location_type of types) {
    expect(mirror({ location_type }).isVirtual, String(location_type)).toBe(is);
  }
});

const LONG = "x".repeat(19_998);
test.for<[string, object, string | undefined]>([
  ["Markdown rather than plain text", { description: "plain", description_md: "*md*" }, "*md*"],
  ["Markdown alone", { description_md: " *md*\n" }, " *md*\n"],
  ["Markdown next to a number", { description: 5, description_md: "*md*" }, "*md*"],
  ["plain text alone", { description: "plain" }, "plain"],
  ["plain text next to null", { description: "plain", description_md: null }, "plain"],
  ["plain text next to blanks", { description: "plain", description_md: " " }, "plain"],
  ["plain text next to a number", { description: "plain", description_md: 5 }, "plain"],
  ["null (the event has none)", { description: null, description_md: null }, ""],
  ["an empty text (the event has none)", { description: "" }, ""],
  ["a number (not known)", { description: 5 }, undefined],
  ["nothing (not known)", {}, undefined],
  ["a long text (it is cut)", { description: `${LONG}🎉🎉` }, `${LONG}…`],
  ["half an emoji (it is replaced)", { description: "half \ud83c" }, "half \uFFFD"],
])("This is read as a description: %s", ([, said, expected]) => {
  const { description: _, description_md: __, ...event } = aWireEvent();
  const read = readEntry({ ...event, ...said });
  expect("event" in read && toDescription(read.event)).toBe(expected);
});

test.for<[unknown, string]>([
  [" https://luma.com/party\n", "https://luma.com/party"],
  ["https://luma.com/party?utm=1", "https://luma.com/party?utm=1"],
  ["http://lu.ma/party", "http://lu.ma/party"],
  ["summer-party_26", "https://lu.ma/summer-party_26"],
  ...["javascript:alert(1)", "ftp://lu.ma/party", "lu.ma/party", "https://", "", null, 42]
    .concat([`https://lu.ma/${"x".repeat(2_000)}`, "x".repeat(2_000)])
    .map((none): [unknown, string] => [none, "https://lu.ma/event/evt%201%2F..%2F%3F"]),
])("The URL %j of an event's page is stored as %s", ([url, expected]) => {
  expect(mirror({ id: "evt 1/../?", url }).url).toBe(expected);
});

test.for<[unknown, string | undefined]>([
  ["https://images.example/a b.png", "https://images.example/a%20b.png"],
  ["data:image/png;base64,AAAA", undefined],
  ["cover.png", undefined],
  [null, undefined],
  [`https://images.example/${"x".repeat(2_000)}`, undefined],
])("The cover URL %j is stored as %s", ([cover_url, expected]) => {
  expect(mirror({ cover_url }).coverUrl).toBe(expected);
});

test("A title and a location are cut to their limits, ellipsis included", () => {
  const event = mirror({ name: LONG, geo_address_json: { full_address: LONG } });
  expect(event.title).toBe(`${"x".repeat(499)}…`);
  expect(event.location).toBe(`${"x".repeat(999)}…`);
  expect(mirror({ name: "x".repeat(500) }).title).toBe("x".repeat(500));
});

test("Half an emoji, which Convex would refuse, is replaced in every field", () => {
  const half = "🎉".slice(0, 1);
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
