import { conditionChecks } from "./conditions.ts";
import { conformanceCases, type ConformanceCase, type MakeStore, type StoreUnderTest } from "./conformance-case.ts";
import { keyChecks } from "./keys.ts";
import { listingChecks } from "./listing.ts";
import { objectChecks } from "./objects.ts";
import { rangeChecks } from "./ranges.ts";
import { signalChecks } from "./signals.ts";
import { StoreDriver } from "./store-driver.ts";

/**
 * What every `ObjectStore` does but for uploads in parts (`multipartConformance`). Each case makes a store, which must be empty.
 * With an S3 server about 3,000 requests in all.
 */
export function objectStoreConformance(makeStore: MakeStore): readonly ConformanceCase[] {
  const prepare = async (target: StoreUnderTest): Promise<StoreDriver> => new StoreDriver(target);
  return [
    ...conformanceCases("get, head, put, delete", objectChecks, makeStore, prepare),
    ...conformanceCases("ranges", rangeChecks, makeStore, prepare),
    ...conformanceCases("conditions", conditionChecks, makeStore, prepare),
    ...conformanceCases("list", listingChecks, makeStore, prepare),
    ...conformanceCases("keys", keyChecks, makeStore, prepare),
    ...conformanceCases("signals and close", signalChecks, makeStore, prepare),
  ];
}
