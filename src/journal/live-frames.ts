/**
 * The frames that are not freed yet, oldest first, in columns: 34 bytes each, no object per frame. A row is found by its sequence;
 * `row` numbers are valid until the next `push` or `dropThrough`.
 */
export class LiveFrames {
  #sequences = new Float64Array(64);
  #createdAts = new Float64Array(64);
  #slots = new Uint32Array(64);
  /** Positions in units of 512 bytes. */
  #sectors = new Uint32Array(64);
  #directoryBytes = new Uint32Array(64);
  #payloadBytes = new Uint32Array(64);
  #head = 0;
  #tail = 0;
  #bytes = 0;

  get count(): number {
    return this.#tail - this.#head;
  }

  /** Payload of all. */
  get bytes(): number {
    return this.#bytes;
  }

  /** undefined when there is none. */
  get oldest(): LiveFrame | undefined {
    return this.count === 0 ? undefined : this.#at(this.#head);
  }

  get newest(): LiveFrame | undefined {
    return this.count === 0 ? undefined : this.#at(this.#tail - 1);
  }

  /** Sequences must grow. */
  push(frame: LiveFrame): void {
    if (this.#tail === this.#sequences.length) this.#makeRoom();
    const row = this.#tail++;
    this.#sequences[row] = frame.sequence;
    this.#createdAts[row] = frame.createdAtMs;
    this.#slots[row] = frame.slot;
    this.#sectors[row] = frame.position / 512;
    this.#directoryBytes[row] = frame.directoryBytes;
    this.#payloadBytes[row] = frame.payloadBytes;
    this.#bytes += frame.payloadBytes;
  }

  dropThrough(sequence: number): void {
    while (this.#head < this.#tail && this.#sequences[this.#head]! <= sequence) {
      this.#bytes -= this.#payloadBytes[this.#head]!;
      this.#head++;
    }
  }

  get(sequence: number): LiveFrame | undefined {
    const row = this.#firstAtOrAbove(sequence);
    return row < this.#tail && this.#sequences[row] === sequence ? this.#at(row) : undefined;
  }

  /** The oldest one above `sequence`. */
  after(sequence: number): LiveFrame | undefined {
    const row = this.#firstAtOrAbove(sequence + 1);
    return row < this.#tail ? this.#at(row) : undefined;
  }

  #firstAtOrAbove(sequence: number): number {
    let low = this.#head;
    let high = this.#tail;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sequences[middle]! < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #at(row: number): LiveFrame {
    return {
      sequence: this.#sequences[row]!,
      createdAtMs: this.#createdAts[row]!,
      slot: this.#slots[row]!,
      position: this.#sectors[row]! * 512,
      directoryBytes: this.#directoryBytes[row]!,
      payloadBytes: this.#payloadBytes[row]!,
    };
  }

  /** Moves the rows to the front, into arrays that are at least half free. */
  #makeRoom(): void {
    const capacity = Math.max(64, this.count * 2);
    const moved = <T extends Float64Array | Uint32Array>(from: T, to: T): T => {
      to.set(from.subarray(this.#head, this.#tail));
      return to;
    };
    this.#sequences = moved(this.#sequences, new Float64Array(capacity));
    this.#createdAts = moved(this.#createdAts, new Float64Array(capacity));
    this.#slots = moved(this.#slots, new Uint32Array(capacity));
    this.#sectors = moved(this.#sectors, new Uint32Array(capacity));
    this.#directoryBytes = moved(this.#directoryBytes, new Uint32Array(capacity));
    this.#payloadBytes = moved(this.#payloadBytes, new Uint32Array(capacity));
    this.#tail -= this.#head;
    this.#head = 0;
  }
}

export interface LiveFrame {
  readonly sequence: number;
  readonly createdAtMs: number;
  readonly slot: number;
  /** Of the frame in its file. */
  readonly position: number;
  readonly directoryBytes: number;
  readonly payloadBytes: number;
}
