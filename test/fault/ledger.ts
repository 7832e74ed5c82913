import type { EngineApi, TopicApi } from "../../src/engine/api.ts";
import { isTierlogError } from "../../src/errors.ts";
import { readAll } from "../support/engine.ts";

/** What one append was told. "unknown" may be stored, once; "none" must not be. */
type Told = { readonly kind: "acked"; readonly offset: number } | { readonly kind: "unknown" | "none" };

export interface LedgerCounts {
  readonly acked: number;
  readonly unknown: number;
  readonly none: number;
  /** Of the unknown ones, those found stored. */
  readonly unknownStored: number;
}

interface ProduceOptions {
  readonly producers: number;
  /** Asked before each append. */
  readonly goOn: () => boolean;
  readonly valueBytes?: number;
  /** Called with each failed append; "stop" ends that producer, which else goes on with another record. */
  readonly onError?: (error: unknown) => "go-on" | "stop";
}

/**
 * What producers were told, and a check of what is stored against it, record by record: nothing acked is missing or elsewhere
 * (I1), nothing is there twice, out of order or out of nowhere (I2), and what was told effect "none" is not there.
 */
export class Ledger {
  readonly #told = new Map<string, Told>();
  #runs = 0;

  /** Producers that append one record after the other, each to all partitions in turn, until `goOn` says no. */
  async produce(topic: TopicApi, options: ProduceOptions): Promise<void> {
    const run = this.#runs++;
    const { partitions } = topic.description;
    const padding = "x".repeat(options.valueBytes ?? 20);
    const producer = async (name: string, first: number): Promise<void> => {
      for (let n = 0; options.goOn(); n++) {
        const id = `${name}.${n} `;
        const partition = (first + n) % partitions;
        try {
          const receipt = await topic.partition(partition).append([{ value: Buffer.from(id + padding) }]);
          this.#told.set(id, { kind: "acked", offset: receipt.firstOffset });
        } catch (error) {
          this.#told.set(id, { kind: isTierlogError(error) ? error.effect : "unknown" });
          if (options.onError?.(error) === "stop") return;
          // One that fails at once would else spin through millions of records.
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      }
    };
    await Promise.all(Array.from({ length: options.producers }, (_, i) => producer(`${run}.${i}`, i)));
  }

  get acked(): number {
    return [...this.#told.values()].filter(({ kind }) => kind === "acked").length;
  }

  /** Reads everything through `engine`, which should be a fresh one; `others` are not ours. Throws at the first broken promise. */
  async check(engine: EngineApi, topicName: string, others: readonly string[] = []): Promise<LedgerCounts> {
    const topic = await engine.topic(topicName);
    const found = new Set<string>();
    for (let number = 0; number < topic.description.partitions; number++) {
      const last = new Map<string, number>();
      const values = await readAll(topic.partition(number));
      for (const [offset, value] of values.entries()) {
        if (others.includes(value)) continue;
        const id = value.slice(0, value.indexOf(" ") + 1);
        const where = `${id}at offset ${offset} of partition ${number}`;
        const told = this.#told.get(id);
        if (told === undefined) throw new Error(`${where} was never appended`);
        if (found.has(id)) throw new Error(`${where} is there twice`);
        if (told.kind === "none") throw new Error(`${where} was told effect "none"`);
        if (told.kind === "acked" && told.offset !== offset) throw new Error(`${where} was acked at ${told.offset}`);
        const [, producer = "", n] = /^(.*)\.(\d+) $/.exec(id) ?? [];
        if (Number(n) <= (last.get(producer) ?? -1)) throw new Error(`${where} is out of order`);
        last.set(producer, Number(n));
        found.add(id);
      }
    }
    const counts = { acked: 0, unknown: 0, none: 0, unknownStored: 0 };
    for (const [id, told] of this.#told) {
      counts[told.kind] += 1;
      if (told.kind === "acked" && !found.has(id)) throw new Error(`${id} was acked at ${told.offset} and is lost`);
      if (told.kind === "unknown" && found.has(id)) counts.unknownStored += 1;
    }
    return counts;
  }
}
