import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ListMultipartUploadsCommand, S3Client } from "@aws-sdk/client-s3";

import { loadConfig } from "../../../src/config/load-config.ts";
import { Engine } from "../../../src/engine/engine.ts";
import type { CollectedGarbage } from "../../../src/engine/garbage-reports.ts";
import type { S3Connection } from "../../support/s3-connection.ts";
import { AckLog } from "../checker/ack-log.ts";
import { check, type CheckReport } from "../checker/check.ts";
import { fsReader, s3Reader, type StoreReader } from "../checker/store-reader.ts";
import { Child, type ChildOptions } from "./child.ts";
import { TinyDisk } from "./faults.ts";

export interface ArenaOptions {
  /** undefined: a store of `kind = "fs"`. */
  readonly s3: ArenaPlace | undefined;
  readonly createTopics: (engine: Engine) => Promise<void>;
  /** Its processes merge and free space without a pause, with a grace so short that whoever is stopped sleeps through it. */
  readonly frees?: boolean;
  /** Default: small journals, quick flushes; where it `frees`, what that takes. */
  readonly tuning?: ArenaTuning;
  /** What its directory's name begins with. Default: "tierlog-rounds-". */
  readonly name?: string;
}

export interface ArenaPlace {
  readonly connection: S3Connection;
  readonly prefix: string;
  /** The endpoint that processes are given, where it is another one than the checker's. */
  readonly through?: string;
}

/** What of the configuration has nothing to do with where things lie. */
export interface ArenaTuning {
  /** Keys of `[system.journal]`, and whole sections. */
  readonly journal: string;
  readonly sections: string;
}

// Journals as small as they may be, so that files fill up, are freed and used again within a round.
const QUICK: ArenaTuning = {
  journal: `
file_size = "4 MiB"
max_size = "12 MiB"
upload_interval = "150ms"
`,
  sections: `
[system.flush]
linger = "2ms"
max_bytes = "2 MiB"
max_wait = "500ms"
[system.batch]
max_bytes = "256 KiB"
[system.index]
checkpoint_every = 16
`,
};

/** How long what nobody needs is kept where space is freed. */
const GRACE = "1s";
const FREEING: ArenaTuning = {
  journal: QUICK.journal,
  sections: `${QUICK.sections}[system.segment]
size = "16 MiB"
max_age = "1s"
[system.merge]
check_interval = "100ms"
max_bytes_per_second = "4 MiB"
[system.gc]
grace = "${GRACE}"
interval = "100ms"
sweep_interval = "500ms"
`,
};

export interface NodeSettings {
  /** Which journal: a directory of this name. undefined: `ack_after_upload = true`, and the journal named here is not given up. */
  readonly journal: string;
  readonly ackAfterUpload: boolean;
  readonly lease: "off" | "2s";
  /** Default "always". */
  readonly fsync?: "always" | "interval";
}

/** One store, the journals of the nodes that used it, and what producers were told of it. */
export class Arena {
  readonly directory: string;
  readonly log = new AckLog();
  /** Ids that stood in a journal alone when its disk was lost. */
  readonly lost = new Set<string>();
  readonly #options: ArenaOptions;
  readonly #journals = new Set<string>();
  readonly #client: S3Client | undefined;
  /** What the checker sees. */
  readonly store: StoreReader;
  /** How far the checker lets records be trimmed away, and the topics that may have been deleted: see `CheckInput`. */
  trims: ReadonlyMap<string, number> | undefined;
  deleted: ReadonlyMap<string, number> | undefined;
  readonly #disks: TinyDisk[] = [];
  #children: Child[] = [];
  #launched = 0;

  static async make(options: ArenaOptions): Promise<Arena> {
    const arena = new Arena(await mkdtemp(join(tmpdir(), options.name ?? "tierlog-rounds-")), options);
    const file = await arena.configFile({ journal: "a", ackAfterUpload: true, lease: "off" });
    const { config } = await loadConfig({ file, env: arena.env(), cwd: arena.directory });
    const engine = await Engine.open(config);
    await options.createTopics(engine);
    await engine.close();
    return arena;
  }

