import { expect, test } from "vitest";
import { isSaidToBeHidden, toDescription, toMirroredEvent } from "../../convex/events/luma/mapping";
import { readEntry } from "../../convex/events/luma/wire";
import type { MirroredEvent } from "../../convex/events/validators";
import { aWireEvent } from "../support/builders";
import type { WireEvent } from "../support/lumaServer";

/** From lu.ma's entry to the stored fields, as a sync does it. */
function mirrorEntry(entry: unknown): MirroredEvent {
  const read = readEntry(entry);
  if ("reason" in read) throw new Error(read.reason);
  return toMirroredEvent(read.event, read.audiences);
}

const mirror = (overrides: Partial<WireEvent>) => mirrorEntry(aWireEvent(overrides));
const locationOf = (geo_address_json: unknown, said: Partial<WireEvent> = {}) =>
  mirror({ geo_address_json, ...said }).location;
const isHidden = (entry: unknown) => isSaidToBeHidden(readEntry(entry).audiences);

const GUESTS_ONLY = { location_visibility: "guests-only" };
const PUBLIC = { visibility: "public" };
const OLDER = { api_id: "evt-8", name: "Talk", start_at: "2026-09-05T18:00:00Z" };

test("An event of the current format is mirrored with every field", () => {
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

test("An event of the older format needs no more than an id, a title and a start", () => {
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
])("An event may give its times as %s", (start_at) => {
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
])("An event cannot start at %j", (start_at) => {
  const expected = { id: "evt-1", reason: "start_at: missing or invalid time" };
  expect(readEntry({ ...aWireEvent(), start_at })).toMatchObject(expected);
});

test("An event that would end before it starts has no end", () => {
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
])("An event in the time zone %j is shown in %s", ([timezone, shown]) => {
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
])("An event of the current format with the %s %j is %s", ([field, values, status, hides]) => {
  for (const value of values) {
    expect(mirror({ [field]: value }).status, String(value)).toBe(status);
    expect(isHidden(aWireEvent({ [field]: value })), String(value)).toBe(hides);
  }
});

test.for<[string, string, boolean, inEntry: object, inEvent: object]>([
  ["says nothing", "unlisted", false, {}, {}],
  ["says null", "unlisted", false, {}, { visibility: null }],
  ["is public in its event", "listed", false, {}, PUBLIC],
  ["is public in its entry", "listed", false, PUBLIC, {}],
  ["is private in its event", "unlisted", true, {}, { visibility: "private" }],
  ["is private in its entry", "unlisted", true, { visibility: "private" }, PUBLIC],
  ["is for some in its event", "unlisted", true, PUBLIC, { visibility: "?" }],
  ["its entry merely views", "unlisted", true, { access: "view" }, PUBLIC],
  ["its event calls external", "unlisted", true, {}, { ...PUBLIC, platform: "external" }],
  ["its entry calls pending", "unlisted", true, { status: "pending" }, PUBLIC],
])("An event of the older format that %s is %s", ([, status, hides, inEntry, inEvent]) => {
  const entry = { api_id: "evt-8", ...inEntry, event: { ...OLDER, ...inEvent } };
  expect(mirrorEntry(entry).status).toBe(status);
  expect(isHidden(entry)).toBe(hides);
});

test("A location is the full address or, without one, the address or the city", () => {
  const address = { address: "Main Street 1", full_address: null, city: "Berlin" };
  expect(locationOf(address)).toBe("Main Street 1");
  expect(locationOf({ ...address, full_address: "All of it" })).toBe("All of it");
  expect(locationOf({ city: " Berlin\n", address: " " })).toBe("Berlin");
  for (const none of [null, undefined, "here", {}, { city: 5 }]) {
    expect(locationOf(none)).toBeUndefined();
  }
});

test("A guests-only address is at most its city", () => {
  const address = { address: "Secret Street 2", full_address: "Secret Street 2, Bonn" };
  expect(locationOf({ ...address, city: "Bonn", city_state: null }, GUESTS_ONLY)).toBe("Bonn");
  expect(locationOf(address, GUESTS_ONLY)).toBeUndefined();
});

test.for(["guests-only", "friends", "", 0, null, undefined])(
  "A location_visibility that is not public (%j) leaves of an address its city",
  (word) => {
    expect(mirror({ location_visibility: word }).location).toBe("Berlin, Germany");
  },
);

test("A meeting link leaves nothing but the fact that there is one", () => {
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
])("An event without a meeting link is virtual (%s) at a place of the types %j", ([is, types]) => {
  for (const location_type of types) {
    expect(mirror({ location_type }).isVirtual, String(location_type)).toBe(is);
  }
});

const LONG = "x".repeat(19_998);
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
  ["a long text: it is cut", { description: `${LONG}🎉🎉` }, `${LONG}…`],
  ["half an emoji: it is mended", { description: "half \ud83c" }, "half \uFFFD"],
])("A description is read from %s", ([, said, expected]) => {
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
])("The link %j to an event's page becomes %s", ([url, expected]) => {
  expect(mirror({ id: "evt 1/../?", url }).url).toBe(expected);
});

test.for<[unknown, string | undefined]>([
  ["https://images.example/a b.png", "https://images.example/a%20b.png"],
  ["data:image/png;base64,AAAA", undefined],
  ["cover.png", undefined],
  [null, undefined],
  [`https://images.example/${"x".repeat(2_000)}`, undefined],
])("The link %j to a cover becomes %s", ([cover_url, expected]) => {
  expect(mirror({ cover_url }).coverUrl).toBe(expected);
});

test("A title and a location are bounded, the ellipsis of a cut one included", () => {
  const event = mirror({ name: LONG, geo_address_json: { full_address: LONG } });
  expect(event.title).toBe(`${"x".repeat(499)}…`);
  expect(event.location).toBe(`${"x".repeat(999)}…`);
  expect(mirror({ name: "x".repeat(500) }).title).toBe("x".repeat(500));
});

test("Half an emoji is mended in every field that Convex would refuse", () => {
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
