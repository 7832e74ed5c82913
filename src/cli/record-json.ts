import { isUtf8 } from "node:buffer";

import type { StoredRecord } from "../record/record.ts";

/**
 * A record as `consume --json` shows it. Bytes that are UTF-8 stand as text in `value`, others as Base64 in `valueBase64`; never
 * both. The same goes for `key` and headers; a null is a null.
 */
export function recordJson(partition: number, record: StoredRecord): Record<string, unknown> {
  return {
    partition,
    offset: record.offset,
    timestampMs: record.timestampMs,
    ...bytesJson("key", record.key),
    ...bytesJson("value", record.value),
    ...(record.headers.length === 0
      ? {}
      : { headers: record.headers.map(({ key, value }) => ({ key, ...bytesJson("value", value) })) }),
  };
}

function bytesJson(name: string, bytes: Uint8Array | null): Record<string, string | null> {
  if (bytes === null) return { [name]: null };
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(view) ? { [name]: view.toString("utf8") } : { [`${name}Base64`]: view.toString("base64") };
}
