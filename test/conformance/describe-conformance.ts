import { describe, expect, test } from "vitest";

import type { MakeStore } from "../../src/testing/conformance/conformance-case.ts";
import { multipartConformance } from "../../src/testing/conformance/multipart.ts";
import { objectStoreConformance } from "../../src/testing/conformance/object-store.ts";

/** The whole contract of `ObjectStore`, in vitest. */
export function describeConformance(name: string, makeStore: MakeStore): void {
  const cases = [...objectStoreConformance(makeStore), ...multipartConformance(makeStore)];
  describe(`conformance: ${name}`, () => {
    test.each(cases.map(({ name, run }) => [name, run] as const))("%s", async (_, run) => {
      await expect(run()).resolves.toBeUndefined();
    });
  });
}
