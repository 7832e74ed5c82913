import type { ConfigIssue } from "../errors.ts";
import { keyAt } from "./keys.ts";
import type { Setting, Settings } from "./setting.ts";
import { suggestion } from "./toml-settings.ts";

/** Values by path, as in `{ "system.flush.linger": "50ms" }`. */
export type Flags = Readonly<Record<string, string | number | boolean>>;

/** The settings of the command line. */
export function flagSettings(flags: Flags, directory: string): Settings {
  const settings: Setting[] = [];
  const issues: ConfigIssue[] = [];
  for (const [path, raw] of Object.entries(flags)) {
    if (keyAt(path) === undefined) {
      issues.push({ path, problem: `is not a key${suggestion(path)}` });
    } else {
      settings.push({ path, raw, form: typeof raw === "string" ? "text" : "toml", source: "flag --set", directory });
    }
  }
  return { settings, issues };
}
