// Reading and checking at once. What was read is printed for whoever knows what was acknowledged.
import { print } from "../crash/rounds/child-lines.mjs";
import { printError } from "./lines.mjs";
import { idOf } from "./values.mjs";

const LINE_IDS = 100;

/**
 * Reads from `from` on, checks that the offsets are dense, and prints what was there. Resolves to the offset behind the last one, and whether
 * the end of the log ended it. Rejects as `records` does.
 */
export async function readRun(partition, topic, { kind, from, limit, follow = false, signal }) {
  let next = from;
  let first = from;
  let ids = [];
  const say = () => {
    if (ids.length > 0) print(`${kind} ${topic.id} ${partition.number} ${first} ${ids.join(" ")} .\n`);
    ids = [];
    first = next;
  };
  try {
    for await (const { offset, value } of partition.records({ from, follow, signal })) {
      if (offset !== next)
        print(
          `B a reader from ${from} of ${topic.id}/${partition.number} got offset ${offset} where ${next} was due\n`,
        );
      ids.push(idOf(value));
      next = offset + 1;
      if (ids.length >= LINE_IDS || follow) say();
      if (next - from >= limit) return { next, atEnd: false };
    }
    return { next, atEnd: true };
  } catch (error) {
    error.at = next;
    throw error;
  } finally {
    say();
  }
}

/**
 * A reader was told that an offset is out of range: it must lie below the start by now. Where the reader sees what is only journaled, another
 * owner may also have made the log shorter: `ownEpoch` tells the epoch of this process there, and is not given else.
 */
async function startBehind(partition, topic, { ownEpoch, offset }) {
  const { watermarks, epoch } = await partition.inspect();
  const { start, uploaded, end } = watermarks;
  if (offset >= start && (ownEpoch === undefined || epoch <= ownEpoch())) {
    print(
      `B offset ${offset} of ${topic.id}/${partition.number} was out of range, and it begins at ${start}, is uploaded to ${uploaded}, ends at ${end}\n`,
    );
  }
  if (offset < start) print("Y reads below a trimmed start\n");
  return offset < start ? start : uploaded;
}

/** Follows a partition until `isOver`, through whatever happens to the store. */
export async function follow(partition, topic, { kind, isOver, ownEpoch }) {
  let next;
  while (!isOver()) {
    try {
      next ??= (await partition.watermarks()).start;
      const signal = AbortSignal.timeout(1500);
      ({ next } = await readRun(partition, topic, { kind, from: next, limit: 200, follow: true, signal }));
    } catch (error) {
      next = error.code === "TIERLOG_ABORTED" ? error.at : await afterError(partition, topic, { ownEpoch, error });
    }
  }
}

/** Resolves to where to go on; undefined: from the start. */
export async function afterError(partition, topic, { ownEpoch, error }) {
  // Nothing else would ever have its turn where an engine is wrong about the range without asking anybody.
  await new Promise(setImmediate);
  try {
    if (error.code === "TIERLOG_OFFSET_OUT_OF_RANGE")
      return await startBehind(partition, topic, { ownEpoch, offset: error.at });
    printError(`reading ${topic.id}/${partition.number}`, error);
  } catch (again) {
    printError(`asking for the start of ${topic.id}/${partition.number}`, again);
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
  return error.at;
}
