import { Gathering, type AppendTarget, type PendingPartition } from "./pending.ts";

export interface GatheringListOptions {
  /** Of what one frame of the journal is to hold. */
  readonly frameBytesMax: number;
  readonly batchBytesMax: number;
}

/** Appends that wait for their frames, in order, cut into what one frame holds. */
export class GatheringList {
  readonly #options: GatheringListOptions;
  /** At least one; the last one takes what comes, those before it are full. */
  #list: Gathering[] = [new Gathering()];

  constructor(options: GatheringListOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.first.isEmpty;
  }

  get first(): Gathering {
    return this.#list[0] as Gathering;
  }

  /** Will the first take no more? */
  get isFirstFull(): boolean {
    return this.#list.length > 1;
  }

  pendingRecords(key: string): number {
    return this.#list.reduce((sum, gathering) => sum + gathering.pendingRecords(key), 0);
  }

  /** What the last append went to. */
  get last(): Gathering {
    return this.#list[this.#list.length - 1] as Gathering;
  }

  /** Where an append of so many bytes goes; counts it. */
  add(target: AppendTarget, bytes: number): PendingPartition {
    const { frameBytesMax, batchBytesMax } = this.#options;
    let gathering = this.last;
    if (!gathering.isEmpty && framedBytes(gathering.bytes + bytes, gathering.appends + 1) > frameBytesMax) {
      gathering = new Gathering(gathering.busyPartitions());
      this.#list.push(gathering);
    }
    gathering.add(bytes);
    return gathering.partition(target, batchBytesMax);
  }

  /** Takes the first one out. */
  shift(): Gathering {
    const first = this.first;
    this.#list.shift();
    if (this.#list.length === 0) this.#list.push(new Gathering(first.busyPartitions()));
    return first;
  }

  /** Takes all out. */
  takeAll(): readonly Gathering[] {
    const list = this.#list;
    this.#list = [new Gathering()];
    return list;
  }

  /** Puts what `takeAll` of another list gave in front. REQUIRES: this one is empty. */
  adopt(gatherings: readonly Gathering[]): void {
    this.#list = [...gatherings];
  }
}

/** What some appends take in a frame, at most: headers of batches, and what compression adds to random bytes. */
export function framedBytes(bytes: number, appends: number): number {
  return Math.ceil(bytes * 1.125) + (appends + 1) * 96;
}
