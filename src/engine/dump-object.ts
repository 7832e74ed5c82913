import type { Config } from "../config/config.ts";
import type { ObjectKey } from "../domain.ts";
import { AbortedError, ConfigError, InvalidArgumentError, NotFoundError } from "../errors.ts";
import { directoriesOfTail, FORMAT_KEY, parseObjectName, type ObjectName } from "../object-store/object-names.ts";
import type { CallOptions, ObjectStore } from "../object-store/object-store.ts";
import { systemRuntime, type Runtime } from "../runtime/runtime.ts";
import { decodeCatalog } from "./catalog-file.ts";
import { connect } from "./connect.ts";
import { dumpCheckpoint } from "./dump/dump-checkpoint.ts";
import { dumpDataObject } from "./dump/dump-data-object.ts";
import { dumpIndexFile } from "./dump/dump-index-file.ts";
import { damageAt, damageItem, type ByteSource, type DumpItem } from "./dump/dump-item.ts";
import { parseStoreFormat } from "./store-format.ts";

export type { DumpItem } from "./dump/dump-item.ts";

export interface DumpOptions {
  /** Records as well, not only batches. */
  readonly records: boolean;
  readonly signal?: AbortSignal;
  readonly runtime?: Partial<Runtime>;
}

/** Keys named in the error where an end fits several. */
const SHOWN_KEYS = 5;

/**
 * What one object of the store holds, part by part, as far as it can be read; damage is a part, too. `name`: its key, or an end of it that
 * no other key has. `NotFoundError`; `InvalidArgumentError` where several keys end so; `ConfigError`, `ObjectStoreError`, `AbortedError`.
 */
export async function* dumpObject(config: Config, name: string, options: DumpOptions): AsyncGenerator<DumpItem> {
  if (config.storage.kind === "memory") {
    const problem = '"memory" ends with its process: there is nothing to show; use "fs" or "object"';
    throw new ConfigError([{ path: "system.storage.kind", problem }]);
  }
  const runtime: Runtime = { ...systemRuntime, ...options.runtime };
  const connection = await connect({ config, runtime, readOnly: true, objectStore: undefined });
  const { signal, records } = options;
  const calls: CallOptions = signal === undefined ? {} : { signal };
  try {
    const { key, parsed } = await findObject(connection.store, name, calls);
    const source = await objectSource(connection.store, key, calls);
    yield { type: "object", depth: 0, fields: { key, kind: parsed.kind, sizeBytes: source.sizeBytes } };
    for await (const item of dumpSource(source, key, parsed, records)) {
      if (signal?.aborted === true) throw new AbortedError("dump", { cause: signal.reason });
      yield item;
    }
  } finally {
    await connection.close();
  }
}

function dumpSource(source: ByteSource, key: ObjectKey, name: ObjectName, records: boolean): AsyncGenerator<DumpItem> {
  switch (name.kind) {
    case "index":
      return dumpIndexFile(source, name, records);
    case "checkpoint":
      return dumpCheckpoint(source, name);
    case "data":
      return dumpDataObject(source, name, records);
    case "format":
      return dumpJson(source, parseStoreFormat);
    case "catalog":
      return dumpJson(source, (body) => decodeCatalog(body, key, name.version));
    case "probe-record":
    case "probe-run":
      return dumpJson(source, () => undefined);
  }
}

/** `check` throws where the text is not what it should be. */
async function* dumpJson(source: ByteSource, check: (body: Uint8Array) => unknown): AsyncGenerator<DumpItem> {
  const body = await source.read(0, source.sizeBytes);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body).toString("utf8"));
  } catch {
    yield damageAt(0, 0, `not JSON: ${JSON.stringify(Buffer.from(body.subarray(0, 100)).toString("latin1"))}`);
    return;
  }
  yield { type: "json", depth: 0, fields: { value } };
  try {
    check(body);
  } catch (error) {
    yield damageItem(error, 0, 0);
  }
}

async function findObject(
  store: ObjectStore,
  name: string,
  calls: CallOptions,
): Promise<{ readonly key: ObjectKey; readonly parsed: ObjectName }> {
  const parsed = parseObjectName(name as ObjectKey);
  if (parsed !== undefined) return { key: name as ObjectKey, parsed };
  if (name === "") throw new InvalidArgumentError("NAME", name, "is empty");
  const found: { readonly key: ObjectKey; readonly parsed: ObjectName }[] = [];
  let count = 0;
  const look = (key: ObjectKey): void => {
    const parsed = key.endsWith(name) ? parseObjectName(key) : undefined;
    if (parsed === undefined) return;
    count++;
    if (found.length < SHOWN_KEYS) found.push({ key, parsed });
  };
  look(FORMAT_KEY);
  for (const directory of directoriesOfTail(name)) {
    for await (const { key } of store.list(directory, calls)) look(key);
  }
  const [first] = found;
  if (first === undefined) {
    throw new NotFoundError(
      `an object whose name ends with ${JSON.stringify(name)}`,
      "give its key as verify shows it",
    );
  }
  if (count > 1) {
    const shown = found.map(({ key }) => key).join(", ");
    const more = count > found.length ? ` and ${count - found.length} more` : "";
    throw new InvalidArgumentError("NAME", name, `${count} objects end so: ${shown}${more}`);
  }
  return first;
}

async function objectSource(store: ObjectStore, key: ObjectKey, calls: CallOptions): Promise<ByteSource> {
  const found = await store.head(key, calls);
  if (found === undefined) throw new NotFoundError(`object ${key}`, "tierlog verify shows what is missing");
  const { sizeBytes } = found;
  return {
    name: key,
    sizeBytes,
    async read(start, end) {
      if (start >= end) return new Uint8Array(0);
      const part = await store.get(key, { ...calls, range: { start, end } });
      if (part === undefined) throw new NotFoundError(`object ${key}`, "it was deleted while it was read");
      return part.body;
    },
  };
}
