import * as fs from "node:fs/promises";

import { errorCode } from "./file-system.ts";

export async function directoryExists(path: string): Promise<boolean> {
  try {
    return (await fs.stat(path)).isDirectory();
  } catch (error) {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR") return false;
    throw error;
  }
}

/** Removes a directory with all that is in it; a missing one is success. */
export async function removeDirectoryTree(path: string): Promise<void> {
  await fs.rm(path, { recursive: true, force: true });
}

/** Removes a directory unless something is in it. */
export async function removeEmptyDirectory(path: string): Promise<void> {
  try {
    await fs.rmdir(path);
  } catch (error) {
    const code = errorCode(error) ?? "";
    if (!["ENOTEMPTY", "EEXIST", "ENOENT"].includes(code)) throw error;
  }
}
