import type { AckLevel, AppendReceipt } from "../../src/domain.ts";
import type { EngineApi } from "../../src/engine/api.ts";
import type { Effect } from "../../src/errors.ts";
import { decodeRecords, readBatchHeader } from "../../src/record/batch.ts";

/** What the append of one record was told. */
type Told =
  | {
      readonly kind: "acked";
      readonly level: AckLevel;
      readonly offset: number;
      readonly epoch: number;
      readonly by: string;
    }
  | { readonly kind: "unknown"; readonly by: string }
  | { readonly kind: "none"; readonly by: string };

interface Stored {
  readonly value: string;
  readonly epoch: number;
}

export interface JournaledCounts {
  readonly uploaded: number;
  readonly journaled: number;
  readonly buffered: number;
  readonly unknown: number;
  readonly none: number;
  readonly setAside: number;
}

/** What producers were told and readers saw, and the check of what is stored against it, by the level of the ack. */
export class JournaledLedger {
  readonly #told = new Map<string, Told>();
  /** By partition, epoch and offset. */
  readonly #seenJournaled = new Map<string, string>();
  /** By partition and offset. */
  readonly #seenUploaded = new Map<string, string>();
  reads = 0;

  acked(ids: readonly string[], receipt: AppendReceipt, by: string): void {
    const { level, firstOffset, epoch } = receipt;
    if (receipt.nextOffset - firstOffset !== ids.length) throw new Error(`${ids[0]}: ${JSON.stringify(receipt)}`);
    for (const [i, id] of ids.entries())
      this.#told.set(id, { kind: "acked", level, offset: firstOffset + i, epoch, by });
  }

  failed(ids: readonly string[], effect: Effect, by: string): void {
    for (const id of ids) this.#told.set(id, { kind: effect, by });
  }

  /** A batch as a reader got it. */
  saw(where: string, level: "journaled" | "uploaded", batch: Uint8Array): void {
    const { epoch } = readBatchHeader(batch, 0, { key: where, position: 0 });
    for (const { offset, value } of decodeRecords(batch, { key: where, position: 0 })) {
      this.reads++;
      const text = idOf(value);
      note(this.#seenJournaled, `${where} epoch ${epoch} offset ${offset}`, text);
      if (level === "uploaded") note(this.#seenUploaded, `${where} offset ${offset}`, text);
    }
  }

  /**
   * `aside`: ids of the records found in files set aside. `mayBeAside`: another writer took a shard over, so that journaled records
   * may be there instead of in the log; `mayBeBoth`: or in both.
   */
  async check(
    engine: EngineApi,
    aside: ReadonlySet<string>,
    { mayBeAside, mayBeBoth }: { mayBeAside: boolean; mayBeBoth: boolean },
  ): Promise<JournaledCounts> {
    const found = new Map<string, { readonly offset: number; readonly epoch: number }>();
    for (const { name, partitions } of await engine.listTopics()) {
      for (let number = 0; number < partitions; number++) await this.#checkPartition(engine, name, number, found);
    }
    for (const id of mayBeBoth ? [] : aside) {
      if (found.has(id)) throw new Error(`${id} is set aside, and stands at ${found.get(id)?.offset}`);
    }
    const standsAt = (offset: number, by: string): string => {
      const where = by.split(" ")[3] ?? "";
      return `; there stands ${this.#seenUploaded.get(`${where} offset ${offset}`)}`;
    };
    const counts = { uploaded: 0, journaled: 0, buffered: 0, unknown: 0, none: 0, setAside: aside.size };
    for (const [id, told] of this.#told) {
      counts[told.kind === "acked" ? told.level : told.kind] += 1;
      const stored = found.get(id);
      if (told.kind === "none") {
        if (stored !== undefined)
          throw new Error(`${id} (${told.by}) was told effect "none" and is at ${stored.offset}`);
        continue;
      }
      if (told.kind === "unknown") continue;
      const { level, offset, epoch, by } = told;
      const what = `${id} (${by}) was acked ${level} at ${offset} in epoch ${epoch}`;
      if (stored === undefined) {
        if (level === "uploaded") throw new Error(`${what} and is lost${standsAt(offset, by)}`);
        if (level === "journaled" && !(mayBeAside && aside.has(id)))
          throw new Error(`${what} and is lost${standsAt(offset, by)}, aside: ${aside.has(id)}`);
        continue;
      }
      if (stored.offset !== offset) throw new Error(`${what} and stands at ${stored.offset}`);
      if (level !== "buffered" && stored.epoch !== epoch)
        throw new Error(`${what} and stands in epoch ${stored.epoch}`);
    }
    return counts;
  }

  async #checkPartition(
    engine: EngineApi,
    topic: string,
    number: number,
    found: Map<string, { readonly offset: number; readonly epoch: number }>,
  ): Promise<void> {
    const where = `${topic}/${number}`;
    const stored = await readStored(engine, topic, number);
    const last = new Map<string, number>();
    for (const [offset, { value: id, epoch }] of stored.entries()) {
      const at = `${id} at offset ${offset} of ${where}`;
      if (!this.#told.has(id)) throw new Error(`${at} was never appended`);
      if (found.has(id)) throw new Error(`${at} is there twice, also at ${found.get(id)?.offset}`);
      const [, producer = "", n] = /^(.*)\.(\d+)$/.exec(id) ?? [];
      if (Number(n) <= (last.get(producer) ?? -1))
        throw new Error(`${at} is out of order, behind ${last.get(producer)}`);
      last.set(producer, Number(n));
      found.set(id, { offset, epoch });
      note(this.#seenJournaled, `${where} epoch ${epoch} offset ${offset}`, id);
      note(this.#seenUploaded, `${where} offset ${offset}`, id);
    }
    for (const key of this.#seenUploaded.keys()) {
      if (key.startsWith(`${where} `) && Number(key.split(" ").at(-1)) >= stored.length) {
        throw new Error(`a reader saw ${key} as uploaded, the log ends at ${stored.length}`);
      }
    }
  }
}

async function readStored(engine: EngineApi, topic: string, number: number): Promise<Stored[]> {
  const partition = (await engine.topic(topic)).partition(number);
  const stored: Stored[] = [];
  for (;;) {
    const { batches, nextOffset } = await partition.read({ from: stored.length });
    if (batches.length === 0) return stored;
    for (const batch of batches) {
      const { epoch } = readBatchHeader(batch, 0, { key: topic, position: 0 });
      for (const { offset, value } of decodeRecords(batch, { key: topic, position: 0 })) {
        if (offset !== stored.length)
          throw new Error(`offset ${offset} of ${topic}/${number} where ${stored.length} is due`);
        stored.push({ value: idOf(value), epoch });
      }
    }
    if (nextOffset !== stored.length) throw new Error(`next offset ${nextOffset}, ${stored.length} records`);
  }
}

function note(seen: Map<string, string>, key: string, id: string): void {
  const known = seen.get(key);
  if (known !== undefined && known !== id) throw new Error(`two records were seen at ${key}: ${known} and ${id}`);
  seen.set(key, id);
}

/** Values are an id, a space, and padding. */
export function idOf(value: Uint8Array | null | undefined): string {
  const text = Buffer.from(value ?? []).toString("latin1");
  return text.slice(0, text.indexOf(" "));
}
