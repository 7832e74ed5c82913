import type { RandomAccessFile } from "../runtime/random-access-file.ts";

/** Writes all bytes. Rejects with Node's own errors; then some of them may be written. */
export async function writeAll(file: RandomAccessFile, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const written = await file.write(at === 0 ? bytes : bytes.subarray(at), position + at);
    if (written === 0) throw Object.assign(new Error("EIO: a write took no bytes"), { code: "EIO" });
    at += written;
  }
}

/** As many of `bytes` from `position` on as the file has. Rejects with Node's own errors. */
export async function readUpTo(file: RandomAccessFile, bytes: number, position: number): Promise<Buffer> {
  const target = Buffer.allocUnsafeSlow(bytes);
  let at = 0;
  while (at < bytes) {
    const read = await file.read(target.subarray(at), position + at);
    if (read === 0) break;
    at += read;
  }
  return target.subarray(0, at);
}
