import type { Config } from "../config/config.ts";
import { prefixProblem } from "../config/s3-names.ts";
import { ConfigError, InvalidArgumentError } from "../errors.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { connect, type Connection } from "./connect.ts";

/** The config of the store at another prefix of the same bucket or directory. */
export function atPrefix(config: Config, prefix: string): Config {
  const { storage } = config;
  return { ...config, storage: { ...storage, object: { ...storage.object, prefix } } };
}

/** For people: the top of a bucket has no name. */
export function shownPrefix(prefix: string): string {
  return prefix === "" ? "/" : prefix;
}

/** Throws `InvalidArgumentError` unless a store may stand there. "": the top. */
export function checkPrefix(prefix: string): void {
  const problem = prefixProblem(prefix);
  if (problem !== undefined) throw new InvalidArgumentError("prefix", prefix, `"${prefix}" ${problem}`);
}

/** Runs `use` on all that lies in the bucket or directory of `config`, whatever its prefix; nothing is proved. The caller may delete. */
export async function withRoot<T>(config: Config, runtime: Runtime, use: (root: Connection) => Promise<T>): Promise<T> {
  if (config.storage.kind === "memory") {
    throw new ConfigError([
      {
        path: "system.storage.kind",
        problem: '"memory" ends with its process: it holds no stores; use "fs" or "object"',
      },
    ]);
  }
  const root = await connect({ config: atPrefix(config, ""), runtime, readOnly: true, objectStore: undefined });
  try {
    return await use(root);
  } finally {
    await root.close();
  }
}
