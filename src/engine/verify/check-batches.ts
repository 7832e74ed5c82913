import { BATCH_PREFIX_BYTES, CRC_AT, CRC_FROM } from "../../record/batch-header.ts";
import {
  BATCH_HEADER_BYTES,
  checkStoredRecords,
  readBatchHeader,
  verifyBatch,
  type BatchHeader,
} from "../../record/batch.ts";
import { readInt32, readInt64, readUint32 } from "../../record/big-endian.ts";
import { crc32c } from "../../record/crc32c.ts";
import { dataProblem } from "./data-problem.ts";

/** Some batches of one extent, side by side, from one whose base offset is known. Plain data: it may go to a worker. */
export interface BatchRun {
  /** In `BatchTask.bytes`. */
  readonly at: number;
  readonly lengthBytes: number;
  /** Base offset of the first batch. */
  readonly baseOffset: number;
  /** Of the extent. */
  readonly nextOffset: number;
  readonly epoch: number;
  /** The extent ends with these bytes; else the last batch may be cut. */
  readonly isEnd: boolean;
}

export interface BatchTask {
  /** For messages. */
  readonly key: string;
  /** Of `bytes` in the object. */
  readonly position: number;
  /** Only read. On a SharedArrayBuffer where the task goes to a worker, so that it is not copied. */
  readonly bytes: Uint8Array;
  readonly runs: readonly BatchRun[];
}

export interface BatchProblem {
  readonly code: "damaged-batch" | "misplaced-batch" | "unsupported-version";
  /** In the object. */
  readonly position: number;
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly problem: string;
}

export interface RunResult {
  readonly batches: number;
  readonly records: number;
  /** Bytes of whole batches; less than the run only where it is cut, or `broken`. */
  readonly checkedBytes: number;
  /** Behind the last of them. */
  readonly nextOffset: number;
  /** Of the batch that is cut, where its header is there. */
  readonly neededBytes: number | undefined;
  readonly maxTimestampMs: number;
  readonly problems: readonly BatchProblem[];
  /** What follows could not be told apart into batches: one of the problems is about all the rest of the extent. */
  readonly broken: boolean;
}

export interface BatchTaskResult {
  readonly runs: readonly RunResult[];
}

/** A batch holds at most `batch.max_bytes` (32 MiB) and its header: what claims more is damage, not something to allocate for. */
const BATCH_BYTES_MAX = 64 * 1024 * 1024;
const PROBLEMS_MAX = 100;
const MAGIC_AT = 16;
const MAGIC = 2;

/**
 * Checks all that can be checked of stored batches: header, CRC, offsets without gap or overlap, leader epoch, framing of each record
 * (LZ4 too). Never throws for damage: a task that rejects was not carried out.
 */
export function checkBatches(task: BatchTask): BatchTaskResult {
  return { runs: task.runs.map((run) => checkRun(task, run)) };
}

