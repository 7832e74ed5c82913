import * as fs from "node:fs/promises";

/** The first `bytesMax` bytes of a file, or all it has; a symbolic link is followed. Rejects with Node's own errors. */
export async function readSmallFile(path: string, bytesMax: number): Promise<Uint8Array> {
  const file = await fs.open(path, "r");
  try {
    const buffer = Buffer.alloc(bytesMax);
    let length = 0;
    while (length < bytesMax) {
      const { bytesRead } = await file.read(buffer, length, bytesMax - length, null);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return buffer.subarray(0, length);
  } finally {
    await file.close();
  }
}
