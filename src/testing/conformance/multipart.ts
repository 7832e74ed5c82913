import { conformanceCases, type ConformanceCase, type MakeStore } from "./conformance-case.ts";
import { UploadDriver } from "./upload-driver.ts";
import { uploadEndChecks } from "./upload-ends.ts";
import { uploadChecks } from "./uploads.ts";

/** What every `ObjectStore` does with uploads in parts. Each case makes a store, which must be empty, and sends up to 16 MiB. */
export function multipartConformance(makeStore: MakeStore): readonly ConformanceCase[] {
  const prepare = UploadDriver.start.bind(UploadDriver);
  return conformanceCases("uploads in parts", [...uploadChecks, ...uploadEndChecks], makeStore, prepare);
}
