import type { Config } from "../config/config.ts";
import type { ObjectKey } from "../domain.ts";
import { ConfigError } from "../errors.ts";
import { probeRunPrefix } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { checkEncryption } from "../object-store/probe/encryption-check.ts";
import { S3Wire } from "../object-store/probe/s3-wire.ts";
import { RetriedCall, retried } from "../object-store/retry.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { placeOf } from "./first-use.ts";
import type { S3Settings } from "./s3-settings.ts";

/**
 * Makes sure that a bucket encrypts as the config asks, before anything is written that should be: a few requests at each start. Not
 * part of the stored probe result, which would have to be believed. `ConfigError` where it does not; `ObjectStoreError`.
 */
export async function proveEncryption(
  config: Config,
  runtime: Runtime,
  store: ObjectStore,
  s3: S3Settings,
): Promise<void> {
  const { clock, random, logger } = runtime;
  const { encryption, deadlineMs } = config.storage.object;
  const wire = new S3Wire(s3, clock);
  const prefix = probeRunPrefix("start", Buffer.from(random.bytes(8)).toString("hex"));
  const key = `${prefix}encryption` as ObjectKey;
  try {
    const call = new RetriedCall({ clock, random, logger, deadlineMs }, "probe", key, undefined);
    const { ok, detail } = await retried(call, () => checkEncryption(wire, key));
    if (ok) return;
    throw new ConfigError([
      {
        path: "system.storage.object.encryption.mode",
        problem: `"${encryption.mode}" is not what ${placeOf(config)} does: ${detail}; write another mode, or "none"`,
      },
    ]);
  } finally {
    wire.close();
    await store.delete([key]).catch((error: unknown) => {
      logger.warn("the probe of the store could not remove what it wrote", { prefix, problem: String(error) });
    });
  }
}
