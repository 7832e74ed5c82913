import { ConfigError, type ConfigIssue } from "../errors.ts";
import { readSmallFile } from "../runtime/small-file.ts";
import type { EncryptionConfig } from "./config.ts";
import { parseCustomerKeyFile } from "./customer-key.ts";
import { fileProblem } from "./file-problem.ts";
import { Secret } from "./secret.ts";

const PATH = "system.storage.object.encryption.customer_key_file";
const FILE_BYTES_MAX = 1024;

/** The key of mode "sse-c", in base64, read from its file where the config names one. `ConfigError`. */
export async function readCustomerKey({ customerKey, customerKeyFile }: EncryptionConfig): Promise<Secret> {
  if (customerKeyFile === undefined) {
    if (customerKey !== undefined) return customerKey;
    throw new ConfigError([{ path: PATH, problem: 'is missing; mode = "sse-c" needs a key' }]);
  }
  let bytes: Uint8Array;
  try {
    bytes = await readSmallFile(customerKeyFile, FILE_BYTES_MAX);
  } catch (error) {
    throw keyError(customerKeyFile, fileProblem(error), error);
  }
  const parsed = parseCustomerKeyFile(bytes);
  if (!parsed.ok) throw keyError(customerKeyFile, `what it holds ${parsed.problem}`);
  return new Secret(parsed.value);
}

/** Whether the key can be had, for a check of the configuration; the key itself is not kept. */
export async function customerKeyIssues(encryption: EncryptionConfig): Promise<readonly ConfigIssue[]> {
  if (encryption.mode !== "sse-c") return [];
  try {
    await readCustomerKey(encryption);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.issues;
    throw error;
  }
}

function keyError(file: string, problem: string, cause?: unknown): ConfigError {
  return new ConfigError([{ path: PATH, problem: `"${file}": ${problem}` }], cause === undefined ? {} : { cause });
}
