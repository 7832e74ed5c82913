import { createReadStream } from "node:fs";

/**
 * The bytes of a file, piece by piece, read only as fast as the caller goes on. Rejects with Node's own errors, the first time
 * at the first piece. Follows symbolic links and reads pipes.
 */
export function readFileChunks(path: string): AsyncIterable<Uint8Array> {
  return createReadStream(path, { highWaterMark: 256 * 1024 });
}
