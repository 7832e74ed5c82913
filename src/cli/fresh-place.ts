import type { Config } from "../config/config.ts";
import type { Flags } from "../config/flag-settings.ts";
import type { ObjectKey } from "../domain.ts";
import { deleteKeys } from "../object-store/delete-keys.ts";
import { FORMAT_KEY } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { directoryExists, removeDirectoryTree, removeEmptyDirectory } from "../runtime/directory.ts";
import { joinPath } from "../runtime/file-system.ts";

const DELETE_KEYS = 999;

/** A fresh corner of the configured store, so that a demo or a measurement meets nothing of others and leaves nothing behind. */
export interface FreshPlace {
  /** For people. */
  readonly name: string;
  /** Settings that lead there. */
  readonly flags: Flags;
  /** Removes all that was made there. `store` is the one the flags lead to. */
  remove(store: ObjectStore): Promise<void>;
}

export async function freshPlace(config: Config, id: string): Promise<FreshPlace> {
  const place = await storePlace(config, id);
  if (config.storage.object.ackAfterUpload) return place;
  // A journal belongs to one store: that of the configured one would be refused, or taken from it.
  const path = joinPath(config.journal.path, id);
  const hadParent = await directoryExists(config.journal.path);
  return {
    name: place.name,
    flags: { ...place.flags, "system.journal.path": path },
    async remove(store) {
      await removeDirectoryTree(path);
      if (!hadParent) await removeEmptyDirectory(config.journal.path);
      await place.remove(store);
    },
  };
}

async function storePlace(config: Config, id: string): Promise<FreshPlace> {
  const { kind, object } = config.storage;
  if (kind === "memory") {
    return { name: "memory of this process", flags: {}, remove: () => Promise.resolve() };
  }
  if (kind === "fs") {
    const path = joinPath(config.path, id);
    const hadParent = await directoryExists(config.path);
    return {
      name: path,
      flags: { "system.path": path },
      async remove() {
        await removeDirectoryTree(path);
        if (!hadParent) await removeEmptyDirectory(config.path);
      },
    };
  }
  const prefix = object.prefix === "" ? id : `${object.prefix}/${id}`;
  return {
    name: `bucket ${object.bucket}, prefix ${prefix}`,
    flags: { "system.storage.object.prefix": prefix },
    remove: deleteAll,
  };
}

export async function countObjects(store: ObjectStore): Promise<number> {
  let count = 0;
  for await (const _ of store.list("")) count++;
  return count;
}

/** FORMAT last: while it is there, `tierlog stores delete` takes what an interrupted run has left. */
async function deleteAll(store: ObjectStore): Promise<void> {
  let keys: ObjectKey[] = [];
  for await (const { key } of store.list("")) {
    if (key === FORMAT_KEY) continue;
    keys.push(key);
    if (keys.length === DELETE_KEYS) {
      await deleteKeys(store, keys, undefined);
      keys = [];
    }
  }
  await deleteKeys(store, [...keys, FORMAT_KEY], undefined);
}
