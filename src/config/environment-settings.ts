import type { ConfigIssue } from "../errors.ts";
import type { Environment } from "../runtime/environment.ts";
import { CONFIG_KEYS, environmentName } from "./keys.ts";
import { nearest } from "./nearest.ts";
import type { Setting, Settings } from "./setting.ts";

const PREFIX = "TIERLOG_";

/** Variables with the prefix that are no keys: `TIERLOG_DEBUG` belongs to the CLI, `TIERLOG_TEST_…` to the project's own tests. */
const FOREIGN = /^TIERLOG_(?:DEBUG$|TEST_)/;

const byName = new Map(CONFIG_KEYS.map(({ path }) => [environmentName(path), path]));

/** The key of each AWS variable; of several for one key the first that is set counts, as in AWS's own tools. */
const AWS: readonly (readonly [path: string, names: readonly string[]])[] = [
  ["system.storage.object.region", ["AWS_REGION", "AWS_DEFAULT_REGION"]],
  ["system.storage.object.endpoint", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]],
  ["system.storage.object.access_key_id", ["AWS_ACCESS_KEY_ID"]],
  ["system.storage.object.secret_access_key", ["AWS_SECRET_ACCESS_KEY"]],
  ["system.storage.object.session_token", ["AWS_SESSION_TOKEN"]],
];

/** The settings of the `TIERLOG_…` variables. One that names no key is a problem: it would be a typing error without effect. */
export function tierlogSettings(environment: Environment, directory: string): Settings {
  const settings: Setting[] = [];
  const issues: ConfigIssue[] = [];
  for (const [name, raw] of Object.entries(environment).sort(byKey)) {
    if (raw === undefined || !name.startsWith(PREFIX) || FOREIGN.test(name)) continue;
    const path = byName.get(name);
    if (path === undefined) issues.push({ path: `env ${name}`, problem: `names no key${didYouMean(name)}` });
    else settings.push({ path, raw, form: "text", source: `env ${name}`, directory });
  }
  return { settings, issues };
}

/** The settings of the `AWS_…` variables. An empty one counts as not set, as in AWS's own tools. */
export function awsSettings(environment: Environment, directory: string): Settings {
  const settings: Setting[] = [];
  for (const [path, names] of AWS) {
    const name = names.find((candidate) => (environment[candidate] ?? "") !== "");
    if (name !== undefined) {
      settings.push({ path, raw: environment[name], form: "text", source: `env ${name}`, directory });
    }
  }
  return { settings, issues: [] };
}

function didYouMean(name: string): string {
  const found = nearest(name, byName.keys());
  return found === undefined ? "" : `; did you mean ${found}?`;
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}
