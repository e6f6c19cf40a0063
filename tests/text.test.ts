import { describe, expect, test } from "vitest";
import {
  boundText,
  listSome,
  quote,
  toHttpUrl,
  toLogItem,
  toLogLine,
  toOneLine,
} from "../convex/events/text";

const EMOJI = "🎉";
const HALF = EMOJI.slice(0, 1);

describe("text", () => {
  test("is bounded, the ellipsis included, and never cut through an emoji", () => {
    expect(boundText("abcd", 4)).toBe("abcd");
    expect(boundText("abcde", 4)).toBe("abc…");
    expect(boundText(`ab${EMOJI}${EMOJI}`, 4)).toBe("ab…");
    expect(boundText(`a${EMOJI}bcd`, 4)).toBe(`a${EMOJI}…`);
  });

  test("is mended where there is half an emoji, which Convex would refuse", () => {
    expect(boundText(`a${HALF}b`, 10)).toBe("a\uFFFDb");
    expect(boundText(`a${HALF}bcdef`, 5)).toBe("a\uFFFDbc…");
    expect(boundText(`a${EMOJI}b`, 10)).toBe(`a${EMOJI}b`);
  });

  test("of several lines becomes one, with a space for what a terminal would obey", () => {
    expect(toOneLine("  a\n\tb  c\r\n", 10)).toBe("a b c");
    expect(toOneLine("\u0007a\u001b[31mb\u0000\u009b2Jc\u007f", 20)).toBe("a [31mb 2Jc");
  });

  test("is quoted by its beginning, without the key however it is spelt", () => {
    const key = 'a/"\\';
    const spelt = [key, encodeURIComponent(key), JSON.stringify({ key })].join(" ");
    expect(quote(`${spelt}\n${key}`, key)).toBe(
      '[API key] [API key] {"key":"[API key]"} [API key]',
    );
    expect(quote("x".repeat(300), key)).toBe(`${"x".repeat(199)}…`);
    expect(toLogItem("x\n".repeat(300))).toBe(`${"x ".repeat(74)}x…`);
  });
});

describe("a log line", () => {
  test("joins what there is to say", () => {
    expect(toLogLine("a", "", "b")).toBe("a b");
    expect(toLogLine("x".repeat(5_000)).length).toBe(3_500);
  });

  test("lists 20 items, shortened, and says how many more there are", () => {
    expect(listSome("Invalid", [])).toBe("");
    expect(listSome("Invalid", ["a", "b"])).toBe("Invalid: a; b.");
    const many = listSome("Invalid", Array<string>(23).fill("x".repeat(200)));
    expect(many.match(/x{149}…/g)).toHaveLength(20);
    expect(many).toMatch(/; and 3 more\.$/);
  });
});

describe("a URL", () => {
  test.for<[string | undefined, string | undefined]>([
    [" https://example.com/a ", "https://example.com/a"],
    ["HTTP://example.com", "HTTP://example.com"],
    ["ftp://example.com", undefined],
    ["see https://example.com", undefined],
    ["javascript:alert('https://example.com')", undefined],
    ["https://", undefined],
    [undefined, undefined],
    [`https://example.com/${"x".repeat(1_980)}`, `https://example.com/${"x".repeat(1_980)}`],
    [`https://example.com/${"x".repeat(1_981)}`, undefined],
  ])("%s is taken for %s", ([text, expected]) => {
    expect(toHttpUrl(text)).toBe(expected);
  });
});
