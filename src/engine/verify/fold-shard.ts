import { partitionKey, type ObjectKey, type Offset, type Seq, type ShardId } from "../../domain.ts";
import { readLinkHeader, HEADER_BYTES, type Link } from "../../index-chain/index-file.ts";
import { readLink } from "../../index-chain/read-link.ts";
import { ShardState } from "../../index-chain/shard-state.ts";
import { indexKey } from "../../object-store/object-names.ts";
import { checkBoundary } from "./check-boundary.ts";
import { checkCheckpoint } from "./check-checkpoint.ts";
import { currentState } from "./current-state.ts";
import { dataProblem } from "./data-problem.ts";
import type { FindingCode, FoundRange } from "./finding.ts";
import { listShard, type SeqRange, type ShardInventory } from "./inventory.ts";
import type { Verification } from "./verification.ts";

export interface FoldedShard {
  readonly shard: ShardId;
  /** Behind the last link that could be folded. */
  readonly state: ShardState;
  readonly liveLinks: number;
  readonly voidLinks: number;
  /** Links behind a damaged one, which are read and not folded. */
  readonly linksBehind: number;
  /** The lowest seq that is kept for sure. */
  readonly boundary: Seq;
  /** Index files below it, which mean nothing any more. */
  readonly linksBelow: number;
  /** Replaces, trims and boundaries of live links that had no effect. */
  readonly voidEntries: number;
  /** Of those that could be read. */
  readonly checkpoints: number;
  /** Index files that are another's: what they hold is not what their seq names. */
  readonly misplaced: ReadonlySet<Seq>;
  /** Was the index file of this seq reported as damaged or missing? */
  readonly isBroken: (seq: Seq) => boolean;
  /** Data objects named by links that are not folded, live or not. */
  readonly namedBehind: ReadonlySet<ObjectKey>;
  /** The first seq that was not looked at: what stands there came after the check began. */
  readonly end: Seq;
  /** All behind `state` was deleted while it was read: its owner has moved the boundary above it. */
  readonly isOvertaken: boolean;
}

const READ_AHEAD = 16;
/** A shard whose links are deleted while they are read is listed again: each time its owner has waited a `gc.grace`. */
const LISTED_TIMES_MAX = 3;

type Outcome = { readonly kind: "link"; readonly link: Link } | ({ readonly kind: "broken" } & Break);

/** Why a link cannot be folded. */
interface Break {
  readonly seq: Seq;
  /** The last one in a row that is missing as well. */
  readonly lastSeq?: Seq;
  readonly code: FindingCode;
  readonly position: number | undefined;
  readonly problem: string;
  readonly ranges?: readonly FoundRange[];
}

/**
 * Folds the chain of a shard from its first link to the last one that was listed, whatever checkpoints say, and compares each checkpoint
 * with the state at its seq. Where a link cannot be folded a readable checkpoint behind it takes over, as it does for an engine; until
 * then links are only read. What is wrong below the boundary that the fold comes to is no damage: links there may be gone, and what
 * stands there may be a late PUT.
 */
export async function foldShard(verification: Verification, shard: ShardId): Promise<FoldedShard> {
  for (let time = 1; ; time++) {
    const folded = await foldListed(verification, await listShard(verification, shard, time === 1));
    if (folded.isOvertaken && time < LISTED_TIMES_MAX) continue;
    await checkBoundary(verification, folded);
    return folded;
  }
}

async function foldListed(verification: Verification, inventory: ShardInventory): Promise<FoldedShard> {
  const fold = new Fold(verification, inventory);
  const { shard, through, gaps, indexFiles } = inventory;
  verification.begin(`reading the chain of shard ${shard}`, indexFiles);
  const end = through === undefined ? 0 : through + 1;
  let from = 0;
  for (const gap of gaps) {
    await foldRun(verification, shard, fold, from, gap.first);
    await fold.gap(gap);
    from = gap.last + 1;
  }
  await foldRun(verification, shard, fold, from, end);
  return fold.end();
}

/** The links `start` … `end` − 1, some of them read ahead. */
async function foldRun(
  verification: Verification,
  shard: ShardId,
  fold: Fold,
  start: number,
  end: number,
): Promise<void> {
  for (let from = start; from < end; from += READ_AHEAD) {
    const seqs = Array.from({ length: Math.min(READ_AHEAD, end - from) }, (_, i) => (from + i) as Seq);
    const reads = seqs.map((seq) => readOutcome(verification, shard, seq));
    for (const read of reads) read.catch(() => undefined);
    for (const read of reads) {
      await fold.next(await read);
      verification.did(1);
    }
  }
}

