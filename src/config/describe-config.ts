import type { Config } from "./config.ts";
import type { ConfigValue } from "./key-type.ts";
import { CONFIG_KEYS } from "./keys.ts";

export interface ConfigEntry {
  readonly path: string;
  /** As it would be written in the file, without quotes; undefined: not set. Secrets are masked. */
  readonly value: string | undefined;
}

/** Every key with its value, in the order of `config.toml`, safe to print. */
export function describeConfig(config: Config): readonly ConfigEntry[] {
  return CONFIG_KEYS.map(({ path, field, type }) => {
    const value = fieldValue(config, field);
    // No bucket is "" in `Config`, because most kinds have none.
    const absent = value === undefined || (field === "storage.object.bucket" && value === "");
    return { path, value: absent ? undefined : type.show(value) };
  });
}

function fieldValue(config: Config, field: string): ConfigValue | undefined {
  let value: unknown = config;
  for (const name of field.split(".")) {
    if (value === undefined) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value as ConfigValue | undefined;
}
