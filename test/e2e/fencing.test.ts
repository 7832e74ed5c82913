import { afterEach, beforeEach, expect, test } from "vitest";

import { checkSplitBrain } from "./split-brain.ts";
import { Workplace } from "./tierlog.ts";

let place: Workplace;

beforeEach(async () => {
  place = await Workplace.make();
});
afterEach(() => place.remove());

test("F28 two-writers-split-brain, on a directory: one is stopped while the other takes over; going on, it is fenced and acks nothing more", async () => {
  await expect(checkSplitBrain(place, { TIERLOG_SYSTEM_FLUSH_LINGER: "5ms" }, "t")).resolves.toBeUndefined();
});