class Fold {
  readonly #verification: Verification;
  readonly #inventory: ShardInventory;
  readonly #checkpointSeqs: ReadonlySet<Seq>;
  #state: ShardState;
  #nextSeq = 0;
  /** Since the fold stopped; the first is why. */
  #breaks: Break[] = [];
  /** Those before, with the checkpoint that the fold went on from. */
  readonly #overcome: { readonly breaks: readonly Break[]; readonly checkpoint: Seq }[] = [];
  #liveLinks = 0;
  #voidLinks = 0;
  #voidEntries = 0;
  readonly #behindSeqs: Seq[] = [];
  #checkpoints = 0;
  readonly #misplaced = new Set<Seq>();
  /** By name: the greatest seq of a link behind a stop that names it. */
  readonly #namedBehind = new Map<ObjectKey, Seq>();
  /** The highest that a link behind the stop asks for. */
  #boundaryBehind = 0;
  /** How far links behind the stop say that partitions reach. */
  #endsBehind = new Map<string, FoundRange>();

  constructor(verification: Verification, inventory: ShardInventory) {
    this.#verification = verification;
    this.#inventory = inventory;
    this.#checkpointSeqs = new Set(inventory.checkpoints);
    this.#state = new ShardState(inventory.shard);
  }

  async next(outcome: Outcome): Promise<void> {
    const seq = this.#nextSeq++ as Seq;
    if (outcome.kind === "broken") this.#broken(outcome);
    else if (this.#breaks.length === 0) this.#apply(outcome.link);
    else this.#behind(outcome.link);
    if (this.#checkpointSeqs.has(seq)) await this.#checkpoint(seq);
  }

  /** Seqs of which no link was listed. */
  async gap({ first, last }: SeqRange): Promise<void> {
    for (let seq: number = first; seq <= last; seq = this.#nextSeq) {
      const from = seq;
      const checkpoint = this.#inventory.checkpoints.find((at) => at >= from && at <= last);
      const lastSeq = checkpoint ?? last;
      this.#broken({
        seq: from as Seq,
        lastSeq,
        code: "missing-index-file",
        position: undefined,
        problem: "does not exist",
      });
      this.#nextSeq = lastSeq + 1;
      if (checkpoint !== undefined) await this.#checkpoint(checkpoint);
    }
  }

