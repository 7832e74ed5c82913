import type { Epoch, ObjectKey, Seq, ShardId } from "../domain.ts";
import {
  CATALOG_PREFIX,
  DATA_PREFIX,
  PROBE_PREFIX,
  checkpointPrefix,
  indexPrefix,
  parseCatalogKey,
  parseObjectName,
} from "../object-store/object-names.ts";
import type { ObjectInfo, ObjectStore } from "../object-store/object-store.ts";
import type { OpenUpload, OpenUploads } from "../object-store/open-uploads.ts";
import { judge, judgeUpload, oldCatalogs, oldProbeRecords, type Judgement, type ShardView } from "./garbage.ts";

/** Something in the store that is garbage, or of which only its shard's owner knows. */
export type Found = {
  readonly key: ObjectKey;
  readonly sizeBytes: number;
  readonly storedAtMs: number | undefined;
  readonly judgement: Exclude<Judgement, { readonly kind: "live" }>;
} & (
  | { readonly kind: "link"; readonly shard: ShardId; readonly seq: Seq }
  | { readonly kind: "checkpoint"; readonly shard: ShardId; readonly seq: Seq }
  | { readonly kind: "object"; readonly shard: ShardId; readonly epoch: Epoch }
  | { readonly kind: "upload"; readonly shard: ShardId; readonly epoch: Epoch; readonly uploadId: string }
  | { readonly kind: "catalog"; readonly shard?: undefined }
  | { readonly kind: "probe"; readonly shard?: undefined }
);

type Views = ReadonlyMap<ShardId, ShardView>;

/** The listings of a store, as far as they show garbage. One request per 1,000 objects each. */
export class GarbageListing {
  readonly #store: ObjectStore;
  readonly #signal: AbortSignal | undefined;

  constructor(store: ObjectStore, signal: AbortSignal | undefined) {
    this.#store = store;
    this.#signal = signal;
  }

  /** Links below `before`, with what is behind them not looked at. */
  async *links(shard: ShardId, before: Seq): AsyncGenerator<ObjectInfo & { readonly seq: Seq }> {
    for await (const info of this.#list(indexPrefix(shard))) {
      const name = parseObjectName(info.key);
      if (name?.kind !== "index") continue;
      if (name.seq >= before) return;
      yield { ...info, seq: name.seq };
    }
  }

  async *checkpoints(shard: ShardId, view: ShardView): AsyncGenerator<Found> {
    for await (const info of this.#list(checkpointPrefix(shard))) {
      const name = parseObjectName(info.key);
      if (name?.kind !== "checkpoint") continue;
      const judgement = judge(name, info.key, view);
      if (judgement.kind !== "live") yield { ...told(info), judgement, kind: "checkpoint", shard, seq: name.seq };
    }
  }

  /** Of the shards in `views`, one listing for all. */
  async *objects(views: Views): AsyncGenerator<Found> {
    for await (const info of this.#list(DATA_PREFIX)) {
      const name = parseObjectName(info.key);
      const view = name?.kind === "data" ? views.get(name.shard) : undefined;
      if (name?.kind !== "data" || view === undefined) continue;
      const { shard, epoch } = name;
      const judgement = judge(name, info.key, view);
      if (judgement.kind !== "live") yield { ...told(info), judgement, kind: "object", shard, epoch };
    }
  }

  /** false: the store does not tell of open uploads. */
  async uploads(uploads: OpenUploads, views: Views, onFound: (found: Found) => void): Promise<boolean> {
    const each = ({ key, uploadId, beganAtMs }: OpenUpload): boolean => {
      const name = parseObjectName(key);
      const view = name?.kind === "data" ? views.get(name.shard) : undefined;
      if (name?.kind !== "data" || view === undefined) return true;
      const { shard, epoch } = name;
      const judgement = judgeUpload(epoch, key, view);
      if (judgement.kind !== "live")
        onFound({ key, sizeBytes: 0, storedAtMs: beganAtMs, judgement, kind: "upload", shard, epoch, uploadId });
      return true;
    };
    return await uploads.each(DATA_PREFIX, each, this.#signal);
  }

  /** Versions of the catalog that are older than the newest two. */
  async *catalogs(): AsyncGenerator<Found> {
    const versions: ObjectInfo[] = [];
    for await (const info of this.#list(CATALOG_PREFIX))
      if (parseCatalogKey(info.key) !== undefined) versions.push(info);
    const judgement = { kind: "garbage", reason: "newer versions count" } as const;
    for (const info of oldCatalogs(versions)) yield { ...told(info), judgement, kind: "catalog" };
  }

  /** Old records of probes, and what probes that died left behind. */
  async *probes(): AsyncGenerator<Found> {
    const records: ObjectInfo[] = [];
    for await (const info of this.#list(PROBE_PREFIX)) {
      const kind = parseObjectName(info.key)?.kind;
      if (kind === "probe-record") records.push(info);
      else if (kind === "probe-run")
        yield { ...told(info), judgement: { kind: "garbage", reason: "left by a probe" }, kind: "probe" };
    }
    const judgement = { kind: "garbage", reason: "newer records count" } as const;
    for (const info of oldProbeRecords(records)) yield { ...told(info), judgement, kind: "probe" };
  }

  #list(prefix: string): AsyncIterable<ObjectInfo> {
    return this.#store.list(prefix, this.#signal === undefined ? {} : { signal: this.#signal });
  }
}

function told({ key, sizeBytes, modifiedAtMs }: ObjectInfo): Pick<Found, "key" | "sizeBytes" | "storedAtMs"> {
  return { key, sizeBytes, storedAtMs: modifiedAtMs };
}
