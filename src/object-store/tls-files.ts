import { createSecureContext, type SecureVersion } from "node:tls";

import type { ObjectConfig } from "../config/config.ts";
import { ConfigError, type ConfigIssue } from "../errors.ts";
import { errorCode } from "../runtime/file-system.ts";
import { readTextFile } from "../runtime/text-file.ts";

/** As Node's `tls` takes it. */
export interface TlsOptions {
  readonly minVersion: SecureVersion;
  /** Always: whoever is not checked may be anybody, and is shown credentials and customers' keys. */
  readonly rejectUnauthorized: true;
  /** PEM: the only authorities that are trusted. undefined: those of Node. */
  readonly ca?: string;
  /** PEM: shown to a server that asks; `key` belongs to it and is a secret. */
  readonly cert?: string;
  readonly key?: string;
}

/** Node's defaults can be lowered from outside: by a flag, NODE_OPTIONS, or NODE_TLS_REJECT_UNAUTHORIZED. */
export const PLAIN_TLS: TlsOptions = { minVersion: "TLSv1.2", rejectUnauthorized: true };

const FILES = [
  { path: "system.storage.object.tls_ca_file", name: "ca", field: "tlsCaFile" },
  { path: "system.storage.object.tls_cert_file", name: "cert", field: "tlsCertFile" },
  { path: "system.storage.object.tls_key_file", name: "key", field: "tlsKeyFile" },
] as const;

/** Reads the files that the config names. Rejects with a `ConfigError` that names every key whose file cannot be used. */
export async function readTlsFiles(config: Pick<ObjectConfig, (typeof FILES)[number]["field"]>): Promise<TlsOptions> {
  const issues: ConfigIssue[] = [];
  const found: Partial<Record<"ca" | "cert" | "key", string>> = {};
  for (const { path, name, field } of FILES) {
    const file = config[field];
    if (file === undefined) continue;
    try {
      const pem = await readTextFile(file);
      createSecureContext(name === "ca" ? { ca: pem } : name === "cert" ? { cert: pem } : { key: pem });
      // OpenSSL takes a `ca` without a single certificate in it, and then trusts nobody.
      if (!/-----BEGIN /.test(pem)) throw new Error("no PEM");
      found[name] = pem;
    } catch (error) {
      issues.push({ path, problem: `${JSON.stringify(file)} ${unusable(error)}` });
    }
  }
  if (issues.length > 0) throw new ConfigError(issues);
  try {
    createSecureContext({ ...found });
  } catch {
    throw new ConfigError([
      { path: "system.storage.object.tls_key_file", problem: "is not the key of the certificate in tls_cert_file" },
    ]);
  }
  return { ...PLAIN_TLS, ...found };
}

/** Never OpenSSL's own words: `cause` is left out too, for a key file is a secret. */
function unusable(error: unknown): string {
  const code = errorCode(error) ?? "";
  if (code === "ENOENT" || code === "ENOTDIR") return "does not exist";
  if (code === "EACCES" || code === "EPERM") return "may not be read by this user";
  return "is not a PEM file of the right kind (a key with a passphrase is not supported)";
}
