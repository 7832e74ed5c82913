import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { parseStartPosition, type StartPosition } from "../../src/cli/start-position.ts";
import { InvalidArgumentError } from "../../src/errors.ts";

const NOW_MS = Date.UTC(2026, 10, 21, 9, 30, 0, 250);

function parse(text: string): StartPosition {
  return parseStartPosition("--from", text, NOW_MS);
}

test("earliest, latest and offsets", () => {
  expect(parse("earliest")).toBe("earliest");
  expect(parse("latest")).toBe("latest");
  expect(parse("0")).toEqual({ offset: 0 });
  expect(parse("9007199254740991")).toEqual({ offset: Number.MAX_SAFE_INTEGER });
});

describe("times", () => {
  test.each([
    ["2026-11-20", "2026-11-20T00:00:00.000Z"],
    ["2024-02-29", "2024-02-29T00:00:00.000Z"],
    ["1969-12-31", "1969-12-31T00:00:00.000Z"],
    ["2026-11-20T10:00:00Z", "2026-11-20T10:00:00.000Z"],
    ["2026-11-20T10:00Z", "2026-11-20T10:00:00.000Z"],
    ["2026-11-20t10:00:00z", "2026-11-20T10:00:00.000Z"],
    ["2026-11-20T10:00:00.5Z", "2026-11-20T10:00:00.500Z"],
    ["2026-11-20T10:00:00,250Z", "2026-11-20T10:00:00.250Z"],
    ["2026-11-20T10:00:00+02:00", "2026-11-20T08:00:00.000Z"],
    ["2026-11-20T10:00:00-0530", "2026-11-20T15:30:00.000Z"],
    ["2026-12-31T23:59:59.999-00:30", "2027-01-01T00:29:59.999Z"],
    // The first whole millisecond that is not before it.
    ["2026-11-20T10:00:00.123456Z", "2026-11-20T10:00:00.124Z"],
    ["2026-11-20T23:59:59.999000001Z", "2026-11-21T00:00:00.000Z"],
    ["2026-11-20T10:00:00.123000000Z", "2026-11-20T10:00:00.123Z"],
  ])("%s", (text, iso) => {
    expect(parse(text)).toEqual({ timestampMs: Date.parse(iso) });
  });

  test.each([
    ["-0s", 0],
    ["-250ms", 250],
    ["-90s", 90_000],
    ["-15m", 900_000],
    ["-2h", 7_200_000],
    ["-7d", 604_800_000],
  ])("%s", (text, agoMs) => {
    expect(parse(text)).toEqual({ timestampMs: NOW_MS - agoMs });
  });

  test("any time, as JavaScript writes it", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date("0100-01-01"), max: new Date("9999-12-31"), noInvalidDate: true }),
        (date) => {
          expect(parse(date.toISOString())).toEqual({ timestampMs: date.getTime() });
        },
      ),
    );
  });
});

describe("refuses, with examples", () => {
  test.each([
    ["", "is no position"],
    ["new", "is no position"],
    ["1.5", "is no position"],
    ["2026-11", "is no position"],
    ["20-11-2026", "is no position"],
    ["2026/11/20", "is no position"],
    ["+15m", "is no position"],
    ["2026-02-30", "has a date that is in no calendar"],
    ["2023-02-29", "has a date that is in no calendar"],
    ["2026-13-01", "has a date that is in no calendar"],
    ["2026-00-10", "has a date that is in no calendar"],
    ["0020-01-01", "has a date that is in no calendar"],
    ["2026-11-20T", "has no time of day behind its T"],
    ["2026-11-20T10Z", "has no time of day behind its T"],
    ["2026-11-20T10:00:00 Z", "has no time of day behind its T"],
    ["2026-11-20T24:00:00Z", "has a time that is on no clock"],
    ["2026-11-20T10:60:00Z", "has a time that is on no clock"],
    ["2026-11-20T10:00:60Z", "has a time that is on no clock"],
    ["2026-11-20T10:00:00", "does not say in which time zone; add Z for UTC, or a distance such as +02:00"],
    ["2026-11-20T10:00:00+24:00", "has +24:00, which is no distance from UTC"],
    ["-15", 'has no unit; write a time ago as in "-15m" (units: ms, s, m, h, d)'],
    ["-15w", 'has the unknown unit "w" (units: ms, s, m, h, d)'],
    ["-1.5h", "is not a whole number; use the next smaller unit"],
    ["--15m", 'is not a time ago; write a whole number with a unit, as in "-15m"'],
    ["-m", 'is not a time ago; write a whole number with a unit, as in "-15m"'],
    ["-9007199254740991d", "is too large"],
  ])("%s", (text, problem) => {
    expect(() => parse(text)).toThrow(InvalidArgumentError);
    expect(() => parse(text)).toThrow(`--from: "${text}" ${problem}. Examples: earliest, latest, 1000 (an offset), `);
  });
});
