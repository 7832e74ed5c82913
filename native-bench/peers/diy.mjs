import { createWriteStream } from "node:fs";
import { open } from "node:fs/promises";

import { libStorageUploads } from "../contestants/s3-clients.mjs";
import { grouped } from "./grouped.mjs";

/** What people write when they need "just a file". */

/** Values that wait are written together and synced once: a group commit in 10 lines, a growing file, no framing, no checksum. */
export async function diySynced({ workspace, values }) {
  const file = await open(workspace.path("diy"), "a");
  const append = grouped(async (batch) => {
    await file.writev(batch);
    await file.datasync();
  });
  let n = 0;
  return { append: () => append(values[n++ % values.length]), close: () => file.close() };
}

/** A stream of Node: its callback says that the system has the bytes. */
export async function diyStream({ workspace, values }) {
  const stream = createWriteStream(workspace.path("diy"), { flags: "a", highWaterMark: 1024 * 1024 });
  let n = 0;
  return {
    append: () =>
      new Promise((resolve, reject) => {
        stream.write(values[n++ % values.length], (error) => (error ? reject(error) : resolve()));
      }),
    close: () => new Promise((resolve) => stream.end(resolve)),
  };
}

/** Values that wait become one object of lib-storage, with a client as it comes; acknowledged when it is there. */
export async function diyUpload({ sink, values }) {
  const uploads = await libStorageUploads(sink, Buffer.alloc(0), { tuned: false });
  if (uploads.skipped !== undefined) return uploads;
  const append = grouped((batch) => uploads.upload(Buffer.concat(batch)));
  let n = 0;
  return { append: () => append(values[n++ % values.length]), close: () => uploads.close() };
}
