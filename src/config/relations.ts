import { join } from "node:path";

import type { ConfigIssue } from "../errors.ts";
import { formatDuration } from "./duration.ts";
import { encryptionIssues } from "./encryption-relations.ts";
import type { ConfigValue } from "./key-type.ts";
import { keyAt } from "./keys.ts";
import { isSecureLink } from "./s3-names.ts";
import { formatSize } from "./size.ts";

/** Looks at what keys must keep to one another. `values` holds the usable ones only: a relation with another is left out. */
export function relationIssues(values: ReadonlyMap<string, ConfigValue>, broken: ReadonlySet<string>): ConfigIssue[] {
  const issues: ConfigIssue[] = [];
  const object = "system.storage.object";

  if (values.get("system.storage.kind") === "object" && !given(`${object}.bucket`)) {
    issues.push({ path: `${object}.bucket`, problem: 'is missing; kind = "object" needs it' });
  }

  if (given(`${object}.access_key_id`) && !given(`${object}.secret_access_key`)) {
    issues.push({ path: `${object}.secret_access_key`, problem: "is missing; access_key_id is set" });
  }
  for (const name of ["secret_access_key", "session_token"]) {
    if (given(`${object}.${name}`) && !given(`${object}.access_key_id`)) {
      issues.push({ path: `${object}.access_key_id`, problem: `is missing; ${name} is set` });
      break;
    }
  }

  if (given(`${object}.profile`) && given(`${object}.access_key_id`)) {
    issues.push({ path: `${object}.profile`, problem: "is set beside access_key_id; leave one of them out" });
  }
  for (const [name, other] of [
    ["tls_cert_file", "tls_key_file"],
    ["tls_key_file", "tls_cert_file"],
  ]) {
    if (given(`${object}.${name}`) && !given(`${object}.${other}`)) {
      issues.push({ path: `${object}.${other}`, problem: `is missing; ${name} is set` });
    }
  }

  const endpoint = values.get(`${object}.endpoint`);
  const overOpenLine =
    values.get("system.storage.kind") === "object" && typeof endpoint === "string" && !isSecureLink(endpoint);
  if (overOpenLine && values.get(`${object}.allow_http`) === false) {
    issues.push({
      path: `${object}.endpoint`,
      problem: `"${endpoint}" is plain HTTP to another machine: anybody on the line can read what is stored; write https://, or set allow_http = true`,
    });
  }
  if (overOpenLine && values.get(`${object}.payload_signing`) === "unsigned") {
    issues.push({
      path: `${object}.payload_signing`,
      problem: `"unsigned" needs an https ${object}.endpoint, or one on this machine: over plain HTTP anybody on the line could change what is stored; write "auto" or "signed"`,
    });
  }

  issues.push(...encryptionIssues(values, broken));
  atLeast(`${object}.deadline`, `${object}.request_timeout`, formatDuration, "a deadline covers at least one request");
  atLeast("system.flush.max_bytes", "system.batch.max_bytes", formatSize, "a flush holds at least one batch");
  atLeast("system.flush.max_pending", "system.flush.max_bytes", formatSize, "a full flush waits there");
  atLeastTwo(
    "system.journal.file_size",
    "system.batch.max_bytes",
    "a batch lies in one file, with its frame around it",
  );
  atLeastTwo("system.journal.max_size", "system.journal.file_size", "one file is written while the other is uploaded");

  const path = values.get("system.path");
  const journal = values.get("system.journal.path");
  if (values.get("system.storage.kind") === "fs" && typeof path === "string" && typeof journal === "string") {
    const store = join(path, "store");
    if (`${journal}/`.startsWith(`${store}/`)) {
      issues.push({
        path: "system.journal.path",
        problem: `"${journal}" lies in the store, "${store}": choose another place`,
      });
    }
  }

  const batch = values.get("system.batch.max_bytes");
  const part = values.get(`${object}.multipart_part_size`);
  if (typeof batch === "number" && typeof part === "number" && batch > part / 2) {
    issues.push({
      path: "system.batch.max_bytes",
      problem: `${formatSize(batch)} is above half of ${object}.multipart_part_size, ${formatSize(part)} (a batch and its index must fit one part)`,
    });
  }
  return issues;

  /** Somebody set it, be it usable or not. */
  function given(path: string): boolean {
    return values.has(path) || broken.has(path);
  }

  function atLeast(path: string, other: string, format: (value: number) => string, why: string): void {
    const value = values.get(path);
    const bound = values.get(other);
    if (typeof value === "number" && typeof bound === "number" && value < bound) {
      issues.push({ path, problem: `${format(value)} is below ${other}, ${format(bound)} (${why})` });
    }
  }

  function atLeastTwo(path: string, other: string, why: string): void {
    const value = values.get(path);
    const bound = values.get(other);
    if (typeof value === "number" && typeof bound === "number" && value < 2 * bound) {
      issues.push({
        path,
        problem: `${formatSize(value)} is below two of ${other}, ${formatSize(bound)} (${why})`,
      });
    }
  }
}

/**
 * What is set and has no effect beside the other values. REQUIRES: every value passed its checks. A default that somebody wrote
 * down, as the shipped file does, is not worth a word.
 */
export function idleSettings(values: ReadonlyMap<string, ConfigValue>): string[] {
  const fsync = values.get("system.journal.fsync");
  const ackAfterUpload = values.get("system.storage.object.ack_after_upload") === true;
  const warnings: string[] = [];
  if (changed("system.journal.fsync_interval") && fsync !== "interval") {
    warnings.push(
      `system.journal.fsync_interval does nothing with system.journal.fsync = "${String(fsync)}": only "interval" looks at it`,
    );
  }
  if (changed("system.fence.lease") && ackAfterUpload) {
    warnings.push(
      "system.fence.lease does nothing with system.storage.object.ack_after_upload = true: every ack is a proof of the fence by itself",
    );
  }
  return warnings;

  function changed(path: string): boolean {
    return values.get(path) !== keyAt(path)?.default;
  }
}
