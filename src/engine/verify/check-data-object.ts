import { partitionKey, type ObjectKey } from "../../domain.ts";
import type { DataObjectRef } from "../../index-chain/link-entries.ts";
import {
  decodeFooter,
  decodeTrailer,
  TRAILER_BYTES,
  type DataExtent,
  type Footer,
} from "../../object-store/data-object.ts";
import { parseObjectName } from "../../object-store/object-names.ts";
import { BATCH_HEADER_BYTES } from "../../record/batch.ts";
import { readInt32, readInt64 } from "../../record/big-endian.ts";
import { dataProblem, readTwice } from "./data-problem.ts";
import type { FoundRange } from "./finding.ts";
import type { PlacedExtent } from "./placed-extents.ts";
import type { Verification } from "./verification.ts";

/** Bytes read from the end of an object at first: trailer and footer of about 1,000 extents. */
const TAIL_BYTES = 64 * 1024;

/** What is left to check of a data object: its batches, as far as they are there. */
export type DataObjectState =
  | { readonly kind: "missing" }
  | { readonly kind: "unusable" }
  | { readonly kind: "there"; readonly sizeBytes: number };

/**
 * Is the object there, as long as its link says, and does its footer say what the chain says? One GET of its end, a second where the
 * footer is long. `extents`: all that the state has of it, or all of one topic, by position.
 */
export async function checkDataObject(
  verification: Verification,
  { key, sizeBytes }: DataObjectRef,
  extents: readonly PlacedExtent[],
): Promise<DataObjectState> {
  const { findings } = verification;
  let found: FoundTail | undefined;
  try {
    found = await readTwice(async () => readTail(verification, key, sizeBytes));
  } catch (error) {
    const { unsupported, position, problem } = dataProblem(error);
    const code = unsupported ? "unsupported-version" : "damaged-footer";
    findings.add({ code, key, position, problem: `${problem}; readers find their way by its batches` });
    return { kind: "there", sizeBytes };
  }
  if (found === undefined) return { kind: "missing" };
  if (found.footer === undefined) {
    const actual = found.sizeBytes;
    const cut = extents.filter(({ position, lengthBytes }) => position + lengthBytes > actual);
    const problem = `has ${actual} bytes, its link says ${sizeBytes}`;
    findings.add({ code: "data-object-size", key, position: Math.min(actual, sizeBytes), ranges: cut, problem });
    return { kind: "there", sizeBytes: Math.min(actual, sizeBytes) };
  }
  const difference = differenceOf(key, found.footer, extents);
  if (difference === undefined) return { kind: "there", sizeBytes };
  if (!claimsItsOffsets(found.footer, extents) && (await holdsItsBatches(verification, key, extents))) {
    const problem = `${difference}; the batches are the right ones, readers find their way by them`;
    findings.add({ code: "footer-differs", key, position: found.footerStart, problem });
    return { kind: "there", sizeBytes };
  }
  const problem = `holds other batches than its link says: ${difference}`;
  findings.add({ code: "replaced-data-object", key, position: extents[0]?.position, ranges: extents, problem });
  return { kind: "unusable" };
}

interface FoundTail {
  readonly sizeBytes: number;
  /** undefined: the size is wrong, so nothing was read further. */
  readonly footer: Footer | undefined;
  readonly footerStart: number;
}

async function readTail(
  { store, calls }: Verification,
  key: ObjectKey,
  sizeBytes: number,
): Promise<FoundTail | undefined> {
  const tail = await store.get(key, { ...calls, range: { suffix: TAIL_BYTES } });
  if (tail === undefined) return undefined;
  if (tail.sizeBytes !== sizeBytes) return { sizeBytes: tail.sizeBytes, footer: undefined, footerStart: sizeBytes };
  const trailerAt = Math.max(0, tail.body.length - TRAILER_BYTES);
  const trailer = decodeTrailer(tail.body.subarray(trailerAt), sizeBytes, key);
  const footerStart = sizeBytes - TRAILER_BYTES - trailer.footerBytes;
  const inTail = footerStart - (sizeBytes - tail.body.length);
  const bytes =
    inTail >= 0
      ? tail.body.subarray(inTail, trailerAt)
      : (await store.get(key, { ...calls, range: { start: footerStart, end: sizeBytes - TRAILER_BYTES } }))?.body;
  if (bytes === undefined) return undefined;
  return { sizeBytes, footer: decodeFooter(bytes, trailer, footerStart, key), footerStart };
}

/** How the footer differs from the chain; undefined: it does not. */
function differenceOf(key: ObjectKey, footer: Footer, extents: readonly PlacedExtent[]): string | undefined {
  const name = parseObjectName(key);
  if (name?.kind === "data" && (name.shard !== footer.shard || name.epoch !== footer.epoch)) {
    return `its footer is of shard ${footer.shard} and epoch ${footer.epoch}, its name is not`;
  }
  // Both by position. What the footer has and the chain has not was trimmed away, or merged into a segment.
  let at = 0;
  for (const [i, extent] of extents.entries()) {
    while (at < footer.extents.length && footer.extents[at]!.position < extent.position) at++;
    const other = footer.extents[at];
    if (other === undefined || !sameExtent(extent, other)) return `its footer differs in extent ${i}, ${shown(extent)}`;
  }
  return undefined;
}

function sameExtent(a: PlacedExtent, b: DataExtent): boolean {
  return (
    a.topicId === b.topicId &&
    a.partition === b.partition &&
    a.leaderEpoch === b.leaderEpoch &&
    a.baseOffset === b.baseOffset &&
    a.nextOffset === b.nextOffset &&
    a.position === b.position &&
    a.lengthBytes === b.lengthBytes &&
    a.maxTimestampMs === b.maxTimestampMs
  );
}

function shown(extent: FoundRange): string {
  return `offsets ${extent.baseOffset} … ${extent.nextOffset - 1} of ${partitionKey(extent)}`;
}

/**
 * Does the footer have other records where one of `extents` lies, of the same base offset and epoch? Then its batches cannot tell which
 * is right: those of another partition, or of an object that this one superseded, look the same.
 */
function claimsItsOffsets(footer: Footer, extents: readonly PlacedExtent[]): boolean {
  return extents.some((extent) => {
    const other = footer.extents.find(({ position }) => position === extent.position);
    if (other?.baseOffset !== extent.baseOffset || other.leaderEpoch !== extent.leaderEpoch) return false;
    return !sameExtent({ ...extent, maxTimestampMs: other.maxTimestampMs }, other);
  });
}

/** Does a batch of the right offset and epoch begin where an extent does? One of the first, and the last, are enough to tell. */
async function holdsItsBatches(
  { store, calls }: Verification,
  key: ObjectKey,
  extents: readonly PlacedExtent[],
): Promise<boolean> {
  for (const extent of new Set([extents[0], extents.at(-1)])) {
    if (extent === undefined) continue;
    const { position, baseOffset, leaderEpoch } = extent;
    const start = await store.get(key, { ...calls, range: { start: position, end: position + BATCH_HEADER_BYTES } });
    if (start === undefined || start.body.length < BATCH_HEADER_BYTES) return false;
    // The two fields that no CRC covers, and that tell one object of a partition from another.
    if (readInt64(start.body, 0) !== baseOffset || readInt32(start.body, 12) !== leaderEpoch) return false;
  }
  return true;
}
