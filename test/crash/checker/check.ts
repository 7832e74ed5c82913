import { parseId, type Ack, type AckLog } from "./ack-log.ts";
import { readPlaces } from "./catalog.ts";
import { foldChain, type Chain, type ChainRecord } from "./chain.ts";
import { readShardJournals, type JournalFrame, type ShardJournal } from "./journal.ts";
import { decodeBatches, type FoundRecord } from "./record-batch.ts";
import type { StoreReader } from "./store-reader.ts";

export interface CheckInput {
  readonly store: StoreReader;
  /** Every directory `journal.path` that still exists; none for a store without journals. */
  readonly journals: readonly string[];
  readonly log: AckLog;
  /** Ids that stood in a journal alone whose disk is gone. */
  readonly lost: ReadonlySet<string>;
  /** Records may have been trimmed away: true: any; else of each `topicId/partition` up to this offset. Default: no record is. */
  readonly trims?: boolean | ReadonlyMap<string, number>;
  /**
   * Shard of each `topicId/partition` of topics that somebody asked to delete. Where the newest catalog does not name them any more,
   * nothing promises their records.
   */
  readonly deleted?: ReadonlyMap<string, number>;
}

export interface Finding {
  readonly offset: number;
  readonly epoch: number;
  readonly topicId: string;
  readonly partition: number;
}

export interface CheckReport {
  /** Empty: all invariants hold. Each begins with the invariant that it breaks. */
  readonly violations: readonly string[];
  readonly chains: readonly Chain[];
  readonly journals: readonly ShardJournal[];
  /** Where each id stands. */
  readonly inChain: ReadonlyMap<string, Finding>;
  readonly inJournal: ReadonlyMap<string, Finding>;
  readonly inAside: ReadonlyMap<string, Finding>;
  /** Records of live frames that are not in the chain, and whether a recovery of that journal must bring them there (rule 11) or set them aside. */
  readonly waiting: readonly Waiting[];
}

export interface Waiting extends Finding {
  readonly id: string;
  readonly journal: ShardJournal;
  readonly next: "replay" | "set aside";
}

/** Reads the whole store and the journals, and says what breaks an invariant of DESIGN section 8. Nothing may write meanwhile. */
export async function check(input: CheckInput): Promise<CheckReport> {
  const catalog = await readPlaces(input.store);
  const gone = new Map([...(input.deleted ?? [])].filter(([name]) => !catalog.has(name)));
  const places: Places = { all: new Map([...catalog, ...gone]), deleted: new Set(gone.keys()) };
  const chains: Chain[] = [];
  for (const shard of [...new Set(places.all.values())].sort((a, b) => a - b)) {
    chains.push(await foldChain(input.store, shard));
  }
  const journals: ShardJournal[] = [];
  for (const directory of input.journals) journals.push(...(await readShardJournals(directory)));
  return new Check(input, places, chains, journals).run();
}

/** By `topicId/partition`. */
interface Places {
  /** Shard of each. */
  readonly all: ReadonlyMap<string, number>;
  readonly deleted: ReadonlySet<string>;
}

class Check {
  readonly #input: CheckInput;
  readonly #places: Places;
  readonly #chains: readonly Chain[];
  readonly #journals: readonly ShardJournal[];
  readonly #violations: string[] = [];
  readonly #inChain = new Map<string, Finding>();
  readonly #inJournal = new Map<string, Finding>();
  readonly #inAside = new Map<string, Finding>();
  readonly #waiting: Waiting[] = [];
  /** Id by partition, epoch and offset, wherever it was read. */
  readonly #identities = new Map<string, string>();

  constructor(input: CheckInput, places: Places, chains: readonly Chain[], journals: readonly ShardJournal[]) {
    this.#input = input;
    this.#places = places;
    this.#chains = chains;
    this.#journals = journals;
  }

