import { compressFrame } from "lz4-napi";

import { appender } from "../contestants/appender.mjs";
import { libStorageUploads } from "../contestants/s3-clients.mjs";
import { openTierlog } from "../contestants/tierlog.mjs";
import { addRow, compare } from "../harness/compare.mjs";
import { payloads } from "../load/payload.mjs";
import { startSink } from "../sink/start-sink.mjs";
import { withCpu } from "./flush.mjs";

const KIB = 1024;
const MIB = 1024 * KIB;
const PARTITIONS = 16;
const RECORDS = 64;
const APPEND_BYTES = RECORDS * KIB;
/** 32 MiB on their way: two flushes, so that one gathers while another is compressed and sent. */
const PRODUCERS = 512;
const FLAGS = { "system.flush.linger": "20ms", "system.flush.max_bytes": "16 MiB" };

export const pipeline = {
  name: "pipeline",
  mode: `append → LZ4 → S3, end to end, level uploaded: ${PARTITIONS} partitions, appends of ${RECORDS} records of 1 KiB, ${PRODUCERS} at a time, flushes of 16 MiB; bytes before compression`,
  blindSpots: ["LZ4 alone is lz4-napi on the thread pool, 8 blocks of 1 MiB at a time, with nothing beside it"],
  async run(run) {
    const sink = await run.shared("sink", () => startSink(run.workspace));
    // The same records as are appended.
    const block = Buffer.concat(payloads(KIB, MIB / KIB));
    const upload = payloads(32 * MIB, 1)[0];
    const load = { producers: PRODUCERS, bytes: APPEND_BYTES };
    const own = (compression) => () =>
      openTierlog(run.workspace, {
        store: sink,
        flags: FLAGS,
        bytes: KIB,
        partitions: PARTITIONS,
        recordsPerAppend: RECORDS,
        compression,
      });
    const result = await compare(run, {
      name: "append → LZ4 → S3",
      turnMs: run.full ? 2000 : 400,
      contestants: {
        lz4: withCpu(appender(own("lz4"), load)),
        none: withCpu(appender(own("none"), load)),
        alone: withCpu(
          appender(async () => ({ append: () => compressFrame(block), close: async () => undefined }), {
            producers: 8,
            bytes: MIB,
          }),
        ),
        diy: withCpu(
          appender(() => libStorageUploads(sink, upload, { tuned: false }), { producers: 1, bytes: upload.length }),
        ),
      },
    });
    const row = { what: "append → LZ4 → S3", unit: "B/s", own: ["lz4", "bytesPerSecond"] };
    addRow(run, result, {
      ...row,
      id: "pipeline.lz4.alone",
      other: ["alone", "bytesPerSecond", "LZ4 alone on these cores"],
    });
    addRow(run, result, {
      ...row,
      id: "pipeline.lz4.diy",
      other: ["diy", "bytesPerSecond", "lib-storage as it comes, uncompressed"],
    });
    addRow(run, result, {
      ...row,
      id: "pipeline.none.diy",
      what: "append → S3, uncompressed",
      own: ["none", "bytesPerSecond"],
      other: ["diy", "bytesPerSecond", "lib-storage as it comes"],
    });
    addRow(run, result, {
      id: "pipeline.lz4.cpu",
      what: "append → LZ4 → S3, CPU",
      unit: "s/GiB",
      own: ["lz4", "cpuPerGib"],
      other: ["alone", "cpuPerGib", "LZ4 alone"],
    });
    addRow(run, result, {
      id: "pipeline.none.cpu",
      what: "append → S3, CPU",
      unit: "s/GiB",
      own: ["none", "cpuPerGib"],
      other: ["diy", "cpuPerGib", "lib-storage as it comes"],
    });
  },
};
