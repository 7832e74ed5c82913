import type { ConfigIssue } from "../errors.ts";
import type { ConfigValue } from "./key-type.ts";
import { nearest } from "./nearest.ts";
import { PROVIDER_PRESETS, providerPreset, type ProviderPreset } from "./provider-presets.ts";

const OBJECT = "system.storage.object";

/** What `config check` names as the source of such a value. */
const SOURCE = "provider preset";

/** The rest of a sentence that begins with the value, or undefined. */
export function providerProblem(name: string): string | undefined {
  if (providerPreset(name) !== undefined) return undefined;
  const names = PROVIDER_PRESETS.map((preset) => preset.name);
  const found = nearest(name, names);
  const suggestion = found === undefined ? "" : `; did you mean "${found}"?`;
  return `is not a provider known here${suggestion} Known are ${names.join(", ")}; leave the key out for any other server`;
}

export function accountProblem(account: string): string | undefined {
  return /^[A-Za-z0-9][A-Za-z0-9-]{0,62}$/.test(account) ? undefined : "is not a name of letters, digits and hyphens";
}

/**
 * Fills in what the preset of `provider` says wherever nobody said otherwise: changes `values` and `sources`. Of a key in `broken`
 * somebody did say something. Returns what is missing, which only matters where the bucket is used.
 */
export function applyPreset(
  values: Map<string, ConfigValue>,
  sources: Map<string, string>,
  broken: ReadonlySet<string>,
): ConfigIssue[] {
  const account = values.get(`${OBJECT}.account`);
  const provider = values.get(`${OBJECT}.provider`);
  const preset = typeof provider === "string" ? providerPreset(provider) : undefined;
  if (preset === undefined) {
    const stray = account !== undefined && !broken.has(`${OBJECT}.provider`);
    return stray ? [issue("account", "has no use without provider; leave it out")] : [];
  }
  const given = (name: string): boolean => sources.get(`${OBJECT}.${name}`) !== "default";
  const fill = (name: string, value: ConfigValue): void => {
    if (given(name)) return;
    values.set(`${OBJECT}.${name}`, value);
    sources.set(`${OBJECT}.${name}`, SOURCE);
  };
  const needs = `provider = "${preset.name}" needs it`;

  fill("force_path_style", preset.pathStyle);
  fill("payload_signing", preset.payloadSigning);
  fill("create_if_absent", preset.createIfAbsent);
  const issues: ConfigIssue[] = [];
  if (preset.region !== undefined) fill("region", preset.region);
  else if (!given("region") && !given("endpoint")) {
    issues.push(issue("region", `is missing; ${needs}, as in "${preset.exampleRegion}"`));
  }
  const template = preset.endpoint;
  const wantsAccount = template?.includes("{account}") === true;
  if (account !== undefined && !wantsAccount) {
    issues.push(issue("account", `has no use with provider = "${preset.name}"; leave it out`));
  }
  if (given("endpoint") || template === "aws") return issues;
  if (template === undefined) {
    issues.push(issue("endpoint", `is missing; provider = "${preset.name}" has no address of its own`));
  } else if (wantsAccount && account === undefined) {
    if (!broken.has(`${OBJECT}.account`))
      issues.push(issue("account", `is missing; ${needs} for its address ${template}`));
  } else if (issues.length === 0) {
    fill("endpoint", endpointOf(template, values));
  }
  return issues;
}

function endpointOf(template: ProviderPreset["endpoint"] & string, values: ReadonlyMap<string, ConfigValue>): string {
  return template
    .replace("{region}", String(values.get(`${OBJECT}.region`)))
    .replace("{account}", String(values.get(`${OBJECT}.account`)));
}

function issue(name: string, problem: string): ConfigIssue {
  return { path: `${OBJECT}.${name}`, problem };
}
