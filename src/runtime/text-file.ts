import * as fs from "node:fs/promises";

import { errorCode } from "./file-system.ts";

/**
 * A whole file as text; a symbolic link is followed (a mounted config often is one). Rejects with Node's own errors, and with
 * a `TypeError` when the bytes are not UTF-8.
 */
export async function readTextFile(path: string): Promise<string> {
  return new TextDecoder("utf-8", { fatal: true }).decode(await fs.readFile(path));
}

/** The permission bits of a file, as in 0o600; a symbolic link is followed. undefined: there is no such file. */
export async function fileMode(path: string): Promise<number | undefined> {
  try {
    const stat = await fs.stat(path);
    return stat.isFile() ? stat.mode & 0o777 : undefined;
  } catch (error) {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR") return undefined;
    throw error;
  }
}
