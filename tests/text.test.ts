import { describe, expect, test } from "vitest";
import { boundText, listSome, toHttpUrl, toLogLine, toOneLine } from "../convex/events/text";

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

  test("of several lines becomes one", () => {
    expect(toOneLine("  a\n\tb  c\r\n", 10)).toBe("a b c");
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
