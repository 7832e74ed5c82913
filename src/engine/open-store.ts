import type { Config } from "../config/config.ts";
import { createFsStore, sweepTemporaries } from "../object-store/fs-store.ts";
import { createMemoryStore } from "../object-store/memory-store.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { prefixed } from "../object-store/prefixed.ts";
import { readingBack } from "../object-store/reading-back.ts";
import { joinPath } from "../runtime/file-system.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { s3Settings, type S3Settings } from "./s3-settings.ts";

/** What was found out about a store, by its probe. Filled in after the store was made; until then it holds what is safe everywhere. */
export interface StoreFacts {
  /** undefined: nobody has tried, or there was no clear answer. */
  wrongChecksumRefused: boolean | undefined;
  /** Ceph RGW and its relatives compare `If-Match` with the quotes on, and so only ever match "bare". */
  ifMatchEtag: "quoted" | "bare";
}

export function noFacts(): StoreFacts {
  return { wrongChecksumRefused: undefined, ifMatchEtag: "quoted" };
}

/**
 * The store that the config names. For writing it clears away what crashed puts left in a directory, and makes a bucket that is
 * missing where `create_bucket` asks for that; else no connection is opened yet.
 * `facts` is looked at for each object: what becomes known later counts from then on. `s3`: where the caller has them already.
 */
export async function openStore(
  config: Config,
  runtime: Runtime,
  readOnly: boolean,
  facts?: StoreFacts,
  s3?: S3Settings,
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
      return prefixed(createFsStore({ root, fileSystem, random }), config.storage.object.prefix);
    }
    case "object": {
      // Only here: the AWS SDK takes longer to load than everything else together, and warns about Node 20 when it does.
      const { createS3Store } = await import("../object-store/s3-store.ts");
      const settings = s3 ?? (await s3Settings(config, runtime));
      if (!readOnly) await makeBucket(config, runtime, settings);
      return createS3Store(
        {
          ...settings,
          payloadSigning: config.storage.object.payloadSigning,
          wrongChecksumRefused: () => facts?.wrongChecksumRefused,
          get ifMatchEtag() {
            return facts?.ifMatchEtag ?? "quoted";
          },
        },
        runtime,
      );
    }
  }
}

/** Makes a bucket that is missing, where the config asks for that. */
export async function makeBucket(config: Config, runtime: Runtime, s3: S3Settings): Promise<void> {
  const { createBucket, bucket, deadlineMs, requestTimeoutMs } = config.storage.object;
  if (config.storage.kind !== "object" || !createBucket) return;
  const { ensureBucket } = await import("../object-store/s3-bucket.ts");
  const { clock, random, logger } = runtime;
  const made = await ensureBucket(s3, { clock, random, logger, deadlineMs, requestTimeoutMs });
  if (made) logger.info("created the bucket, because create_bucket is true", { bucket });
}

/** `store`, the settled one of `config`, made to read back what it writes where nothing else checks the bytes on their way. */
export function checkingStore(store: ObjectStore, config: Config, facts: StoreFacts): ObjectStore {
  const { kind, object } = config.storage;
  if (kind !== "object" || object.payloadSigning !== "unsigned") return store;
  return readingBack(store, () => facts.wrongChecksumRefused !== true);
}
