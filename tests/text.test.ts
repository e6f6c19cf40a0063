import { expect, test } from "vitest";
import {
  boundText,
  listSome,
  quote,
  toHttpUrl,
  toLogItem,
  toLogLine,
  toOneLine,
} from "../convex/events/text";

const [EMOJI, HALF] = ["🎉", "\ud83c"];

test("A text is cut at its limit, ellipsis included, and never contains half an emoji", () => {
  expect(boundText("abcd", 4)).toBe("abcd");
  expect(boundText("abcde", 4)).toBe("abc…");
  expect(boundText(`ab${EMOJI}${EMOJI}`, 4)).toBe("ab…");
  expect(boundText(`a${EMOJI}bcd`, 4)).toBe(`a${EMOJI}…`);
  // Convex rejects half an emoji.
  expect(boundText(`a${HALF}b`, 10)).toBe("a\uFFFDb");
  expect(boundText(`a${HALF}bcdef`, 5)).toBe("a\uFFFDbc…");
  expect(boundText(`a${EMOJI}b`, 10)).toBe(`a${EMOJI}b`);
});

test("A text becomes one line, with spaces instead of control characters", () => {
  expect(toOneLine("  a\n\tb  c\r\n", 10)).toBe("a b c");
  expect(toOneLine("\u0007a\u001b[31mb\u0000\u009b2Jc\u007f", 20)).toBe("a [31mb 2Jc");
});

test("A quote is the beginning of a text, without the key however it is encoded", () => {
  const key = 'a/"\\';
  const spelt = [key, encodeURIComponent(key), JSON.stringify({ key })].join(" ");
  const quoted = '[API key] [API key] {"key":"[API key]"} [API key]';
  expect(quote(`${spelt}\n${key}`, key)).toBe(quoted);
  expect(quote("x".repeat(300), key)).toBe(`${"x".repeat(199)}…`);
  expect(toLogItem("x\n".repeat(300))).toBe(`${"x ".repeat(74)}x…`);
});

test("A log line joins its parts, leaves out empty ones, and is cut at 3,500 characters", () => {
  expect(toLogLine("a", "", "b")).toBe("a b");
  expect(toLogLine("x".repeat(5_000)).length).toBe(3_500);
});

test("A list in a log line has at most 20 items, and says how many more there are", () => {
  expect(listSome("Invalid", [])).toBe("");
  expect(listSome("Invalid", ["a", "b"])).toBe("Invalid: a; b.");
  const many = listSome("Invalid", Array<string>(23).fill("x".repeat(200)));
  expect(many.match(/x{149}…/g)).toHaveLength(20);
  expect(many).toMatch(/; and 3 more\.$/);
});

const LONGEST = `https://example.com/${"x".repeat(1_980)}`;
test.for<[string | undefined, string | undefined]>([
  [" https://example.com/a ", "https://example.com/a"],
  ["HTTP://Example.com/café 🎉", "http://example.com/caf%C3%A9%20%F0%9F%8E%89"],
  ["https://bücher.example/", "https://xn--bcher-kva.example/"],
  [`https://example.com/${HALF}`, "https://example.com/%EF%BF%BD"],
  [`https://example.com/${"é".repeat(400)}`, undefined],
  ["https:example.com", undefined],
  [LONGEST, LONGEST],
  [`${LONGEST}x`, undefined],
  ["ftp://example.com", undefined],
  ["see https://example.com", undefined],
  ["javascript:alert('https://example.com')", undefined],
  ["https://", undefined],
  [undefined, undefined],
])("The text %j becomes the URL %s", ([text, expected]) => {
  expect(toHttpUrl(text)).toBe(expected);
});
