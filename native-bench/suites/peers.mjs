import { appender } from "../contestants/appender.mjs";
import { compileCode, JOURNALED, openTierlog } from "../contestants/tierlog.mjs";
import { addRow, compare } from "../harness/compare.mjs";
import { formatBytes } from "../harness/format.mjs";
import { payloads } from "../load/payload.mjs";
import { diyStream, diySynced, diyUpload } from "../peers/diy.mjs";
import { classicLevel, hypercore, lmdb } from "../peers/embedded.mjs";
import { nats, rabbitmq, redis } from "../peers/servers.mjs";
import { startSink } from "../sink/start-sink.mjs";

/** By what an ack promises: only those of one class are compared. */
const CLASSES = [
  {
    name: "synced",
    own: { title: "journaled", options: { flags: JOURNALED } },
    peers: {
      lmdb: ["lmdb, synced", lmdb(true)],
      redis: ["Redis Streams, appendfsync always", redis("always")],
      level: ["classic-level, sync", classicLevel(true)],
      diy: ["writev + fdatasync by hand", diySynced],
    },
  },
  {
    name: "memory",
    own: { title: "buffered", options: { ack: "buffered" } },
    peers: {
      unsynced: [
        "tierlog, journaled, fsync never",
        ({ workspace, bytes }) =>
          openTierlog(workspace, { bytes, flags: { ...JOURNALED, "system.journal.fsync": "never" } }),
      ],
      lmdb: ["lmdb, noSync", lmdb(false)],
      level: ["classic-level", classicLevel(false)],
      hypercore: ["hypercore", hypercore],
      redis: ["Redis Streams, everysec", redis("everysec")],
      nats: ["NATS JetStream, file", nats],
      rabbitmq: ["RabbitMQ streams", rabbitmq],
      diy: ["createWriteStream", diyStream],
    },
  },
  {
    name: "store",
    own: { title: "uploaded, linger 0", options: { flags: { "system.flush.linger": "0ms" } }, toSink: true },
    peers: { diy: ["lib-storage by hand", diyUpload] },
  },
];

const POINTS = [
  { bytes: 1024, producers: 256 },
  { bytes: 100, producers: 4096 },
];
/** Only where a target asks for it. */
const BUFFERED_SMALL = { bytes: 100, producers: 256 };

export const peers = {
  name: "peers",
  mode:
    "closed loop, the same values and generator for all. synced: on the disk at the ack; memory: with the system or the server's memory; " +
    "store: in the null S3 sink. tierlog's journaled and buffered rows: the store takes all for nothing",
  blindSpots: [
    "a server over loopback and a library in the process are not the same service; the servers have a core of their own, almost",
    "promises are not quite equal: tierlog's buffered is memory of its process, lmdb's noSync the page cache of the system",
    "no Kafka and no Redpanda: no package of theirs is to be had here",
  ],
  async run(run) {
    const [base, small] = POINTS;
    await compileCode(run.workspace, { flags: JOURNALED });
    for (const one of CLASSES) await classAt(run, one, base);
    const [synced] = CLASSES;
    if (run.full) for (const one of CLASSES) await classAt(run, one, small);
    else await classAt(run, { ...synced, peers: { lmdb: synced.peers.lmdb } }, small);
    await classAt(run, { ...CLASSES[1], peers: { lmdb: CLASSES[1].peers.lmdb } }, BUFFERED_SMALL);
  },
};

async function classAt(run, { name, own, peers: others }, point) {
  const { workspace } = run;
  const { bytes, producers } = point;
  const values = payloads(bytes);
  const sink = name === "store" ? await run.shared("sink", () => startSink(workspace)) : undefined;
  const store = sink === undefined ? {} : { store: sink };
  const contestants = { tierlog: appender(() => openTierlog(workspace, { bytes, ...own.options, ...store }), point) };
  for (const [peer, [, open]] of Object.entries(others)) {
    contestants[peer] = appender(() => open({ workspace, values, bytes, sink }), point);
  }
  const size = `${producers.toLocaleString("en")} × ${formatBytes(bytes)}`;
  const result = await compare(run, { name: `peers, ${name}, ${size}`, turnMs: run.turnMs, contestants });
  for (const [peer, [title]] of Object.entries(others)) {
    addRow(run, result, {
      id: `peers.${name}.${producers}x${formatBytes(bytes).replace(" ", "")}.${peer}`,
      what: `${own.title}, ${size}`,
      unit: "appends/s",
      own: ["tierlog", "rate"],
      other: [peer, "rate", title],
    });
  }
}