  run(): CheckReport {
    this.#violations.push(...this.#input.log.problems);
    for (const chain of this.#chains) this.#checkChain(chain);
    for (const journal of this.#journals) this.#checkJournal(journal);
    for (const ack of this.#input.log.acks.values()) this.#checkAck(ack);
    return {
      violations: this.#violations,
      chains: this.#chains,
      journals: this.#journals,
      inChain: this.#inChain,
      inJournal: this.#inJournal,
      inAside: this.#inAside,
      waiting: this.#waiting.filter(({ id }) => !this.#inChain.has(id)),
    };
  }

  #checkChain(chain: Chain): void {
    this.#violations.push(...chain.violations);
    for (const [name, start] of chain.starts) this.#checkStart(name, start);
    const newest = new Map<string, { number: number; id: string }>();
    for (const record of chain.records) {
      const name = this.#known(record, record.where);
      this.#checkRefused(record.id, record);
      if (this.#places.all.get(name) !== chain.shard) {
        this.#violations.push(`I2: ${record.id} of ${name} stands in the chain of shard ${chain.shard}`);
      }
      const first = this.#inChain.get(record.id);
      if (first !== undefined) {
        this.#violations.push(`I2: ${record.id} stands at ${place(first)} and again at ${place(record)}`);
      }
      this.#inChain.set(record.id, record);
      // One producer's appends to one partition keep the order of its calls.
      const { process, number } = parseId(record.id);
      const last = newest.get(`${name} ${process}`);
      if (last !== undefined && last.number >= number) {
        this.#violations.push(`I2: ${record.id} stands behind ${last.id} at ${place(record)}`);
      }
      newest.set(`${name} ${process}`, { number, id: record.id });
    }
  }

  #checkJournal(journal: ShardJournal): void {
    this.#violations.push(...journal.violations);
    const chain = this.#chains.find(({ shard }) => shard === journal.shard);
    if (chain === undefined) {
      this.#violations.push(`${journal.path} belongs to no shard`);
      return;
    }
    for (const frame of journal.aside) {
      for (const record of this.#records(frame)) this.#inAside.set(record.id, record);
    }
    const last = chain.fences.at(-1);
    // Under our id, but not from this directory: a copy of it went on elsewhere.
    const copied = last?.journalId === journal.journalId && !journal.fences.includes(last.writeId);
    for (const frame of journal.live) {
      // Fences before the checkpoint that a fold began with are known by the epoch since which the journal is named alone.
      const foreign =
        chain.fences.some(({ epoch, journalId }) => epoch > frame.epoch && journalId !== journal.journalId) ||
        (chain.foldedFrom > 0 && frame.epoch < chain.journalSince);
      const next = foreign || copied ? "set aside" : "replay";
      for (const record of this.#records(frame)) {
        this.#inJournal.set(record.id, record);
        this.#waiting.push({ ...record, journal, next });
        // What is to be set aside comes into no log any more: a fenced owner may say "none" of it.
        if (next === "replay") this.#checkRefused(record.id, record);
      }
    }
    // Space is used again only when its records are in the chain (or were set aside): as far as freed frames can still be read.
    for (const frame of journal.freed) {
      for (const record of this.#records(frame)) {
        const found = this.#inChain.get(record.id) ?? this.#inAside.get(record.id);
        if ((found !== undefined && same(found, record)) || this.#isGone(record)) continue;
        this.#violations.push(
          `I5: frame ${frame.sequence} (${frame.where}) is freed, but ${record.id} of ${place(record)} is neither in the chain nor set aside`,
        );
      }
    }
    if (chain.released && chain.fences.at(-1)?.journalId === journal.journalId) {
      for (const frame of journal.live) {
        for (const record of this.#records(frame)) {
          if (this.#inChain.has(record.id) || this.#isGone(record)) continue;
          this.#violations.push(`I1: shard ${chain.shard} is released, but ${record.id} waits in ${frame.where}`);
        }
      }
    }
  }

  #records(frame: JournalFrame): ChainRecord[] {
    const records: ChainRecord[] = [];
    for (const extent of frame.extents) {
      const { topicId, partition, position, lengthBytes } = extent;
      const where = `${frame.where}: ${topicId}/${partition}`;
      const batches = frame.payload.subarray(position, position + lengthBytes);
      let found: FoundRecord[] = [];
      try {
        found = decodeBatches(batches, { ...extent, leaderEpoch: frame.epoch }, where);
      } catch (error) {
        this.#violations.push(`I3: ${where}: ${error instanceof Error ? error.message : String(error)}`);
      }
      for (const record of found) {
        const whole = { ...record, topicId, partition, where: frame.where };
        this.#known(whole, frame.where);
        records.push(whole);
      }
    }
    return records;
  }

  #checkRefused(id: string, found: Finding): void {
    if (!this.#input.log.refused.has(id)) return;
    this.#violations.push(
      `I1: ${id} stands or comes to stand at ${place(found)}; its append failed with effect "none"`,
    );
  }

  /** The record was sent, to this partition, and no other stands at its place in this epoch. */
  #known(record: ChainRecord, where: string): string {
    const name = `${record.topicId}/${record.partition}`;
    const { log } = this.#input;
    const sentTo = log.sent.get(record.id);
    if (sentTo === undefined) this.#violations.push(`I2: ${where} holds ${record.id}, which was never sent`);
    else if (sentTo !== name)
      this.#violations.push(`I2: ${where} holds ${record.id} in ${name}; it was sent to ${sentTo}`);
    const identity = `${name} ${record.epoch} ${record.offset}`;
    const other = this.#identities.get(identity);
    if (other !== undefined && other !== record.id) {
      this.#violations.push(`I2: ${other} and ${record.id} both at ${place(record)}`);
    }
    this.#identities.set(identity, record.id);
    return name;
  }

