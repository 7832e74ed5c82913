import { CorruptionError, NotFoundError, UnsupportedVersionError } from "../errors.ts";
import { FORMAT_KEY } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { Runtime } from "../runtime/runtime.ts";

const STORE_FORMAT_VERSION = 1;

export interface StoreFormat {
  readonly storeId: string;
  readonly version: number;
  /** ISO 8601. */
  readonly createdAt: string;
}

export interface OpenedFormat extends StoreFormat {
  /** By this call. */
  readonly created: boolean;
}

/**
 * Reads the object FORMAT, or creates it where the store is empty and may be written. It is immutable: of two processes that
 * create it at once one wins, and both go on with what stands there.
 */
export async function openStoreFormat(store: ObjectStore, runtime: Runtime, readOnly: boolean): Promise<OpenedFormat> {
  const found = await store.get(FORMAT_KEY);
  if (found !== undefined) return { ...parseStoreFormat(found.body), created: false };
  if (readOnly) {
    throw new NotFoundError(
      "the store",
      "nothing was ever written here: create a topic first (tierlog topics create NAME --partitions N), or check path, bucket and prefix",
    );
  }
  const storeId = Buffer.from(runtime.random.bytes(16)).toString("hex");
  const createdAt = new Date(runtime.clock.now()).toISOString();
  const version = STORE_FORMAT_VERSION;
  const format = { format: "tierlog", version, storeId, createdAt };
  const outcome = await store.put(FORMAT_KEY, Buffer.from(`${JSON.stringify(format, undefined, 2)}\n`), {
    condition: { kind: "if-absent" },
  });
  if (outcome.kind === "written") return { storeId, version, createdAt, created: true };
  const winner = await store.get(FORMAT_KEY);
  if (winner === undefined)
    throw new CorruptionError(
      FORMAT_KEY,
      0,
      "the store refused to create it because it exists, and then said that it does not",
    );
  return { ...parseStoreFormat(winner.body), created: false };
}

/** Does this body say that a tierlog store is here, of whatever version? */
export function isStoreFormat(body: Uint8Array): boolean {
  try {
    return parseJson(body)["format"] === "tierlog";
  } catch {
    return false;
  }
}

/** `CorruptionError`; `UnsupportedVersionError` for a version that this one cannot read. */
export function parseStoreFormat(body: Uint8Array): StoreFormat {
  const value = parseJson(body);
  const { format, version, storeId, createdAt } = value;
  if (format !== "tierlog") throw new CorruptionError(FORMAT_KEY, 0, "not the format object of a tierlog store");
  // First: another version may say anything else in another way.
  if (version !== STORE_FORMAT_VERSION) {
    const found = typeof version === "number" ? version : JSON.stringify(version ?? null);
    throw new UnsupportedVersionError("format of the store (object FORMAT)", found, STORE_FORMAT_VERSION);
  }
  if (typeof storeId !== "string" || typeof createdAt !== "string") {
    throw new CorruptionError(FORMAT_KEY, 0, "names no store id, or no time");
  }
  return { storeId, version, createdAt };
}

function parseJson(body: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString("utf8"));
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch (error) {
    throw new CorruptionError(FORMAT_KEY, 0, "not JSON", { cause: error });
  }
  throw new CorruptionError(FORMAT_KEY, 0, "not a JSON object");
}
