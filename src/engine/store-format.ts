import { CorruptionError, NotFoundError, UnsupportedVersionError } from "../errors.ts";
import { FORMAT_KEY } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { Runtime } from "../runtime/runtime.ts";

const STORE_FORMAT_VERSION = 1;

export interface StoreFormat {
  readonly storeId: string;
}

/**
 * Reads the object FORMAT, or creates it where the store is empty and may be written. It is immutable: of two processes that
 * create it at once one wins, and both go on with what stands there.
 */
export async function openStoreFormat(store: ObjectStore, runtime: Runtime, readOnly: boolean): Promise<StoreFormat> {
  const found = await store.get(FORMAT_KEY);
  if (found !== undefined) return parse(found.body);
  if (readOnly) {
    throw new NotFoundError(
      "the store",
      "nothing was ever written here: create a topic first (tierlog topics create NAME --partitions N), or check path, bucket and prefix",
    );
  }
  const storeId = Buffer.from(runtime.random.bytes(16)).toString("hex");
  const format = {
    format: "tierlog",
    version: STORE_FORMAT_VERSION,
    storeId,
    createdAt: new Date(runtime.clock.now()).toISOString(),
  };
  const outcome = await store.put(FORMAT_KEY, Buffer.from(`${JSON.stringify(format, undefined, 2)}\n`), {
    condition: { kind: "if-absent" },
  });
  if (outcome.kind === "written") return { storeId };
  const winner = await store.get(FORMAT_KEY);
  if (winner === undefined)
    throw new CorruptionError(
      FORMAT_KEY,
      0,
      "the store refused to create it because it exists, and then said that it does not",
    );
  return parse(winner.body);
}

function parse(body: Uint8Array): StoreFormat {
  const value = parseJson(body);
  if (value["format"] !== "tierlog" || typeof value["storeId"] !== "string") {
    throw new CorruptionError(FORMAT_KEY, 0, "not the format object of a tierlog store");
  }
  if (value["version"] !== STORE_FORMAT_VERSION) {
    throw new UnsupportedVersionError("store", String(value["version"]), STORE_FORMAT_VERSION);
  }
  return { storeId: value["storeId"] };
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
