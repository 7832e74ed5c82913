/* oxlint-disable vitest/warn-todo -- a list of what is to come is all that this file is */
import { test } from "vitest";

/** Named cases, and halves of them, that wait for a part of the engine that is not there yet. */

test.todo("F29 zombie-late-segment-put: what no link names is swept after its grace period: with garbage collection");
test.todo(
  "F30 gc-vs-reader: a reader whose object was replaced folds anew, once, and goes on: with garbage collection",
);
test.todo(
  "F52 versioned-or-locked-bucket: what cannot be deleted counts as kept, without a loop: with garbage collection",
);
