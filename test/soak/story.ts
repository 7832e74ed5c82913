import type { AckLog } from "../crash/checker/ack-log.ts";
import type { CheckReport } from "../crash/checker/check.ts";

/** What a process uses at a moment. */
export interface Use {
  readonly rssBytes: number;
  readonly handles: number;
  readonly heapBytes: number;
}

/** What one process has said of itself. */
export interface Speaker {
  readonly use: Use[];
  /** A merge is under way, as it said last. */
  merging: boolean;
  readonly onLine: (kind: string, words: readonly string[]) => void;
}

interface Seen {
  readonly place: string;
  /** By a reader that is shown only what is uploaded. */
  readonly uploaded: boolean;
}

/** Topics whose records go by retention, and how much of each partition is kept. */
export const RETAINED_BYTES: ReadonlyMap<string, number> = new Map([
  ["retain", 512 * 1024],
  ["large", 8 * 2 ** 20],
]);

/** What the processes of a soak said they did and read (lines.mjs), held against what was acknowledged. */
export class Story {
  readonly counts = new Map<string, number>();
  /** Promises that were broken, as they were found: the first hundred. */
  readonly broken: string[] = [];
  /** How far each `topicId/partition` may have been trimmed. */
  readonly trims = new Map<string, number>();
  /** Shard of each `topicId/partition` of topics that somebody asked to delete. */
  readonly deleted = new Map<string, number>();
  readonly #retained = new Map<string, number>();
  readonly #log: AckLog;
  readonly #shards = new Map<string, readonly number[]>();
  /** By id: what was read before its ack was heard, if there is one. */
  readonly #seen = new Map<string, Seen>();

  constructor(log: AckLog) {
    this.#log = log;
  }

  count(what: string, by = 1): void {
    if (by > 0) this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }

  /** A promise is broken. */
  break(text: string): void {
    if (this.broken.length < 100 && !this.broken.includes(text)) this.broken.push(text);
  }

  listen(): Speaker {
    const speaker: Speaker = {
      use: [],
      merging: false,
      onLine: (kind, words) => this.#hear(speaker, kind, words),
    };
    return speaker;
  }

  #hear(speaker: Speaker, kind: string, words: readonly string[]): void {
    const [first = "", second = "", third = ""] = words;
    switch (kind) {
      case "A":
        this.#acked(first);
        break;
      case "G":
      case "J":
        // Cut off by a kill it would name an id that there never was.
        if (words.at(-1) === ".") this.#read(`${first}/${second}`, Number(third), words.slice(3, -1), kind === "G");
        break;
      case "N":
        this.#use(first, second, words.slice(3).map(Number));
        break;
      case "T": {
        const name = `${first}/${second}`;
        this.trims.set(name, Math.max(this.trims.get(name) ?? 0, Number(third)));
        break;
      }
      case "D":
        for (const [partition, shard] of (this.#shards.get(first) ?? []).entries())
          this.deleted.set(`${first}/${partition}`, shard);
        break;
      case "Y":
        this.count(words.join(" "));
        break;
      case "B":
        this.break(words.join(" "));
        break;
      case "E":
        this.count(`errors ${first.replace("TIERLOG_", "")}`);
        break;
      case "M":
        speaker.merging = first === "1";
        break;
      case "U":
        speaker.use.push({ rssBytes: Number(first), handles: Number(second), heapBytes: Number(third) });
        break;
      case "V":
        for (const [what, by] of Object.entries(JSON.parse(words.join(" ")) as Record<string, number>))
          this.count(what, by);
        break;
      default:
        this.break(`a process printed ${kind} ${words.join(" ")}`);
    }
  }

  #use(topicId: string, name: string, shards: readonly number[]): void {
    this.#shards.set(topicId, shards);
    const bytes = RETAINED_BYTES.get(name);
    if (bytes === undefined) return;
    for (const partition of shards.keys()) {
      this.trims.set(`${topicId}/${partition}`, Number.POSITIVE_INFINITY);
      this.#retained.set(`${topicId}/${partition}`, bytes);
    }
  }

  #acked(id: string): void {
    const seen = this.#seen.get(id);
    if (seen === undefined) return;
    this.#seen.delete(id);
    this.#compare(id, seen.place);
  }

  #read(name: string, firstOffset: number, ids: readonly string[], uploaded: boolean): void {
    this.count("records read", ids.length);
    for (const [i, id] of ids.entries()) {
      const place = `${name}:${firstOffset + i}`;
      if (this.#log.acks.has(id)) this.#compare(id, place);
      else {
        const before = this.#seen.get(id);
        if (before !== undefined && before.place !== place)
          this.break(`I2: ${id} was read at ${before.place} and at ${place}`);
        this.#seen.set(id, { place, uploaded: uploaded || before?.uploaded === true });
      }
    }
  }

  #compare(id: string, place: string): void {
    const ack = this.#log.acks.get(id);
    const acked = ack === undefined ? "" : `${ack.topicId}/${ack.partition}:${ack.offset}`;
    if (acked !== place) this.break(`I2: ${id} was acked at ${acked} and read at ${place}`);
  }

  /** Once nothing runs any more: retention kept what it had to, and what was read and never acknowledged must stand where it was read, and nothing else there. */
  finish({ inChain, chains }: CheckReport): void {
    const starts = new Map(chains.flatMap((chain) => [...chain.starts]));
    const bytes = new Map(chains.flatMap((chain) => [...chain.bytes]));
    for (const [name, limit] of this.#retained) {
      if ((starts.get(name) ?? 0) === 0) continue;
      this.count("partitions trimmed by retention");
      const left = bytes.get(name) ?? 0;
      if (left < limit) this.break(`I1: retention left ${left} bytes of ${name}, where ${limit} are kept`);
    }
    const uploaded = new Map<string, string>();
    for (const { id, level, topicId, partition, offset } of this.#log.acks.values())
      if (level === "uploaded") uploaded.set(`${topicId}/${partition}:${offset}`, id);
    for (const [id, { place, uploaded: wasUploaded }] of this.#seen) {
      const colon = place.lastIndexOf(":");
      const name = place.slice(0, colon);
      if (this.#log.sent.get(id) !== name)
        this.break(`I2: ${id} was read at ${place}; it was sent to ${this.#log.sent.get(id) ?? "no place"}`);
      const found = inChain.get(id);
      if (found !== undefined) {
        const now = `${found.topicId}/${found.partition}:${found.offset}`;
        if (now !== place) this.break(`I2: ${id} was read at ${place} and stands at ${now}`);
      } else if (wasUploaded) {
        const gone = this.deleted.has(name) || Number(place.slice(colon + 1)) < (starts.get(name) ?? 0);
        if (!gone) this.break(`I1: ${id} was read at ${place} as uploaded, and is not in the chain`);
      }
      if (!wasUploaded) continue;
      const other = uploaded.get(place);
      if (other !== undefined) this.break(`I2: ${id} was read at ${place}, where ${other} was acked as uploaded`);
      uploaded.set(place, id);
    }
  }
}
