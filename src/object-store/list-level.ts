import type { ObjectKey } from "../domain.ts";
import type { ObjectStore, PagedOptions } from "./object-store.ts";

/** One level of names, as a directory shows it. */
export interface Level {
  /** Keys without a slash behind the prefix. */
  readonly keys: readonly ObjectKey[];
  /** What the other keys begin with, up to and with the next slash: each once, in order. */
  readonly directories: readonly string[];
}

/** Nothing in a directory sorts behind a name that begins with it; should something, it is met once more and passed. */
const LAST_CHARACTER = "\u{10FFFF}";

/**
 * What lies directly below `prefix` ("" or ending with a slash), without going through what the directories hold: one request for
 * each of them, and one per page of keys.
 */
export async function listLevel(store: ObjectStore, prefix: string, options: PagedOptions = {}): Promise<Level> {
  const keys: ObjectKey[] = [];
  const directories: string[] = [];
  let startAfter: ObjectKey | undefined;
  for (;;) {
    let entered: string | undefined;
    for await (const { key } of store.list(prefix, {
      ...options,
      ...(startAfter === undefined ? {} : { startAfter }),
    })) {
      const slash = key.indexOf("/", prefix.length);
      const directory = slash === -1 ? undefined : key.slice(0, slash + 1);
      if (directory === undefined) keys.push(key);
      else if (directory !== directories.at(-1)) {
        entered = directory;
        break;
      }
    }
    if (entered === undefined) return { keys, directories };
    directories.push(entered);
    startAfter = (entered + LAST_CHARACTER) as ObjectKey;
  }
}
