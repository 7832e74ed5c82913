import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { formatDuration, parseDuration } from "../../src/config/duration.ts";
import { formatSize, parseSize } from "../../src/config/size.ts";

describe("sizes", () => {
  test.each([
    ["0 B", 0],
    ["512 B", 512],
    ["64 KiB", 65_536],
    ["64KiB", 65_536],
    ["8 MiB", 8_388_608],
    ["1  GiB", 1_073_741_824],
    ["007 B", 7],
  ])("%s", (text, bytes) => {
    expect(parseSize(text)).toEqual({ ok: true, value: bytes });
  });

  test.each([
    ["", 'is not a size; write a whole number with a unit, as in "8 MiB"'],
    ["8", "has no unit"],
    ["8 MB", "is in decimal units; write KiB, MiB or GiB"],
    ["8 kB", "is in decimal units"],
    ["8 mib", 'has the unknown unit "mib" (units: B, KiB, MiB, GiB)'],
    ["8 M", 'has the unknown unit "M"'],
    ["1.5 MiB", "is not a whole number; use the next smaller unit"],
    ["-1 MiB", "is not a size"],
    [" 8 MiB", "is not a size"],
    ["1e3 B", "is not a size"],
    ["0x10 B", "is not a size"],
    ["MiB", "is not a size"],
    ["9007199254740992 B", "is too large"],
    ["9".repeat(400) + " GiB", "is too large"],
  ])("%s is refused", (text, problem) => {
    expect(parseSize(text)).toEqual({ ok: false, problem: expect.stringContaining(problem) as string });
  });

  test("what is written reads back the same", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (bytes) => {
        expect(parseSize(formatSize(bytes))).toEqual({ ok: true, value: bytes });
      }),
    );
  });
});

describe("times", () => {
  test.each([
    ["250ms", 250],
    ["5s", 5000],
    ["5 s", 5000],
    ["1m", 60_000],
    ["2h", 7_200_000],
  ])("%s", (text, milliseconds) => {
    expect(parseDuration(text)).toEqual({ ok: true, value: milliseconds });
  });

  test.each(["250", "1.5s", "5 sec", "1M", "-1s", "", "s", "1m30s", "Infinity s"])("%s is refused", (text) => {
    expect(parseDuration(text).ok).toBe(false);
  });

  test("what is written reads back the same", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (milliseconds) => {
        expect(parseDuration(formatDuration(milliseconds))).toEqual({ ok: true, value: milliseconds });
      }),
    );
  });
});

test("no text makes a parser throw, and every result is a safe integer or a problem", () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: "binary" }),
    fc.stringMatching(/^[0-9.]{0,20} {0,2}[A-Za-zµ]{0,4}$/),
  );
  fc.assert(
    fc.property(text, (input) => {
      for (const parsed of [parseSize(input), parseDuration(input)]) {
        const sane = parsed.ok ? Number.isSafeInteger(parsed.value) && parsed.value >= 0 : parsed.problem !== "";
        expect(sane).toBe(true);
      }
    }),
    { numRuns: 2000 },
  );
});
