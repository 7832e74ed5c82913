import { parse, TomlError } from "smol-toml";

import { ConfigError, type ConfigIssue } from "../errors.ts";
import { CONFIG_KEYS, keyAt, parentPaths } from "./keys.ts";
import { nearest } from "./nearest.ts";
import type { Setting, Settings } from "./setting.ts";

const tables = new Set(CONFIG_KEYS.flatMap(({ path }) => parentPaths(path)));

/** The settings of a config file. Text that is not TOML is a `ConfigError` at once: nothing behind the mistake can be trusted. */
export function tomlSettings(text: string, file: string, directory: string): Settings {
  const settings: Setting[] = [];
  const issues: ConfigIssue[] = [];
  walk(parseToml(text, file), "");
  return { settings, issues };

  function walk(table: object, prefix: string): void {
    for (const [name, raw] of Object.entries(table)) {
      const path = prefix === "" ? name : `${prefix}.${name}`;
      if (keyAt(path) !== undefined) {
        settings.push({ path, raw, form: "toml", source: `file ${file}`, directory });
      } else if (!tables.has(path)) {
        issues.push({ path, problem: `is not a key${suggestion(path)}` });
      } else if (isTable(raw)) {
        walk(raw, path);
      } else {
        issues.push({ path, problem: `is a table: write [${path}] and its keys below` });
      }
    }
  }
}

/** As in `; did you mean system.flush.linger?`, or nothing. */
export function suggestion(path: string): string {
  const name = path.slice(path.lastIndexOf(".") + 1);
  const siblings = [...CONFIG_KEYS.map((key) => key.path), ...tables];
  const sameName = siblings.filter((sibling) => sibling.endsWith(`.${name}`));
  const found = nearest(path, sameName) ?? sameName[0] ?? nearest(path, siblings);
  return found === undefined ? "" : `; did you mean ${found}?`;
}

function parseToml(text: string, file: string): object {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // Only the first line: the others quote the file, and with it perhaps a secret. For the same reason there is no `cause`.
    const [message = ""] = error.message.split("\n");
    const problem = message.replace(/^Invalid TOML document: /, "");
    throw new ConfigError([{ path: file, problem: `line ${error.line}, column ${error.column}: ${problem}` }]);
  }
}

function isTable(raw: unknown): raw is object {
  return typeof raw === "object" && raw !== null && !Array.isArray(raw) && !(raw instanceof Date);
}
