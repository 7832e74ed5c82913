import { expect, test } from "vitest";

import { nearest } from "../../src/config/nearest.ts";

test.each([
  ["bukcet", "bucket"],
  ["Bucket", "bucket"],
  ["reigon", "region"],
  ["regio", "region"],
  ["zzz", undefined],
  ["", undefined],
])("%s → %s", (word, expected) => {
  expect(nearest(word, ["bucket", "region", "endpoint"])).toBe(expected);
});
