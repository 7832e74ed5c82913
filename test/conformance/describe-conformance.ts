import { describe, expect, test } from "vitest";

import type { MakeStore } from "../../src/testing/conformance/conformance-case.ts";
import { multipartConformance } from "../../src/testing/conformance/multipart.ts";
import { objectStoreConformance } from "../../src/testing/conformance/object-store.ts";

/** The whole contract of `ObjectStore`, in vitest. */
export function describeConformance(name: string, makeStore: MakeStore): void {
  describe(`conformance: ${name}`, () => {
    test.each([...objectStoreConformance(makeStore), ...multipartConformance(makeStore)])("$name", async ({ run }) => {
      await expect(run()).resolves.toBeUndefined();
    });
  });
}