function checkRun(task: BatchTask, run: BatchRun): RunResult {
  const bytes = task.bytes.subarray(run.at, run.at + run.lengthBytes);
  const where = { key: task.key, position: task.position + run.at };
  const problems: BatchProblem[] = [];
  let [batches, records, at, offset] = [0, 0, 0, run.baseOffset];
  let maxTimestampMs = Number.NEGATIVE_INFINITY;
  let neededBytes: number | undefined;
  const result = (broken: boolean): RunResult => ({
    batches,
    records,
    checkedBytes: at,
    nextOffset: offset,
    neededBytes,
    maxTimestampMs,
    problems,
    broken,
  });
  const giveUp = (problem: Omit<BatchProblem, "baseOffset" | "nextOffset">): RunResult => {
    problems.push({ ...problem, baseOffset: offset, nextOffset: run.nextOffset });
    return result(true);
  };

  while (at < bytes.length) {
    const cut = run.isEnd ? undefined : cutBatchBytes(bytes, at);
    if (cut !== undefined && cut <= BATCH_BYTES_MAX) {
      neededBytes = cut === 0 ? undefined : cut;
      return result(false);
    }
    let header: BatchHeader;
    try {
      header = readBatchHeader(bytes, at, where);
    } catch (error) {
      return giveUp(headerProblem(error, bytes, at, where.position + at));
    }
    const misplaced = misplacement(header, run, offset);
    if (misplaced !== undefined) {
      return giveUp({ code: "misplaced-batch", position: where.position + at, problem: misplaced });
    }
    try {
      verifyBatch(bytes, at, where);
      checkStoredRecords(bytes.subarray(at, at + header.lengthBytes), { ...where, position: where.position + at });
    } catch (error) {
      const problem = problemOf(error, where.position + at);
      if (problems.length >= PROBLEMS_MAX) return giveUp(problem);
      // The damage may be in the length: then all that follows would be misread, and told as other damage.
      if (!isBoundary(bytes, at + header.lengthBytes, header, run)) {
        return giveUp({ ...problem, problem: `${problem.problem}; no batch follows where it should end` });
      }
      problems.push({ ...problem, baseOffset: header.baseOffset, nextOffset: header.nextOffset });
    }
    batches++;
    records += header.recordCount;
    maxTimestampMs = Math.max(maxTimestampMs, header.maxTimestampMs);
    offset = header.nextOffset;
    at += header.lengthBytes;
  }
  if (run.isEnd && offset !== run.nextOffset) {
    const problem = `the batches end at offset ${offset}, their extent at ${run.nextOffset}`;
    return giveUp({ code: "misplaced-batch", position: where.position + at, problem });
  }
  return result(false);
}

/** Bytes of the batch at `at` where its end is not there, 0 where not even its header is; undefined: it is whole. */
function cutBatchBytes(bytes: Uint8Array, at: number): number | undefined {
  const left = bytes.length - at;
  if (left < BATCH_HEADER_BYTES) return 0;
  const lengthBytes = readInt32(bytes, at + 8) + BATCH_PREFIX_BYTES;
  return lengthBytes > left ? lengthBytes : undefined;
}

function misplacement(header: BatchHeader, run: BatchRun, offset: number): string | undefined {
  if (header.baseOffset !== offset) return `a batch starts at offset ${header.baseOffset} where ${offset} is due`;
  if (header.epoch !== run.epoch) return `a batch of epoch ${header.epoch} in an extent of epoch ${run.epoch}`;
  if (header.nextOffset > run.nextOffset)
    return `a batch reaches to offset ${header.nextOffset}, its extent to ${run.nextOffset}`;
  return undefined;
}

/** Magic and attributes are looked at before the CRC: where that is wrong as well, or the magic is not Kafka's, it is damage. */
function headerProblem(
  error: unknown,
  bytes: Uint8Array,
  at: number,
  position: number,
): Omit<BatchProblem, "baseOffset" | "nextOffset"> {
  const problem = problemOf(error, position);
  if (problem.code !== "unsupported-version") return problem;
  const magic = bytes[at + MAGIC_AT];
  if (magic !== MAGIC) return { code: "damaged-batch", position, problem: `magic ${magic} where a batch is due` };
  const lengthBytes = readInt32(bytes, at + 8) + BATCH_PREFIX_BYTES;
  const end = at + lengthBytes;
  const isSealed =
    lengthBytes >= BATCH_HEADER_BYTES &&
    end <= bytes.length &&
    crc32c(bytes.subarray(at + CRC_FROM, end)) === readUint32(bytes, at + CRC_AT);
  return isSealed
    ? problem
    : { code: "damaged-batch", position, problem: "its attributes are not known, and its CRC fails" };
}

/** Does the extent end at `at`, or the next batch begin? REQUIRES: `before` ends at `at`, by its header. */
function isBoundary(bytes: Uint8Array, at: number, before: BatchHeader, run: BatchRun): boolean {
  if (at === bytes.length) return !run.isEnd || before.nextOffset === run.nextOffset;
  if (bytes.length - at < BATCH_HEADER_BYTES) return !run.isEnd;
  return readInt64(bytes, at) === before.nextOffset && readInt32(bytes, at + 12) === run.epoch;
}

function problemOf(error: unknown, position: number): Omit<BatchProblem, "baseOffset" | "nextOffset"> {
  const found = dataProblem(error);
  const code = found.unsupported ? "unsupported-version" : "damaged-batch";
  return { code, position: found.position ?? position, problem: found.problem };
}