  async end(): Promise<FoldedShard> {
    const boundary = Math.max(this.#state.boundary, this.#boundaryBehind) as Seq;
    // What was listed and then is not there may have been deleted by its owner, who has moved the boundary meanwhile.
    const isBroken = this.#breaks.length > 0 || this.#overcome.length > 0;
    const now = isBroken ? (await currentState(this.#verification, this.#state)).boundary : boundary;
    const reported: Break[] = [];
    for (const { breaks, checkpoint } of this.#overcome)
      reported.push(...this.#report(breaks, Math.max(now, boundary) as Seq, checkpoint));
    const unfolded = this.#report(this.#breaks, now, undefined);
    reported.push(...unfolded);
    const missingBelow = this.#inventory.gaps.reduce(
      (sum, { first, last }) => sum + Math.max(0, Math.min(last + 1, boundary) - first),
      0,
    );
    return {
      shard: this.#inventory.shard,
      state: this.#state,
      liveLinks: this.#liveLinks,
      voidLinks: this.#voidLinks,
      voidEntries: this.#voidEntries + this.#state.voidEntries,
      linksBehind: this.#behindSeqs.filter((seq) => seq >= boundary || this.#breaks.length > 0).length,
      boundary,
      linksBelow: boundary - missingBelow,
      checkpoints: this.#checkpoints,
      misplaced: this.#misplaced,
      isBroken: (seq) => reported.some((range) => range.seq <= seq && seq <= (range.lastSeq ?? range.seq)),
      namedBehind: new Set([...this.#namedBehind].filter(([, seq]) => seq >= this.#state.boundary).map(([key]) => key)),
      end: this.#nextSeq as Seq,
      isOvertaken: this.#breaks.length > 0 && unfolded.length === 0,
    };
  }

  #apply(link: Link): void {
    const key = indexKey(link.shard, link.seq);
    const misplaced = this.#state.liveness(link) === "live" ? this.#state.misplacedExtent(link) : undefined;
    if (misplaced === undefined) {
      if (this.#state.apply(link, key) === "live") this.#liveLinks++;
      else this.#voidLinks++;
      return;
    }
    const { extent, end } = misplaced;
    const isGap = extent.baseOffset > end;
    this.#broken({
      seq: link.seq,
      code: isGap ? "offset-gap" : "offset-overlap",
      position: extent.position,
      problem:
        `a live append begins at offset ${extent.baseOffset}, its partition ends at ${end}: ` +
        (isGap ? "the offsets between are in no link" : "these offsets are given already"),
      ranges: [
        {
          topicId: extent.topicId,
          partition: extent.partition,
          baseOffset: isGap ? end : extent.baseOffset,
          nextOffset: (isGap ? extent.baseOffset : Math.min(end, extent.nextOffset)) as Offset,
        },
      ],
    });
    this.#note(link);
  }

  #broken(why: Break): void {
    if (why.code === "misplaced-index-file") this.#misplaced.add(why.seq);
    const last = this.#breaks.at(-1);
    const goesOn =
      why.code === "missing-index-file" && last?.code === why.code && (last.lastSeq ?? last.seq) + 1 === why.seq;
    if (goesOn) this.#breaks[this.#breaks.length - 1] = { ...last, lastSeq: why.seq };
    else this.#breaks.push(why);
  }

  #behind(link: Link): void {
    this.#behindSeqs.push(link.seq);
    this.#note(link);
  }

  #note(link: Link): void {
    for (const entry of link.entries) {
      if (entry.type === "boundary") this.#boundaryBehind = Math.max(this.#boundaryBehind, entry.seq);
      if (entry.type !== "append" && entry.type !== "replace") continue;
      for (const { key } of entry.objects) this.#namedBehind.set(key, link.seq);
      for (const { topicId, partition, baseOffset, nextOffset } of entry.extents) {
        const name = partitionKey({ topicId, partition });
        const known = this.#endsBehind.get(name);
        if (known === undefined || known.nextOffset < nextOffset)
          this.#endsBehind.set(name, { topicId, partition, baseOffset, nextOffset });
      }
    }
  }

  async #checkpoint(seq: Seq): Promise<void> {
    const folded = this.#breaks.length === 0 ? this.#state : undefined;
    const snapshot = await checkCheckpoint(this.#verification, this.#inventory, seq, folded);
    if (snapshot === undefined) return;
    this.#checkpoints++;
    if (folded !== undefined) return;
    this.#voidEntries += this.#state.voidEntries;
    this.#state = new ShardState(this.#inventory.shard);
    this.#state.restore(snapshot);
    this.#overcome.push({ breaks: this.#breaks, checkpoint: seq });
    this.#breaks = [];
    this.#endsBehind = new Map();
    this.#boundaryBehind = 0;
  }

  /**
   * Tells of links that could not be folded, as far as they lie at or above `boundary`; `takenOver`: the checkpoint that the fold went on
   * from. Returns those that were told.
   */
  #report(all: readonly Break[], boundary: Seq, takenOver: Seq | undefined): readonly Break[] {
    const breaks = all
      .filter(({ seq, lastSeq = seq }) => lastSeq >= boundary)
      .map((one) => ({ ...one, seq: Math.max(one.seq, boundary) as Seq }));
    const [first] = breaks;
    const { shard, through } = this.#inventory;
    for (const { seq, lastSeq = seq, code, position, problem, ranges } of breaks) {
      const several = lastSeq > seq ? `, nor do those up to seq ${lastSeq}` : "";
      const behind = (through ?? lastSeq) - lastSeq;
      const then =
        takenOver !== undefined
          ? `the checkpoint of seq ${takenOver} goes on behind it`
          : seq === first?.seq
            ? `the log of this shard ends here, the ${behind} index files behind it are found by no reader`
            : "it lies behind another that ends the log";
      const concerned =
        ranges ??
        (takenOver !== undefined ? this.#rangesIn(seq, lastSeq) : seq === first?.seq ? this.#rangesBehind() : []);
      this.#verification.findings.add({
        code,
        key: indexKey(shard, seq),
        position,
        ranges: concerned,
        problem: `${problem}${several}; ${then}`,
      });
    }
    return breaks;
  }

  /** What lies in the index files `from` … `to`, by the state behind all links. */
  #rangesIn(from: Seq, to: Seq): FoundRange[] {
    const ranges: FoundRange[] = [];
    for (const id of this.#state.ends()) {
      const list = this.#state.extents(id);
      if (list === undefined) continue;
      for (let i = 0; i < list.count; i++) {
        const extent = list.at(i);
        const object: number = extent.object;
        if (object < from || object > to) continue;
        const { baseOffset, nextOffset } = extent;
        ranges.push({ topicId: id.topicId, partition: id.partition, baseOffset, nextOffset });
      }
    }
    return ranges;
  }

  /** From where the fold stopped to where the links behind it reach. */
  #rangesBehind(): FoundRange[] {
    return Array.from(this.#endsBehind.values(), (range) => ({
      ...range,
      baseOffset: this.#state.extents(range)?.nextOffset ?? (0 as Offset),
    })).filter(({ baseOffset, nextOffset }) => baseOffset < nextOffset);
  }
}

async function readOutcome(verification: Verification, shard: ShardId, seq: Seq): Promise<Outcome> {
  const { store, calls } = verification;
  try {
    const link = await readLink(store, shard, seq, calls);
    if (link !== undefined) return { kind: "link", link };
    return { kind: "broken", seq, code: "missing-index-file", position: undefined, problem: "does not exist" };
  } catch (error) {
    const { unsupported, position, problem } = dataProblem(error);
    const misplaced = !unsupported && (await isMisplaced(verification, shard, seq));
    const code = unsupported ? "unsupported-version" : misplaced ? "misplaced-index-file" : "damaged-index-file";
    return { kind: "broken", seq, code, position, problem };
  }
}

/** Is it the file of another seq or shard, whole as far as its header tells? */
async function isMisplaced({ store, calls }: Verification, shard: ShardId, seq: Seq): Promise<boolean> {
  const key = indexKey(shard, seq);
  const found = await store.get(key, { ...calls, range: { start: 0, end: HEADER_BYTES } });
  if (found === undefined) return false;
  try {
    const header = readLinkHeader(found.body, key);
    return header.shard !== shard || header.seq !== seq;
  } catch (error) {
    dataProblem(error);
    return false;
  }
}
