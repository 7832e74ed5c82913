import type { ObjectKey } from "../domain.ts";
import { joinPath, type FileSystem } from "../runtime/file-system.ts";
import { pathOfPrefix, readPiece, segmentOfName } from "./file-name.ts";
import { compareKeys } from "./object-key.ts";

interface Found {
  readonly key: ObjectKey;
  readonly path: string;
}

interface Entry {
  /** The key, for a file; the common start of all keys below, with its slash, for a directory. */
  readonly key: string;
  readonly path: string;
  readonly kind: "file" | "directory";
}

/**
 * Every object below `root` whose key starts with `prefix` and sorts behind `startAfter`, in the order of UTF-8 bytes. Reads one
 * directory at a time and holds one per level; `onDirectory` is called before each.
 */
export async function* listTree(
  fileSystem: FileSystem,
  root: string,
  prefix: string,
  startAfter: string | undefined,
  onDirectory: () => void,
): AsyncGenerator<Found> {
  const parent = prefix.slice(0, prefix.lastIndexOf("/") + 1);
  yield* below(joinPath(root, ...pathOfPrefix(parent)), parent);

  async function* below(path: string, parentKey: string): AsyncGenerator<Found> {
    const entries = (await read(path, parentKey, "")).filter(wanted);
    // A directory sorts as if its name ended with the slash: "a-b" comes before "a/b", and both after the file "a".
    entries.sort((a, b) => compareKeys(a.key, b.key));
    for (const entry of entries) {
      if (entry.kind === "directory") yield* below(entry.path, entry.key);
      else yield { key: entry.key as ObjectKey, path: entry.path };
    }
  }

  /** `pieces`: the start of a long name whose rest lies in this directory. */
  async function read(path: string, parentKey: string, pieces: string): Promise<Entry[]> {
    onDirectory();
    const found: Entry[] = [];
    for (const { name, kind } of await fileSystem.list(path)) {
      const entryPath = joinPath(path, name);
      const piece = readPiece(name, pieces === "");
      // A link, a socket, or a name that we would not write: not ours, no object.
      if (piece === undefined || kind === "other") continue;
      if (piece.continued) {
        if (kind === "directory") found.push(...(await read(entryPath, parentKey, pieces + piece.text)));
        continue;
      }
      const segment = segmentOfName(pieces + piece.text, kind);
      if (segment === undefined) continue;
      found.push({ key: parentKey + segment + (kind === "directory" ? "/" : ""), path: entryPath, kind });
    }
    return found;
  }

  function wanted(entry: Entry): boolean {
    const inPrefix = entry.key.startsWith(prefix) || (entry.kind === "directory" && prefix.startsWith(entry.key));
    if (!inPrefix) return false;
    if (startAfter === undefined || compareKeys(entry.key, startAfter) > 0) return true;
    return entry.kind === "directory" && startAfter.startsWith(entry.key);
  }
}
