import type { Readable } from "node:stream";

import { asTierlogError, InvalidArgumentError, NotFoundError } from "../errors.ts";
import { readFileChunks } from "../runtime/file-chunks.ts";
import { errorCode } from "../runtime/file-system.ts";

/** The bytes of a file, or of stdin for "-", as fast as the caller takes them. `NotFoundError`, `InvalidArgumentError`. */
export async function* readInput(path: string, stdin: Readable): AsyncGenerator<Uint8Array> {
  try {
    yield* path === "-" ? (stdin as AsyncIterable<Uint8Array>) : readFileChunks(path);
  } catch (error) {
    throw inputError(path, error);
  }
}

function inputError(path: string, error: unknown): Error {
  const code = errorCode(error) ?? "";
  if (code === "ENOENT" || code === "ENOTDIR") return new NotFoundError(`file ${path}`, "check the name");
  if (code === "EISDIR") return new InvalidArgumentError(path, path, "is a directory, not a file");
  if (code === "EACCES") return new InvalidArgumentError(path, path, "may not be read by this user");
  return asTierlogError(error);
}
