import type { ObjectKey, Offset } from "../../domain.ts";
import { BATCH_HEADER_BYTES } from "../../record/batch.ts";
import type { BatchChecks } from "./batch-checks.ts";
import type { BatchRun, BatchTask, BatchTaskResult, RunResult } from "./check-batches.ts";
import type { PlacedExtent } from "./placed-extents.ts";
import { WINDOW_BYTES } from "./shared-windows.ts";
import type { Verification } from "./verification.ts";

export interface DeepCounts {
  batches: number;
  records: number;
  bytes: number;
}

/** Checks the bytes of extents, window by window; at most one window of each call is in memory. */
export class DeepCheck {
  readonly #verification: Verification;
  readonly #checks: BatchChecks;
  readonly counts: DeepCounts = { batches: 0, records: 0, bytes: 0 };

  constructor(verification: Verification, checks: BatchChecks) {
    this.#verification = verification;
    this.#checks = checks;
  }

  /** `extents`: of the object, by position. false: the object is gone, or ends before they do, and not all was checked. */
  async check(key: ObjectKey, extents: readonly PlacedExtent[]): Promise<boolean> {
    for (let i = 0; i < extents.length;) {
      const window = wholeExtents(extents, i);
      if (window.length > 0) {
        if (!(await this.#checkWhole(key, window))) return false;
        i += window.length;
      } else {
        const extent = extents[i];
        if (extent !== undefined && !(await this.#checkInPieces(key, extent))) return false;
        i++;
      }
    }
    return true;
  }

  async #checkWhole(key: ObjectKey, extents: readonly PlacedExtent[]): Promise<boolean> {
    const start = extents[0]?.position ?? 0;
    const runs = extents.map(({ position, lengthBytes, baseOffset, nextOffset, leaderEpoch }) => {
      return { at: position - start, lengthBytes, baseOffset, nextOffset, epoch: leaderEpoch, isEnd: true };
    });
    const results = await this.#run(key, start, endOf(extents.at(-1)) - start, runs);
    if (results === undefined) return false;
    for (const [i, extent] of extents.entries()) {
      const result = results[i];
      if (result === undefined) continue;
      this.#count(result, result.broken ? extent.lengthBytes - result.checkedBytes : 0);
      this.#report(key, extent, result);
      if (result.problems.length === 0) this.#checkTimestamp(key, extent, result.maxTimestampMs);
    }
    return true;
  }

  async #checkInPieces(key: ObjectKey, extent: PlacedExtent): Promise<boolean> {
    const { position, lengthBytes, nextOffset, leaderEpoch: epoch } = extent;
    let done = 0;
    let baseOffset: number = extent.baseOffset;
    let windowBytes = WINDOW_BYTES;
    let maxTimestampMs = Number.NEGATIVE_INFINITY;
    let whole = true;
    while (done < lengthBytes) {
      const size = Math.min(windowBytes, lengthBytes - done);
      const isEnd = done + size === lengthBytes;
      const run = { at: 0, lengthBytes: size, baseOffset, nextOffset, epoch, isEnd };
      const [result] = (await this.#run(key, position + done, size, [run])) ?? [];
      if (result === undefined) return false;
      this.#count(result, result.broken ? lengthBytes - done - result.checkedBytes : 0);
      this.#report(key, extent, result);
      if (result.broken) return true;
      whole &&= result.problems.length === 0;
      maxTimestampMs = Math.max(maxTimestampMs, result.maxTimestampMs);
      done += result.checkedBytes;
      baseOffset = result.nextOffset;
      // With the next header: it tells whether the length is right.
      windowBytes = Math.max(WINDOW_BYTES, (result.neededBytes ?? 0) + BATCH_HEADER_BYTES);
    }
    if (whole) this.#checkTimestamp(key, extent, maxTimestampMs);
    return true;
  }

  /** What fails is fetched and checked once more: it may have been damaged on its way. undefined: not all the bytes are there. */
  async #run(
    key: ObjectKey,
    position: number,
    lengthBytes: number,
    runs: readonly BatchRun[],
  ): Promise<readonly RunResult[] | undefined> {
    const task = await this.#fetch(key, position, lengthBytes, runs);
    if (task === undefined) return undefined;
    const first = await this.#checks.check(task);
    if (!hasProblem(first)) return first.runs;
    const again = await this.#fetch(key, position, lengthBytes, runs);
    return again === undefined ? undefined : (await this.#checks.check(again)).runs;
  }

  async #fetch(
    key: ObjectKey,
    position: number,
    lengthBytes: number,
    runs: readonly BatchRun[],
  ): Promise<BatchTask | undefined> {
    const { store, calls } = this.#verification;
    const found = await store.get(key, { ...calls, range: { start: position, end: position + lengthBytes } });
    if (found === undefined || found.body.length < lengthBytes) return undefined;
    return { key, position, bytes: found.body, runs };
  }

  /** `passedBytes`: those that are done with, because nothing in them can be told apart. */
  #count({ batches, records, checkedBytes }: RunResult, passedBytes: number): void {
    this.counts.batches += batches;
    this.counts.records += records;
    this.counts.bytes += checkedBytes;
    this.#verification.did(0, checkedBytes + passedBytes);
  }

  #report(key: ObjectKey, { topicId, partition }: PlacedExtent, { problems }: RunResult): void {
    for (const { code, position, baseOffset, nextOffset, problem } of problems) {
      const range = { topicId, partition, baseOffset: baseOffset as Offset, nextOffset: nextOffset as Offset };
      this.#verification.findings.add({ code, key, position, ranges: [range], problem });
    }
  }

  #checkTimestamp(key: ObjectKey, extent: PlacedExtent, maxTimestampMs: number): void {
    if (maxTimestampMs === extent.maxTimestampMs) return;
    this.#verification.findings.add({
      code: "wrong-max-timestamp",
      key,
      position: extent.position,
      ranges: [extent],
      problem: `the greatest timestamp of the batches is ${maxTimestampMs}, their extent says ${extent.maxTimestampMs}`,
    });
  }
}

/** As many as fit in a window from `from` on; none where the first alone does not. */
function wholeExtents(extents: readonly PlacedExtent[], from: number): readonly PlacedExtent[] {
  const start = extents[from]?.position ?? 0;
  let end = from;
  while (end < extents.length && endOf(extents[end]) - start <= WINDOW_BYTES) end++;
  return extents.slice(from, end);
}

function endOf(extent: PlacedExtent | undefined): number {
  return extent === undefined ? 0 : extent.position + extent.lengthBytes;
}

function hasProblem({ runs }: BatchTaskResult): boolean {
  return runs.some(({ problems }) => problems.length > 0);
}
