import type { FileSystem } from "../runtime/file-system.ts";
import type { RandomAccessFile } from "../runtime/random-access-file.ts";
import { diskError } from "./disk-error.ts";
import { writeAll } from "./whole-io.ts";

/** One write into a fresh file: larger ones are several times slower where the page cache has to make new pages. */
const ZEROS_BYTES = 256 * 1024;
/** Between two syncs of a file being made, so that the sync of a frame does not wait behind many MiB of zeros. */
const ZEROS_PER_SYNC = 4 * 1024 * 1024;

const zeros = Buffer.alloc(ZEROS_BYTES);

/**
 * Makes a file full of zeros: overwriting bytes that are on the disk already costs a sync half of what growing a file does. With
 * its name on the disk when it resolves, if `durable`. Leaves nothing behind when it rejects (DiskFullError, StorageIoError).
 */
export async function makeSlot(
  fileSystem: FileSystem,
  directory: string,
  path: string,
  sizeBytes: number,
  durable: boolean,
): Promise<void> {
  try {
    // Left by a creation that failed and could not be cleaned up either.
    await fileSystem.remove(path);
    const handle = await fileSystem.open(path, { access: "write", create: "new" });
    try {
      await fill(handle, sizeBytes, durable);
    } catch (error) {
      await handle.close().catch(() => undefined);
      await fileSystem.remove(path);
      throw error;
    }
    await handle.close();
    if (durable) await fileSystem.syncDirectory(directory);
  } catch (error) {
    throw diskError("creation", path, error);
  }
}

async function fill(handle: RandomAccessFile, sizeBytes: number, durable: boolean): Promise<void> {
  let unsynced = 0;
  for (let at = 0; at < sizeBytes;) {
    const piece = zeros.subarray(0, Math.min(ZEROS_BYTES, sizeBytes - at));
    await writeAll(handle, piece, at);
    at += piece.length;
    unsynced += piece.length;
    if (!durable || unsynced < ZEROS_PER_SYNC) continue;
    await handle.datasync();
    unsynced = 0;
  }
  if (durable) await handle.sync();
}
