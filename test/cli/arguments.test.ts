import { describe, expect, test } from "vitest";

import { parseArguments, type ParsedArguments } from "../../src/cli/arguments.ts";
import { parseSetFlags } from "../../src/cli/set-flags.ts";
import type { Signature } from "../../src/cli/signature.ts";

const signature: Signature = {
  name: "copy",
  usage: "FROM [flags]",
  flags: [
    { name: "file", value: "FILE", multiple: true, help: "" },
    { name: "max", value: "N", help: "" },
    { name: "follow", help: "" },
  ],
  positionals: ["FROM"],
};

function parse(...argv: string[]): ParsedArguments {
  return parseArguments(signature, argv);
}

test("flags and arguments in any order", () => {
  const args = parse("--max", "5", "here", "--follow", "--file=a=b", "--file", "c", "--set", "x=1", "--json");
  expect(args.positional(0)).toBe("here");
  expect(args.integer("max", 0, 10)).toBe(5);
  expect(args.has("follow")).toBe(true);
  expect(args.has("config")).toBe(false);
  expect(args.texts("file")).toEqual(["a=b", "c"]);
  expect(args.texts("set")).toEqual(["x=1"]);
});

test("what follows -- is an argument", () => {
  expect(parse("--", "--max").positional(0)).toBe("--max");
});

test("a value may begin with a dash, after = with two", () => {
  expect(parse("here", "--file", "-").text("file")).toBe("-");
  expect(parse("here", "--file=--x").text("file")).toBe("--x");
});

test("help needs nothing else", () => {
  expect(parse("--help").has("help")).toBe(true);
  expect(parse("-h").has("help")).toBe(true);
});

describe("refuses", () => {
  test.each([
    [["here", "--folow"], "--folow: unknown flag of tierlog copy; did you mean --follow? See tierlog copy --help"],
    [["here", "--zzzzz"], "--zzzzz: unknown flag of tierlog copy; See tierlog copy --help"],
    [["here", "-x"], "-x: unknown flag"],
    [["here", "--max"], "--max: needs a value: --max N"],
    [["here", "--max", "--follow"], "--max: needs a value, but --follow follows"],
    [["here", "--max", "1", "--max", "2"], "--max: may be given only once"],
    [["here", "--follow=yes"], "--follow: takes no value"],
    [[], "FROM: is missing: tierlog copy FROM [flags]"],
    [["a", "b"], "b: one argument too many: tierlog copy FROM [flags]"],
  ])("%j", (argv, message) => {
    expect(() => parse(...argv)).toThrow(message);
  });

  test.each(["-1", "1.5", "x", "", "11", "1e1"])("--max %j", (value) => {
    expect(() => parse("here", `--max=${value}`).integer("max", 0, 10)).toThrow(
      `--max: "${value}" is not a whole number 0 … 10`,
    );
  });

  test("a choice that is none", () => {
    expect(() => parse("here", "--file", "zstd").choice("file", ["none", "lz4"])).toThrow(
      '--file: "zstd" is none of none, lz4',
    );
  });
});

describe("--set", () => {
  test("splits at the first =, the last of a key counts", () => {
    expect(parseSetFlags(["a.b=1", "c=x=y", "a.b=", "d= "])).toEqual({ "a.b": "", c: "x=y", d: " " });
  });

  test.each(["CANARY", "=CANARY", ""])("%j is refused without being shown", (text) => {
    expect(() => parseSetFlags([text])).toThrow(/^--set: is written KEY=VALUE, as in system.flush.linger=50ms$/);
  });
});
