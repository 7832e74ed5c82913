/* oxlint-disable vitest/warn-todo -- a list of what is to come is all that this file is */
import { test } from "vitest";

/** Named cases, and halves of them, that wait for a part of the engine that is not there yet. */

test.todo(
  "F10 slowdown-storm: acks go on locally while the store is busy, up to the journal's limit: with the journal",
);
test.todo("F11 total-outage-10-min: local acks go on up to the disk limit, then catch up: with the journal");
test.todo("F16 bitflip-in-object: the local copy takes its place where there is one: with the journal");
test.todo("F29 zombie-late-segment-put: what no link names is swept after its grace period: with garbage collection");
test.todo(
  "F30 gc-vs-reader: a reader whose object was replaced folds anew, once, and goes on: with garbage collection",
);
test.todo("F41 local-delete-before-verify: no frame goes before its link was seen live: with the journal");
test.todo(
  "F52 versioned-or-locked-bucket: what cannot be deleted counts as kept, without a loop: with garbage collection",
);