  private constructor(directory: string, options: ArenaOptions) {
    this.directory = directory;
    this.#options = options;
    if (options.s3 === undefined) {
      this.store = fsReader(join(directory, "data", "store"));
      return;
    }
    const { connection, prefix } = options.s3;
    const { endpoint, region, accessKeyId, secretAccessKey, bucket } = connection;
    const credentials = { accessKeyId, secretAccessKey };
    this.#client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
    this.store = s3Reader(this.#client, bucket, prefix);
  }

  /** Where a journal of this name lies; it need not exist. The checker looks at it from now on. */
  journalPath(name: string): string {
    this.#journals.add(name);
    return join(this.directory, "journals", name);
  }

  /** Its disk is gone. A check must have gone well before: what is nowhere to be found now stood in this journal alone. */
  async loseJournal(name: string): Promise<CheckReport> {
    await rm(this.journalPath(name), { recursive: true, force: true });
    const report = await this.#check();
    const { inChain, inJournal, inAside } = report;
    for (const { id, level } of this.log.acks.values()) {
      if (level === "journaled" && !inChain.has(id) && !inJournal.has(id) && !inAside.has(id)) this.lost.add(id);
    }
    return report;
  }

  async copyJournal(from: string, to: string): Promise<void> {
    await cp(this.journalPath(from), this.journalPath(to), { recursive: true });
  }

  /** A journal of this name on a disk of its own, `mebibytes` large; it must not exist yet. */
  async tinyDisk(name: string, mebibytes: number): Promise<TinyDisk> {
    const disk = await TinyDisk.mount(this.journalPath(name), mebibytes);
    this.#disks.push(disk);
    return disk;
  }

  async produce(settings: NodeSettings, seed: number, under?: readonly string[]): Promise<Child> {
    const process = `${String(this.#launched++).padStart(4, "0")}${settings.journal}`;
    // uploaded once in a while only: it makes the shard flush, and most acks shall be journaled ones with their flush still to come.
    const levels = settings.ackAfterUpload
      ? []
      : ["journaled", "journaled", "journaled", "journaled", "journaled", "journaled", "uploaded", "buffered"];
    const { frees } = this.#options;
    const bytes = seed % 3 === 0 ? (frees === true ? 6000 : 24_000) : 600;
    // Merging is to keep up with what is produced, and the checker with what both leave behind.
    const pauseMs = frees === true ? 40 : 4;
    const config = await this.configFile(settings);
    const argument = JSON.stringify({ config, process, seed, levels, bytes, pauseMs });
    const env = this.env();
    const script = new URL("producer.mjs", import.meta.url);
    return this.start({ script, argument, env, log: this.log, ...(under && { under }) });
  }

  async recover(settings: NodeSettings): Promise<Child> {
    const argument = await this.configFile(settings);
    const script = new URL("recover.mjs", import.meta.url);
    return this.start({ script, argument, env: this.env(), log: this.log });
  }

  /** Names of all data objects, whether a link names them or not. Processes may be at work. */
  async dataObjects(): Promise<string[]> {
    return await this.store.list("data/");
  }

  /** The seqs of the index files that are there, by shard, ascending. Processes may be at work. */
  async links(): Promise<Map<number, number[]>> {
    const seqs = new Map<number, number[]>();
    for (const key of await this.store.list("index/")) {
      const [, shard = "", seq = ""] = /^index\/(\d+)\/(\d+)\.idx$/.exec(key) ?? [];
      seqs.set(Number(shard), [...(seqs.get(Number(shard)) ?? []), Number(seq)]);
    }
    return seqs;
  }

  /** Uploads that were begun and neither completed nor aborted; 0 in a directory, where none outlives its process. */
  async openUploads(): Promise<number> {
    const { s3 } = this.#options;
    if (s3 === undefined || this.#client === undefined) return 0;
    const Prefix = `${s3.prefix}/`;
    const page = await this.#client.send(
      new ListMultipartUploadsCommand({ Bucket: s3.connection.bucket, Prefix, MaxUploads: 1000 }),
    );
    return page.Uploads?.length ?? 0;
  }

  /** Takes all shards over, and frees whatever can be freed. No process may use the store. */
  async free(settings: NodeSettings): Promise<CollectedGarbage> {
    const { config } = await loadConfig({
      file: await this.configFile(settings),
      env: this.env(),
      cwd: this.directory,
    });
    // What it merged itself would be superseded, or cut off, behind its own listing.
    const engine = await Engine.open({ ...config, merge: { ...config.merge, enabled: false } });
    try {
      return await engine.collectGarbage();
    } finally {
      await engine.close();
    }
  }

  /** Throws with everything that is wrong. No process may use the store. */
  async check(): Promise<CheckReport> {
    const report = await this.#check();
    if (report.violations.length > 0) {
      const shown = report.violations.slice(0, 20).join("\n  ");
      throw new Error(`${report.violations.length} violations:\n  ${shown}`);
    }
    return report;
  }

  async #check(): Promise<CheckReport> {
    const journals = [...this.#journals].map((name) => this.journalPath(name));
    const { store, log, lost, trims, deleted } = this;
    return await check({ store, journals, log, lost, ...(trims && { trims }), ...(deleted && { deleted }) });
  }

  env(): NodeJS.ProcessEnv {
    const { s3 } = this.#options;
    return {
      PATH: process.env["PATH"],
      AWS_ACCESS_KEY_ID: s3?.connection.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3?.connection.secretAccessKey,
    };
  }

  /** A process that `keep` and `dispose` end, if nobody has before. */
  start(options: ChildOptions): Child {
    const child = new Child(options);
    this.#children = [...this.#children.filter(({ ended }) => !ended), child];
    return child;
  }

  /** Ends what a failed round left running, and keeps what it left on disks. */
  async keep(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.kill()));
    for (const disk of this.#disks) await cp(disk.path, `${disk.path}.kept`, { recursive: true });
    await writeFile(join(this.directory, "acks.json"), JSON.stringify([...this.log.acks.values()]));
    this.#release();
  }

