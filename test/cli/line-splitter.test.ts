import * as fc from "fast-check";
import { expect, test } from "vitest";

import { LineSplitter } from "../../src/cli/line-splitter.ts";
import { RecordTooLargeError } from "../../src/errors.ts";

function split(chunks: readonly Uint8Array[], maxLineBytes = 1_000_000): string[] {
  const splitter = new LineSplitter(maxLineBytes);
  const lines = [...chunks.flatMap((chunk) => [...splitter.push(chunk)]), ...splitter.end()];
  return lines.map((line) => Buffer.from(line).toString("latin1"));
}

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

test.each([
  ["", []],
  ["\n", [""]],
  ["a", ["a"]],
  ["a\n", ["a"]],
  ["a\nb", ["a", "b"]],
  ["a\r\nb\r\n", ["a\r", "b\r"]],
  ["\n\n", ["", ""]],
  ["\u0000\u00ff\n\r\r\n", ["\u0000\u00ff", "\r\r"]],
])("%j", (text, lines) => {
  expect(split([bytes(text)])).toEqual(lines);
});

test("where the chunks are cut does not matter", () => {
  const content = fc.array(fc.constantFrom("a", "bc", "\n", "\r", "\u0000", "\u00ff"), { maxLength: 60 });
  fc.assert(
    fc.property(content, fc.array(fc.nat(80), { maxLength: 10 }), (pieces, cuts) => {
      const whole = bytes(pieces.join(""));
      const at = [0, ...cuts.map((cut) => Math.min(cut, whole.length)).sort((a, b) => a - b), whole.length];
      const chunks = at.slice(1).map((end, i) => whole.subarray(at[i], end));
      const expected = whole.toString("latin1").split("\n");
      if (expected.at(-1) === "") expected.pop();
      expect(split(chunks)).toEqual(expected);
    }),
  );
});

test("a line above the limit is refused before it is whole, lines before it are not lost", () => {
  const splitter = new LineSplitter(4);
  const lines: string[] = [];
  expect(() => {
    for (const line of splitter.push(bytes("ab\nabcd\nabcde"))) lines.push(Buffer.from(line).toString());
  }).toThrow(RecordTooLargeError);
  expect(lines).toEqual(["ab", "abcd"]);
  expect(() => split([bytes("abc"), bytes("de")], 4)).toThrow("line 1 of the input");
  expect(() => split([bytes("abcde\n")], 4)).toThrow(RecordTooLargeError);
});
