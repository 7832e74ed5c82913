import type { ConfigIssue } from "../errors.ts";
import type { ConfigValue } from "./key-type.ts";
import { isSecureLink } from "./s3-names.ts";

const OBJECT = "system.storage.object";
const TABLE = `${OBJECT}.encryption`;

/** What the keys of encryption must keep to one another and to the connection. `values` and `broken` as for all relations. */
export function encryptionIssues(
  values: ReadonlyMap<string, ConfigValue>,
  broken: ReadonlySet<string>,
): readonly ConfigIssue[] {
  const mode = values.get(`${TABLE}.mode`);
  // A mode that cannot be used says nothing about the others.
  if (typeof mode !== "string") return [];
  const given = (path: string): boolean => values.has(path) || broken.has(path);
  const issues: ConfigIssue[] = [];
  const stray = (name: string, of: string): void => {
    if (mode !== of && given(`${TABLE}.${name}`)) {
      issues.push({ path: `${TABLE}.${name}`, problem: `has no use with mode = "${mode}"; leave it out` });
    }
  };
  stray("kms_key_id", "sse-kms");
  stray("customer_key", "sse-c");
  stray("customer_key_file", "sse-c");

  const [key, file] = [given(`${TABLE}.customer_key`), given(`${TABLE}.customer_key_file`)];
  if (mode === "sse-c" && !key && !file) {
    issues.push({
      path: `${TABLE}.customer_key_file`,
      problem: 'is missing; mode = "sse-c" needs it, or customer_key in the environment',
    });
  }
  if (mode === "sse-c" && key && file) {
    issues.push({ path: `${TABLE}.customer_key_file`, problem: "is set beside customer_key; leave one of them out" });
  }

  if (values.get("system.storage.kind") !== "object") return issues;
  const endpoint = values.get(`${OBJECT}.endpoint`);
  if (mode === "sse-c" && typeof endpoint === "string" && !isSecureLink(endpoint)) {
    issues.push({
      path: `${TABLE}.mode`,
      problem: `"sse-c" needs an https ${OBJECT}.endpoint, or one on this machine: every request carries the key`,
    });
  }
  if (mode !== "none" && values.get(`${OBJECT}.create_if_absent`) === "x-goog-if-generation-match") {
    issues.push({
      path: `${TABLE}.mode`,
      problem: `"${mode}" cannot be asked for in Google's requests: Google encrypts everything; a key of your own is set as the default key of the bucket; write "none"`,
    });
  }
  return issues;
}