  #release(): void {
    this.#client?.destroy();
    for (const disk of this.#disks) disk.unmount();
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.kill()));
    this.#release();
    await rm(this.directory, { recursive: true, force: true });
  }

  async configFile({ journal, ackAfterUpload, lease, fsync = "always" }: NodeSettings): Promise<string> {
    const { s3, frees, tuning = frees === true ? FREEING : QUICK } = this.#options;
    const kind = s3 === undefined ? "fs" : "object";
    const place =
      s3 === undefined
        ? ""
        : `endpoint = "${s3.through ?? s3.connection.endpoint}"
bucket = "${s3.connection.bucket}"
region = "${s3.connection.region}"
prefix = "${s3.prefix}"
`;
    const text = `
[system]
path = "${join(this.directory, "data")}"
shards = 2
[system.storage]
kind = "${kind}"
[system.storage.object]
ack_after_upload = ${ackAfterUpload}
multipart_part_size = "5 MiB"
request_timeout = "2s"
${place}
[system.journal]
path = "${this.journalPath(journal)}"
fsync = "${fsync}"
fsync_interval = "20ms"
${tuning.journal}
[system.fence]
lease = "${lease}"
${tuning.sections}
`;
    const name = `${journal}-${ackAfterUpload ? "uploaded" : "journaled"}-${lease}-${fsync}.toml`;
    await mkdir(join(this.directory, "journals"), { recursive: true });
    await writeFile(join(this.directory, name), text);
    return join(this.directory, name);
  }
}