  #checkAck(ack: Ack): void {
    if (ack.level === "buffered") return;
    const stored = this.#inChain.get(ack.id);
    if (stored !== undefined) {
      if (!same(stored, ack))
        this.#violations.push(`I1: ${ack.id}, acked at ${place(ack)}, stands at ${place(stored)}`);
      return;
    }
    if (this.#isGone(ack)) {
      if (!this.#mayBeGone(ack)) this.#violations.push(`I1: ${ack.id}, acked at ${place(ack)}, was trimmed away`);
      return;
    }
    if (ack.level === "uploaded") {
      this.#violations.push(`I1: ${ack.id}, acked as uploaded at ${place(ack)}, is not in the chain`);
      return;
    }
    if (this.#input.lost.has(ack.id)) return;
    const waiting = this.#inJournal.get(ack.id);
    const aside = this.#inAside.get(ack.id);
    if (waiting !== undefined && same(waiting, ack)) return;
    if (aside !== undefined && same(aside, ack)) {
      if (!this.#foreignFenceAbove(ack)) {
        this.#violations.push(
          `I1: ${ack.id}, acked as journaled at ${place(ack)}, was set aside though nobody else took over`,
        );
      }
      return;
    }
    const elsewhere = waiting ?? aside;
    this.#violations.push(
      `I1: ${ack.id}, acked as journaled at ${place(ack)}, is ${elsewhere === undefined ? "lost" : `in a journal at ${place(elsewhere)}`}`,
    );
  }

  /** Trimmed away, or of a topic that was deleted. */
  #isGone(found: Finding): boolean {
    const name = nameOf(found);
    if (this.#places.deleted.has(name)) return true;
    return this.#chains.some(({ starts }) => found.offset < (starts.get(name) ?? 0));
  }

  #mayBeGone(found: Finding): boolean {
    const { trims = false } = this.#input;
    const name = nameOf(found);
    if (this.#places.deleted.has(name)) return true;
    return typeof trims === "boolean" ? trims : found.offset < (trims.get(name) ?? 0);
  }

  #checkStart(name: string, start: number): void {
    const { trims } = this.#input;
    if (typeof trims !== "object" || this.#places.deleted.has(name) || start <= (trims.get(name) ?? 0)) return;
    this.#violations.push(`I1: ${name} begins at ${start}; nobody trimmed it beyond ${trims.get(name) ?? 0}`);
  }

  /** A live fence above the ack's epoch names another journal than its own fence did. */
  #foreignFenceAbove({ epoch, topicId, partition }: Ack): boolean {
    const shard = this.#places.all.get(`${topicId}/${partition}`);
    const fences = this.#chains.find((chain) => chain.shard === shard)?.fences ?? [];
    const own = fences.find((fence) => fence.epoch === epoch)?.journalId;
    return fences.some((fence) => fence.epoch > epoch && fence.journalId !== own);
  }
}

function nameOf({ topicId, partition }: Finding): string {
  return `${topicId}/${partition}`;
}

function same(a: Finding, b: Finding): boolean {
  return a.topicId === b.topicId && a.partition === b.partition && a.offset === b.offset && a.epoch === b.epoch;
}

function place({ topicId, partition, offset, epoch }: Finding): string {
  return `${topicId.slice(0, 6)}…/${partition}:${offset} (epoch ${epoch})`;
}
