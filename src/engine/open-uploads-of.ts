import type { Config } from "../config/config.ts";
import type { OpenUploads } from "../object-store/open-uploads.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** The open multipart uploads of the bucket that `config` names, below its prefix. REQUIRES: storage of kind "object". `close` follows. */
export async function openUploadsOf(config: Config, runtime: Runtime, signal?: AbortSignal): Promise<OpenUploads> {
  // Only here: they load the AWS SDK.
  const { S3Wire } = await import("../object-store/probe/s3-wire.ts");
  const { OpenUploads: Uploads } = await import("../object-store/open-uploads.ts");
  const { s3Settings } = await import("./s3-settings.ts");
  const { clock, random, logger } = runtime;
  const { deadlineMs, requestTimeoutMs } = config.storage.object;
  const wire = new S3Wire(await s3Settings(config, runtime), clock, signal);
  return new Uploads(wire, { clock, random, logger, deadlineMs, requestTimeoutMs });
}
