import * as fs from "node:fs/promises";

/**
 * A whole file as text; a symbolic link is followed (a mounted config often is one). Rejects with Node's own errors, and with
 * a `TypeError` when the bytes are not UTF-8.
 */
export async function readTextFile(path: string): Promise<string> {
  return new TextDecoder("utf-8", { fatal: true }).decode(await fs.readFile(path));
}
