import type { Config } from "../config/config.ts";
import { ConfigError } from "../errors.ts";
import type { Examination, StoreDiagnosis } from "../object-store/doctor/examine-store.ts";
import { directoryExists, removeDirectoryTree, removeEmptyDirectory } from "../runtime/directory.ts";
import { joinPath } from "../runtime/file-system.ts";
import { systemRuntime, type Runtime } from "../runtime/runtime.ts";
import { openStore } from "./open-store.ts";
import { s3Settings, type S3Settings } from "./s3-settings.ts";
import { atPrefix } from "./store-root.ts";

export type { StoreCheck } from "../object-store/doctor/check.ts";
export type { StoreDiagnosis };

export interface DiagnoseOptions {
  /** Ends the run: what was written is removed first, then it rejects with `AbortedError`. */
  readonly signal?: AbortSignal;
  readonly onProgress?: Examination["onProgress"];
  readonly runtime?: Partial<Runtime>;
  /** Time for all checks; those that do not fit are not run. Default: three minutes. The clean-up takes up to half a minute more. */
  readonly deadlineMs?: number;
}

const DEADLINE_MS = 3 * 60_000;

/**
 * Finds out by trying what the store of a config can do, below a prefix of its own beside the data, and removes what it wrote. Needs
 * no engine, and disturbs none that runs on the same store. It sends about 2,000 small requests and 25 MiB.
 *
 * What the store cannot do is part of the result. Errors: `ConfigError` (kind "memory": there is nothing to try), `AbortedError`;
 * for a directory `ObjectStoreError` where even its removal fails.
 */
export async function diagnoseStore(given: Config, options: DiagnoseOptions = {}): Promise<StoreDiagnosis> {
  const { kind } = given.storage;
  // Of a directory all prefixes are alike.
  const config = kind === "fs" ? atPrefix(given, "") : given;
  if (kind === "memory") {
    throw new ConfigError([
      {
        path: "system.storage.kind",
        problem: '"memory" is a part of this process: there is nothing to check; use "fs" or "object"',
      },
    ]);
  }
  const runtime: Runtime = { ...systemRuntime, ...options.runtime };
  const { examineStore } = await import("../object-store/doctor/examine-store.ts");
  const made = kind === "fs" ? await missingDirectories(config) : [];
  const s3 = kind === "object" ? await s3Settings(config, runtime) : undefined;
  const store = await openStore(config, runtime, true, undefined, s3);
  const other = await openStore(config, runtime, true, undefined, s3);
  try {
    return await examineStore({
      store,
      other,
      ...(s3 === undefined ? { openWire: undefined, server: undefined } : await bucketOf(config, runtime, s3)),
      clock: runtime.clock,
      random: runtime.random,
      logger: runtime.logger,
      requestTimeoutMs: config.storage.object.requestTimeoutMs,
      deadlineMs: options.deadlineMs ?? DEADLINE_MS,
      signal: options.signal,
      onProgress: options.onProgress,
      afterwards: async (prefix) => {
        if (kind === "fs") await removeDirectories(config, prefix, made);
      },
    });
  } finally {
    await Promise.all([store.close(), other.close()]);
  }
}

async function bucketOf(
  config: Config,
  runtime: Runtime,
  s3: S3Settings,
): Promise<Pick<Examination, "openWire" | "server">> {
  const { S3Wire } = await import("../object-store/probe/s3-wire.ts");
  const { probedServer } = await import("./first-use.ts");
  return {
    openWire: (signal) => new S3Wire(s3, runtime.clock, signal),
    server: probedServer(config),
  };
}

/** Innermost first. */
function directories(config: Config): string[] {
  const root = joinPath(config.path, "store");
  return [joinPath(root, "probe"), joinPath(root, ".tmp"), root, config.path];
}

async function missingDirectories(config: Config): Promise<string[]> {
  const missing: string[] = [];
  for (const path of directories(config)) if (!(await directoryExists(path))) missing.push(path);
  return missing;
}

/** The store never removes a directory; a run leaves none that was not there. `prefix` has no character that is escaped. */
async function removeDirectories(config: Config, prefix: string, made: readonly string[]): Promise<void> {
  await removeDirectoryTree(joinPath(config.path, "store", ...prefix.split("/").filter((name) => name !== "")));
  for (const path of made) await removeEmptyDirectory(path);
}
