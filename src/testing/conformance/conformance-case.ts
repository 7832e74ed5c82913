import type { ObjectStore } from "../../object-store/object-store.ts";

export interface StoreUnderTest {
  readonly store: ObjectStore;
  /** A second handle on the same objects, as another process would have. */
  readonly other: ObjectStore;
  /** 1024 less what the store puts before a key. */
  readonly keyBytesMax: number;
  /** Called after both stores were closed. */
  cleanUp?(): Promise<void>;
}

/** Makes an empty store. */
export type MakeStore = () => Promise<StoreUnderTest>;

/** One rule of the contract. In any test framework: `for (const { name, run } of cases) test(name, run)`. */
export interface ConformanceCase {
  readonly name: string;
  /** Makes a store of its own, and cleans up after itself. Rejects, with an `AssertionError` as a rule, if the rule is broken. */
  readonly run: () => Promise<void>;
}

/** One rule, to be checked on a store that is made and cleaned up around it. */
export interface StoreCheck<Target> {
  readonly name: string;
  readonly check: (target: Target) => Promise<void>;
}

/** `prepare` runs on the fresh store, first in each case. */
export function conformanceCases<Target>(
  group: string,
  checks: readonly StoreCheck<Target>[],
  makeStore: MakeStore,
  prepare: (target: StoreUnderTest) => Promise<Target>,
): ConformanceCase[] {
  return checks.map(({ name, check }) => ({
    name: `${group}: ${name}`,
    run: async () => {
      const target = await makeStore();
      try {
        await check(await prepare(target));
      } catch (error) {
        // What the rule says of the store is the news, not what the broken store does when it is closed.
        await cleanUp(target).catch(() => undefined);
        throw error;
      }
      await cleanUp(target);
    },
  }));
}

async function cleanUp(target: StoreUnderTest): Promise<void> {
  try {
    await target.store.close();
    await target.other.close();
  } finally {
    await target.cleanUp?.();
  }
}
