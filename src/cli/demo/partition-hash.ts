import { createHash } from "node:crypto";

/** What one side of the demo saw of one partition: SHA-256 over its values in offset order, each after its length. */
export class PartitionHash {
  readonly #hash = createHash("sha256");
  #records = 0;

  get records(): number {
    return this.#records;
  }

  add(values: readonly (Uint8Array | null)[]): void {
    const parts: Uint8Array[] = [];
    for (const value of values) {
      const length = Buffer.allocUnsafe(4);
      // The demo writes no nulls: one that comes back must not look like an empty value.
      length.writeInt32BE(value === null ? -1 : value.length);
      parts.push(length);
      if (value !== null) parts.push(value);
    }
    this.#hash.update(Buffer.concat(parts));
    this.#records += values.length;
  }

  /** Ends it: nothing can be added afterwards. */
  digest(): PartitionDigest {
    return { records: this.#records, sha256: this.#hash.digest("hex") };
  }
}

export interface PartitionDigest {
  readonly records: number;
  readonly sha256: string;
}

/** Did both sides see the same values, partition by partition? */
export function sameDigests(a: readonly PartitionDigest[], b: readonly PartitionDigest[]): boolean {
  return (
    a.length === b.length && a.every(({ records, sha256 }, i) => records === b[i]?.records && sha256 === b[i].sha256)
  );
}
