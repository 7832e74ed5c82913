import { describe, test } from "vitest";

import type { MakeStore } from "../../src/testing/conformance/conformance-case.ts";
import { multipartConformance } from "../../src/testing/conformance/multipart.ts";
import { objectStoreConformance } from "../../src/testing/conformance/object-store.ts";

/** The whole contract of `ObjectStore`, in vitest. */
export function describeConformance(name: string, makeStore: MakeStore): void {
  describe(`conformance: ${name}`, () => {
    for (const { name, run } of [...objectStoreConformance(makeStore), ...multipartConformance(makeStore)]) {
      test(`${name}`, run);
    }
  });
}
