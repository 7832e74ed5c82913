import { grouped } from "./grouped.mjs";
import { importPeer } from "./import-peer.mjs";

/** Stores that are a library: values under ascending keys. */

/** lmdb gathers puts into transactions by itself. `synced`: acknowledged when the transaction is on the disk. */
export const lmdb =
  (synced) =>
  async ({ workspace, values }) => {
    const peer = await importPeer("lmdb");
    if (peer.skipped !== undefined) return peer;
    const db = peer.open({
      path: workspace.path("lmdb"),
      encoding: "binary",
      keyEncoding: "uint32",
      // With it the promise of a put is kept before the sync.
      overlappingSync: false,
      noSync: !synced,
    });
    let n = 0;
    return {
      append() {
        n++;
        return db.put(n, values[n % values.length]);
      },
      close: () => db.close(),
    };
  };

export const classicLevel =
  (synced) =>
  async ({ workspace, values }) => {
    const peer = await importPeer("classic-level");
    if (peer.skipped !== undefined) return peer;
    const db = new peer.ClassicLevel(workspace.path("level"), {
      keyEncoding: "utf8",
      valueEncoding: "buffer",
      compression: false,
    });
    await db.open();
    let key = 0;
    const append = grouped((batch) =>
      db.batch(
        batch.map((value) => ({ type: "put", key: String(++key).padStart(12, "0"), value })),
        { sync: synced },
      ),
    );
    let n = 0;
    return { append: () => append(values[n++ % values.length]), close: () => db.close() };
  };

/** As it comes; whether it syncs before its promise is kept is its own affair. */
export const hypercore = async ({ workspace, values }) => {
  const peer = await importPeer("hypercore");
  if (peer.skipped !== undefined) return peer;
  const core = new peer.default(workspace.path("hypercore"));
  await core.ready();
  const append = grouped((batch) => core.append(batch));
  let n = 0;
  return { append: () => append(values[n++ % values.length]), close: () => core.close() };
};
