import type { ConfigIssue } from "../errors.ts";
import type { CredentialsConfig, EncryptionConfig, ObjectConfig, Config } from "./config.ts";
import { CONFIG_KEYS, keyOfField, parentPaths } from "./keys.ts";
import { nearest } from "./nearest.ts";
import { Secret } from "./secret.ts";
import type { Setting, Settings } from "./setting.ts";

/** Any part of `Config`, for programs. Secrets may be plain strings. */
export interface ConfigOverrides {
  readonly path?: string;
  readonly shards?: number;
  readonly shutdownTimeoutMs?: number;
  readonly storage?: {
    readonly kind?: Config["storage"]["kind"];
    readonly object?: Partial<Omit<ObjectConfig, "credentials" | "encryption">> & {
      readonly credentials?: CredentialsOverrides | undefined;
      readonly encryption?: Partial<Omit<EncryptionConfig, "customerKey">> & {
        readonly customerKey?: Secret | string | undefined;
      };
    };
  };
  readonly flush?: Partial<Config["flush"]>;
  readonly batch?: Partial<Config["batch"]>;
  readonly index?: Partial<Config["index"]>;
  readonly journal?: Partial<Config["journal"]>;
  readonly fence?: Partial<Config["fence"]>;
  readonly retention?: Partial<Config["retention"]>;
  readonly gc?: Partial<Config["gc"]>;
  readonly cache?: Partial<Config["cache"]>;
}

interface CredentialsOverrides {
  readonly accessKeyId: CredentialsConfig["accessKeyId"];
  readonly secretAccessKey: Secret | string;
  readonly sessionToken?: Secret | string | undefined;
}

const groups = new Set(CONFIG_KEYS.flatMap(({ field }) => parentPaths(field)));

/** The settings of a partial `Config`. Fields that are undefined count as absent. */
export function overrideSettings(overrides: ConfigOverrides, directory: string): Settings {
  const settings: Setting[] = [];
  const issues: ConfigIssue[] = [];
  walk(overrides, "");
  return { settings, issues };

  function walk(group: object, prefix: string): void {
    for (const [name, raw] of Object.entries(group) as [string, unknown][]) {
      const field = prefix === "" ? name : `${prefix}.${name}`;
      // `Config` says "no bucket" by "": a `Config` may be handed in whole.
      if (raw === undefined || (field === "storage.object.bucket" && raw === "")) continue;
      const key = keyOfField(field);
      if (key !== undefined) {
        settings.push({ path: key.path, raw, form: "value", source: "overrides", directory });
      } else if (!groups.has(field)) {
        issues.push({ path: field, problem: `is not a field of the configuration${didYouMean(field)}` });
      } else if (typeof raw === "object" && raw !== null && !(raw instanceof Secret)) {
        walk(raw, field);
      } else {
        issues.push({ path: field, problem: "is a group of fields, not a value" });
      }
    }
  }
}

function didYouMean(field: string): string {
  const found = nearest(
    field,
    CONFIG_KEYS.map((key) => key.field),
  );
  return found === undefined ? "" : `; did you mean ${found}?`;
}
