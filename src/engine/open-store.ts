import type { Config } from "../config/config.ts";
import { createFsStore, sweepTemporaries } from "../object-store/fs-store.ts";
import { createMemoryStore } from "../object-store/memory-store.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { assumedTraits, type StoreTraits } from "../object-store/probe/store-traits.ts";
import { readingBack } from "../object-store/reading-back.ts";
import { joinPath } from "../runtime/file-system.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { s3Settings } from "./s3-settings.ts";

/** Sockets for reads of data objects, beside those of the parts. */
const READ_SOCKETS = 32;

/**
 * Parts in memory, and so on their way, over all uploads of one engine: one upload may have all its parts on the wire while others fill
 * their next one.
 */
export function uploadPartsMax(partsInFlight: number): number {
  return 2 * partsInFlight;
}

/**
 * The store that the config names; opens no connection yet. For writing it clears away what crashed puts left in a directory.
 * `traits` is looked at for each object: what becomes known later counts from then on.
 */
export async function openStore(
  config: Config,
  runtime: Runtime,
  readOnly: boolean,
  traits: StoreTraits = assumedTraits(),
): Promise<ObjectStore> {
  switch (config.storage.kind) {
    case "memory":
      return createMemoryStore();
    case "fs": {
      const { fileSystem, random, logger } = runtime;
      const root = joinPath(config.path, "store");
      if (!readOnly) {
        // A put of another live process may lose its file to this: it fails with effect "none" and is sent again.
        const removed = await sweepTemporaries({ root, fileSystem });
        if (removed > 0) logger.info("removed what crashed puts left behind", { files: removed });
      }
      return createFsStore({ root, fileSystem, random });
    }
    case "object": {
      // Only here: the AWS SDK takes longer to load than everything else together, and warns about Node 20 when it does.
      const { createS3Store } = await import("../object-store/s3-store.ts");
      const { payloadSigning, partsInFlight } = config.storage.object;
      return createS3Store(
        {
          ...s3Settings(config),
          // No part waits for a socket: the time of its attempt runs meanwhile.
          maxSockets: uploadPartsMax(partsInFlight) + READ_SOCKETS,
          payloadSigning,
          // Read at each request: the probe fills it in after the store was made.
          wrongChecksumRefused: () => traits.wrongChecksumRefused,
          get ifMatchEtag() {
            return traits.ifMatchEtag;
          },
        },
        runtime,
      );
    }
  }
}

/** `store`, the settled one of `config`, made to read back what it writes where nothing else checks the bytes on their way. */
export function checkingStore(store: ObjectStore, config: Config, traits: StoreTraits): ObjectStore {
  const { kind, object } = config.storage;
  if (kind !== "object" || object.payloadSigning !== "unsigned") return store;
  return readingBack(store, () => traits.wrongChecksumRefused !== true);
}
