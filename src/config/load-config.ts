import { dirname, resolve } from "node:path";

import { ConfigError, type ConfigIssue } from "../errors.ts";
import type { Environment } from "../runtime/environment.ts";
import { errorCode, nodeFileSystem, type FileSystem } from "../runtime/file-system.ts";
import { fileMode, readTextFile } from "../runtime/text-file.ts";
import { awsSettings, tierlogSettings } from "./environment-settings.ts";
import { fileProblem } from "./file-problem.ts";
import { flagSettings, type Flags } from "./flag-settings.ts";
import { customerKeyIssues } from "./read-customer-key.ts";
import { resolveConfig, type ResolvedConfig } from "./resolve-config.ts";
import type { Settings } from "./setting.ts";
import { tomlSettings } from "./toml-settings.ts";

export interface LoadOptions {
  /** Path of a TOML file, relative to `cwd`; without one there are only defaults, environment and flags. */
  readonly file?: string | undefined;
  readonly env: Environment;
  readonly flags?: Flags;
  /** Absolute. */
  readonly cwd: string;
  readonly fileSystem?: Pick<FileSystem, "stat">;
  readonly readText?: (path: string) => Promise<string>;
  /** Permission bits; undefined: there is no such file. */
  readonly fileMode?: (path: string) => Promise<number | undefined>;
}

/**
 * The configuration of a process. Weakest first: defaults, file, `AWS_…` variables (only with `kind = "object"`),
 * `TIERLOG_…` variables, flags. A relative `system.path` of the file, or the default when there is a file, counts from the
 * file's directory; one of the environment or a flag counts from `cwd`. Rejects with one `ConfigError` that holds every problem.
 */
export async function loadConfig(options: LoadOptions): Promise<ResolvedConfig> {
  const { cwd, env } = options;
  const file = options.file === undefined ? undefined : resolve(cwd, options.file);
  const directory = file === undefined ? cwd : dirname(file);
  const fromFile = file === undefined ? nothing : tomlSettings(await readConfig(file, options), file, directory);
  const fromEnvironment = tierlogSettings(env, cwd);
  const fromFlags = flagSettings(options.flags ?? {}, cwd);

  const kind = [fromFlags, fromEnvironment, fromFile]
    .flatMap((layer) => layer.settings)
    .find((setting) => setting.path === "system.storage.kind")?.raw;
  // Who works on a local disk must not stumble over half a set of AWS variables in the shell.
  const fromAws = kind === "object" ? awsSettings(env, cwd) : nothing;

  const layers = [fromFile, fromAws, fromEnvironment, fromFlags];
  const resolved = attempt(() => resolveConfig(layers, directory));
  const path = resolved.ok ? resolved.value.config.path : dataPath(layers, directory);
  const fileSystem = options.fileSystem ?? nodeFileSystem;
  const pathIssues = path === undefined ? [] : await pathProblems("system.path", path, fileSystem);
  if (resolved.ok && !resolved.value.config.storage.object.ackAfterUpload && pathIssues.length === 0) {
    pathIssues.push(...(await pathProblems("system.journal.path", resolved.value.config.journal.path, fileSystem)));
  }
  if (!resolved.ok) throw new ConfigError([...resolved.issues, ...pathIssues]);
  const { storage } = resolved.value.config;
  const keyIssues = storage.kind === "object" ? await customerKeyIssues(storage.object.encryption) : [];
  if (pathIssues.length + keyIssues.length > 0) throw new ConfigError([...pathIssues, ...keyIssues]);
  return {
    ...resolved.value,
    warnings: [
      ...resolved.value.warnings,
      ...(await openSecrets(resolved.value, fromFile, file, options.fileMode ?? fileMode)),
    ],
  };
}

const SECRETS = [
  "system.storage.object.secret_access_key",
  "system.storage.object.session_token",
  "system.storage.object.encryption.customer_key",
];

/** Files with secrets that others than their owner may read, or write. */
async function openSecrets(
  { config }: ResolvedConfig,
  fromFile: Settings,
  file: string | undefined,
  modeOf: (path: string) => Promise<number | undefined>,
): Promise<string[]> {
  const { kind, object } = config.storage;
  const files = [
    ...(file !== undefined && fromFile.settings.some(({ path }) => SECRETS.includes(path)) ? [file] : []),
    ...(kind === "object" ? [object.tlsKeyFile, object.encryption.customerKeyFile] : []),
  ].filter((path) => path !== undefined);
  const warnings: string[] = [];
  for (const path of files) {
    const mode = await modeOf(path);
    if (mode === undefined || (mode & 0o077) === 0) continue;
    const bits = mode.toString(8).padStart(3, "0");
    warnings.push(
      `${path} holds a secret, and others on this machine may read or change it (mode ${bits}): chmod 600 ${path}`,
    );
  }
  return warnings;
}

const nothing: Settings = { settings: [], issues: [] };

async function readConfig(file: string, options: LoadOptions): Promise<string> {
  try {
    return await (options.readText ?? readTextFile)(file);
  } catch (error) {
    throw new ConfigError([{ path: file, problem: fileProblem(error) }], { cause: error });
  }
}

type Attempt =
  | { readonly ok: true; readonly value: ResolvedConfig }
  | { readonly ok: false; readonly issues: readonly ConfigIssue[] };

function attempt(run: () => ResolvedConfig): Attempt {
  try {
    return { ok: true, value: run() };
  } catch (error) {
    if (error instanceof ConfigError) return { ok: false, issues: error.issues };
    throw error;
  }
}

/** The data path although other keys have problems, so that its own problem is told in the same go. */
function dataPath(layers: readonly Settings[], directory: string): string | undefined {
  const settings = layers.flatMap((layer) => layer.settings).filter((setting) => setting.path === "system.path");
  try {
    return resolveConfig([{ settings, issues: [] }], directory).config.path;
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

/** A directory or nothing is fine. Whether it can be written is found when it is. */
async function pathProblems(key: string, path: string, fileSystem: Pick<FileSystem, "stat">): Promise<ConfigIssue[]> {
  try {
    await fileSystem.stat(path);
  } catch (error) {
    return errorCode(error) === "ENOTDIR"
      ? [{ path: key, problem: `"${path}" lies below something that is a file` }]
      : [];
  }
  return [{ path: key, problem: `"${path}" is a file; it must be a directory or not exist yet` }];
}
