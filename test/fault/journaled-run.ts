import type { Config } from "../../src/config/config.ts";
import type { AckLevel, AppendReceipt, ObjectKey, Seq, ShardId } from "../../src/domain.ts";
import { Engine } from "../../src/engine/engine.ts";
import { isTierlogError } from "../../src/errors.ts";
import { decodeLink, decodeLinkHeader } from "../../src/index-chain/index-file.ts";
import { readAside } from "../../src/journal/aside.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { decodeRecords, readBatchHeader } from "../../src/record/batch.ts";
import type { Clock } from "../../src/runtime/clock.ts";
import { seededRandom, type Random } from "../../src/runtime/random.ts";
import { testConfig } from "../support/engine.ts";
import { diskProblem, SimulatedDisk, type DiskCall, type Interference } from "../support/simulated-disk.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { idOf, JournaledLedger, type JournaledCounts } from "./journaled-ledger.ts";
import { UnreliableNet, Weather } from "./unreliable-net.ts";

const MIB = 1024 * 1024;
const ROOT = "/data";
const JOURNAL = `${ROOT}/journal`;
const PARTITIONS = 2;
const TOPICS = ["as-configured", "journaled", "uploaded"] as const;
const DISK_CHANGES: readonly DiskCall["call"][] = ["write", "rename", "remove", "writeNew", "makeDirectory"];
const LEVELS: readonly AckLevel[] = ["journaled", "uploaded"];
const UPLOADED: readonly AckLevel[] = ["uploaded"];
/** What a call may take longer than its limits say: hops of the net. */
const SLACK_MS = 200;
const END_MS = 2000;

export interface JournaledReport extends JournaledCounts {
  /** How often by kind: faults of net and disk, and what became of processes. */
  readonly struck: ReadonlyMap<string, number>;
  readonly reads: number;
}

export interface JournaledProgress {
  phase: string;
  /** What the script did, with the virtual time. */
  readonly events: string[];
}

interface Settings {
  readonly fenceLeaseMs: number;
  readonly shutdownTimeoutMs: number;
  readonly ackAfterUpload: boolean;
}

/** A process with its own view of clock, disk and store, which all end with it. */
class Process {
  readonly name: string;
  readonly disk: SimulatedDisk;
  readonly net: UnreliableNet;
  readonly settings: Settings;
  readonly clock: Clock;
  engine: Engine | undefined;
  gone = false;
  /** Never settles before the process is killed; rejects then. */
  readonly killed: Promise<never>;
  #kill: (reason: Error) => void = () => undefined;

  constructor(name: string, disk: SimulatedDisk, net: UnreliableNet, clock: VirtualClock, settings: Settings) {
    this.name = name;
    this.disk = disk;
    this.net = net;
    this.settings = settings;
    this.clock = {
      now: () => Math.floor(clock.now()) + 1_700_000_000_000,
      monotonic: () => clock.now(),
      schedule: (delayMs, callback) => clock.schedule(delayMs, () => (this.gone ? undefined : callback())),
    };
    this.killed = new Promise((_, reject) => {
      this.#kill = reject;
    });
    this.killed.catch(() => undefined);
  }

  kill(): void {
    this.gone = true;
    this.net.cut();
    this.disk.crash();
    this.#kill(new Killed());
  }

  /** The result of `work`, unless the process is killed first. */
  alive<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.killed]);
  }
}

class Killed extends Error {}

/**
 * One seeded script in virtual time: producers and readers, and processes that come, die and fence one another over a disk and a
 * store that fail. In the end all is well again, every journal is recovered, and what is stored is checked. Throws at the first
 * broken promise.
 */
export async function runJournaledScript(seed: number, progress: JournaledProgress): Promise<JournaledReport> {
  const script = new Script(seed, progress);
  try {
    return await script.run();
  } finally {
    script.end();
  }
}

class Script {
  readonly #random: Random;
  readonly #clock = new VirtualClock();
  readonly #weather = new Weather();
  readonly #bucket: ObjectStore = createMemoryStore();
  readonly #ledger = new JournaledLedger();
  readonly #progress: JournaledProgress;
  /** Disks without a process, by name. */
  readonly #disks = new Map<string, SimulatedDisk>();
  readonly #processes = new Set<Process>();
  readonly #config: Config;
  readonly #valueBytes: number;
  readonly #diskCodes: readonly string[];
  #diskRate = 0;
  #producing = true;
  #reading = true;
  #foreign = false;
  #copied = false;
  /** When and by whom a shard was fenced: each fence is live, or void because of one at the same place. */
  readonly #fences: { readonly shard: number; readonly epoch: number; readonly atMs: number; readonly by: string }[] =
    [];
  #names = 0;
  #broken: Error | undefined;

  constructor(seed: number, progress: JournaledProgress) {
    const random = seededRandom(seed);
    this.#random = random;
    this.#progress = progress;
    const big = random.float() < 0.25;
    this.#valueBytes = big ? 600_000 : 150;
    this.#diskCodes = this.#pick([["EIO"], ["ENOSPC"], ["EIO", "ENOSPC", "EMFILE", "short"]]);
    this.#config = {
      ...testConfig({
        path: ROOT,
        shards: 2,
        checkpointEvery: 16,
        storage: {
          object: {
            requestTimeoutMs: 1000,
            deadlineMs: this.#pick([3000, 10_000]),
            multipartPartSizeBytes: 5 * MIB,
          },
        },
        flush: {
          lingerMs: 2,
          maxWaitMs: this.#pick([300, 2000]),
          maxBytes: big ? this.#pick([MIB, 6 * MIB]) : this.#pick([4096, MIB]),
          maxPendingBytes: big ? 4 * MIB : this.#pick([8192, 16 * MIB]),
        },
        journal: {
          fileSizeBytes: 4 * MIB,
          maxSizeBytes: this.#pick([8, 8, 12]) * MIB,
          fsync: this.#pick(["always", "always", "interval"] as const),
          uploadIntervalMs: this.#pick([1, 50, 500]),
          // A backlog of MiB at the lower rate takes minutes, and what waits behind it as long.
          catchUpRateBytes: big ? 64 * MIB : this.#pick([64 * 1024, 64 * MIB]),
        },
      }),
    };
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random.float() * list.length)] as T;
  }

  #chance(part: number): boolean {
    return this.#random.float() < part;
  }

  #event(text: string): void {
    const kind = text.split(":")[0] ?? text;
    this.#weather.count(kind);
    this.#progress.events.push(`${Math.round(this.#clock.now())} ${text}`);
  }

  /** A promise was broken: the script ends with it. */
  #break(error: unknown): void {
    this.#broken ??= error instanceof Error ? error : new Error(String(error));
  }

  end(): void {
    this.#producing = this.#reading = false;
    for (const process of this.#processes) process.kill();
  }

  async run(): Promise<JournaledReport> {
    await this.#makeTopics();
    this.#start("A", new SimulatedDisk());
    const producers = Array.from({ length: 4 }, (_, i) => this.#produce(i));
    const readers = TOPICS.flatMap((topic) => [0, 1].map((partition) => this.#read(topic, partition)));
    const steps = 8 + Math.floor(this.#random.float() * 14);
    this.#weather.rate = this.#pick([0, 0.05, 0.2]);
    for (let step = 0; step < steps; step++) {
      this.#progress.phase = `step ${step} of ${steps}`;
      await this.#advance(this.#pick([5, 60, 400, 1500]) * (0.5 + this.#random.float()));
      await this.#act();
    }
    this.#progress.phase = "faults end";
    this.#weather.rate = this.#diskRate = this.#weather.outageUntilMs = 0;
    await this.#advance(2000);
    this.#producing = false;
    await this.#inTime(Promise.all(producers), 120_000, "appends settle");
    await this.#advance(2000);
    await this.#inTime(this.#probe(), 60_000, "all is well again");
    for (const process of this.#processes) {
      const pending = process.engine?.metrics().pendingBytes ?? 0;
      if (pending !== 0) throw new Error(`${process.name} holds ${pending} pending bytes with nobody waiting`);
      if (this.#chance(0.5)) await this.#inTime(this.#close(process), 60_000, "close");
      else this.#kill(process, "kill");
    }
    this.#reading = false;
    await this.#inTime(Promise.all(readers), 60_000, "readers end");
    await this.#advance(30_000);
    await this.#recoverAll();
    this.#progress.phase = "check";
    const reader = await this.#openPlain(true);
    const counts = await this.#ledger.check(reader, await this.#aside(), {
      mayBeAside: this.#foreign,
      // A copy may go on with what the original has set aside.
      mayBeBoth: this.#copied,
    });
    await reader.close();
    if (this.#broken !== undefined) throw this.#broken;
    return { ...counts, struck: this.#weather.struck, reads: this.#ledger.reads };
  }

  async #advance(ms: number): Promise<void> {
    // Few turns: a step that takes longer meets the next timer, as on a busy machine.
    await this.#clock.advance(ms, 3);
    if (this.#broken !== undefined) throw this.#broken;
  }

  async #inTime<T>(work: Promise<T>, limitMs: number, what: string): Promise<T> {
    this.#progress.phase = what;
    let settled = false;
    const done = work.finally(() => {
      settled = true;
    });
    done.catch(() => undefined);
    for (let waitedMs = 0; waitedMs <= limitMs; waitedMs += 50) {
      await this.#advance(50);
      if (settled) return done;
    }
    throw new Error(`"${what}" takes more than ${limitMs} ms`);
  }

  /** Without faults between. */
  #openPlain(readOnly: boolean): Promise<Engine> {
    const config = testConfig({ shards: this.#config.shards });
    return Engine.open(config, { objectStore: this.#bucket, readOnly });
  }

  async #makeTopics(): Promise<void> {
    const config = { ...this.#config, storage: { ...this.#config.storage } };
    const store = this.#bucket;
    const disk = new SimulatedDisk();
    const object = { ...config.storage.object, ackAfterUpload: false };
    const engine = await Engine.open(
      { ...config, storage: { ...config.storage, object } },
      { objectStore: store, runtime: { fileSystem: disk, random: this.#random } },
    );
    for (const topic of TOPICS) {
      await engine.createTopic(topic, {
        partitions: PARTITIONS,
        ...(topic === "as-configured" ? {} : { ack: topic }),
      });
    }
    await engine.close();
  }

  /** Opens a process on `disk` in the background. */
  #start(name: string, disk: SimulatedDisk, wanted: Partial<Settings> = {}): Process {
    const settings: Settings = {
      fenceLeaseMs: this.#pick([0, 0, 1000]),
      shutdownTimeoutMs: this.#pick([100, 5000, 30_000]),
      ackAfterUpload: this.#chance(0.1),
      ...wanted,
    };
    disk.interfere = (call) => this.#interfere(call);
    const net = new UnreliableNet(this.#bucket, this.#clock, this.#random, this.#weather);
    net.onLanded = (key, bytes) => this.#landed(name, key, bytes);
    const process = new Process(name, disk, net, this.#clock, settings);
    this.#processes.add(process);
    this.#event(`start: ${name} ${JSON.stringify(settings)}`);
    void this.#open(process);
    return process;
  }

  #landed(by: string, key: ObjectKey, bytes: Uint8Array): void {
    const [, shard, seq] = /^index\/(\d+)\/(\d+)/.exec(key) ?? [];
    if (shard === undefined || seq === undefined) return;
    const header = decodeLinkHeader(bytes, key, Number(shard) as ShardId, Number(seq) as Seq);
    const { entries, epoch } = decodeLink(bytes, header, bytes.length, key);
    const isFence = entries.some(({ type }) => type === "fence");
    if (isFence) this.#fences.push({ shard: Number(shard), epoch, atMs: this.#clock.now(), by });
  }

  /** I4: behind another's fence a journaled ack comes at most the lease later. */
  #checkLease(process: Process, shard: number | undefined, { level, epoch }: AppendReceipt): void {
    const { fenceLeaseMs } = process.settings;
    if (level !== "journaled" || fenceLeaseMs === 0) return;
    const limitMs = this.#clock.now() - fenceLeaseMs - 1;
    const fence = this.#fences.find(
      (one) => one.shard === shard && one.epoch > epoch && one.atMs < limitMs && one.by !== process.name,
    );
    if (fence === undefined) return;
    this.#break(new Error(`${process.name} acked in epoch ${epoch} at ${this.#clock.now()}: ${JSON.stringify(fence)}`));
  }

  async #open(process: Process): Promise<void> {
    const { disk, settings } = process;
    const { storage } = this.#config;
    const config: Config = {
      ...this.#config,
      shutdownTimeoutMs: settings.shutdownTimeoutMs,
      fence: { leaseMs: settings.fenceLeaseMs },
      storage: { ...storage, object: { ...storage.object, ackAfterUpload: settings.ackAfterUpload } },
    };
    try {
      const runtime = { clock: process.clock, random: this.#random, fileSystem: disk };
      process.engine = await process.alive(Engine.open(config, { objectStore: process.net.store, runtime }));
      this.#event(`opened: ${process.name}`);
    } catch (error) {
      if (process.gone) return;
      this.#event(`open failed: ${process.name} ${String(error)}`);
      this.#expected(error, "open");
      this.#leave(process);
    }
  }

  /** What an injected fault can lead to; all else is a broken promise. */
  #expected(error: unknown, what: string): void {
    if (error instanceof Killed) return;
    if (isTierlogError(error) && ["unavailable", "fenced", "closed", "aborted"].includes(error.kind)) return;
    // A topic of a level that this engine has no journal for.
    if (isTierlogError(error) && error.code === "TIERLOG_INVALID_ARGUMENT" && String(error).includes("no journal"))
      return;
    if (isTierlogError(error) && error.code === "TIERLOG_OFFSET_OUT_OF_RANGE") return;
    const code = isTierlogError(error) ? error.code : "no code";
    this.#break(new Error(`${what} failed with ${code} ${String(error)}`, { cause: error }));
  }

  /** The process has ended by itself: its disk is free for the next one, and it must not touch it any more. */
  #leave(process: Process): void {
    const { disk, name } = process;
    this.#processes.delete(process);
    if (disk.openFiles !== 0) this.#break(new Error(`${name} left ${disk.openFiles} files open`));
    this.#disks.set(name, disk.afterKill());
    disk.interfere = (call) => {
      if (DISK_CHANGES.includes(call.call))
        this.#break(new Error(`${name} is closed and calls ${JSON.stringify(call)}`));
      return undefined;
    };
  }

  #kill(process: Process, how: "kill" | "power cut" | "copy"): void {
    this.#event(`${how}: ${process.name}`);
    process.kill();
    this.#processes.delete(process);
    const { disk, name } = process;
    if (how === "copy") {
      this.#foreign = this.#copied = true;
      this.#disks.set(`${name}${++this.#names}`, disk.afterKill());
    }
    this.#disks.set(name, how === "power cut" ? disk.afterPowerCut(this.#random) : disk.afterKill());
  }

  async #close(process: Process): Promise<void> {
    const { engine, name, settings } = process;
    if (engine === undefined) return;
    this.#event(`close: ${name}`);
    const startedMs = this.#clock.now();
    process.engine = undefined;
    try {
      await process.alive(engine.close());
    } catch (error) {
      if (process.gone) return;
      this.#expected(error, "close");
    }
    if (process.gone) return;
    const tookMs = this.#clock.now() - startedMs;
    this.#event(`closed: ${name} after ${Math.round(tookMs)}`);
    const limitMs = settings.shutdownTimeoutMs + END_MS + SLACK_MS;
    if (tookMs > limitMs) this.#break(new Error(`close took ${tookMs} ms, the limit is ${limitMs} ms`));
    const pending = engine.metrics().pendingBytes;
    if (pending !== 0) this.#break(new Error(`${name} is closed and holds ${pending} pending bytes`));
    this.#leave(process);
  }

  #interfere({ call, bytes }: DiskCall): Interference {
    if (!this.#chance(this.#diskRate)) return undefined;
    const code = this.#pick(this.#diskCodes);
    const strikes: Record<string, readonly DiskCall["call"][]> = {
      EIO: ["write", "datasync", "sync", "rename", "open", "syncDirectory"],
      ENOSPC: ["write", "open"],
      EMFILE: ["open"],
      short: ["write"],
    };
    if (strikes[code]?.includes(call) !== true) return undefined;
    this.#weather.count(`disk ${call} ${code}`);
    if (code === "short") return { shortBytes: Math.floor(this.#random.float() * (bytes ?? 1)) };
    const afterBytes = code === "EIO" && call === "write" ? Math.floor(this.#random.float() * (bytes ?? 1)) : 0;
    return { error: diskProblem(code), afterBytes };
  }

  async #act(): Promise<void> {
    const living = [...this.#processes];
    const process = living.length === 0 ? undefined : this.#pick(living);
    const draw = this.#random.float();
    if (process === undefined || (draw < 0.1 && living.length < 2)) {
      const names = [...this.#disks.keys()];
      if (living.length > 0 || names.length === 0) {
        // Another writer, with a journal of its own, old or new.
        this.#foreign = true;
        const old = names.length > 0 && this.#chance(0.5) ? this.#pick(names) : undefined;
        const disk = old === undefined ? new SimulatedDisk() : this.#disks.get(old);
        const name = old ?? `B${++this.#names}`;
        if (disk === undefined) return;
        this.#disks.delete(name);
        this.#start(name, disk);
        return;
      }
      // Mostly the one that went last: another's turn would set aside what it left.
      const name = this.#chance(0.85) ? (names.at(-1) as string) : this.#pick(names);
      if (names.length > 1) this.#foreign = true;
      const disk = this.#disks.get(name) as SimulatedDisk;
      this.#disks.delete(name);
      this.#start(name, disk);
      return;
    }
    if (draw < 0.2) this.#kill(process, "kill");
    else if (draw < 0.28) this.#kill(process, this.#config.journal.fsync === "always" ? "power cut" : "kill");
    else if (draw < 0.31) this.#kill(process, "copy");
    else if (draw < 0.45) {
      const closing = this.#close(process);
      if (this.#chance(0.7)) await this.#inTime(closing, 60_000, "close");
      else closing.catch((error: unknown) => this.#break(error));
    } else if (draw < 0.57) {
      this.#event("outage");
      this.#weather.outageUntilMs = this.#clock.now() + this.#pick([200, 2000, 20_000]);
    } else if (draw < 0.69) {
      this.#event("bad disk");
      this.#diskRate = this.#pick([0.01, 0.1, 0.6]);
    } else if (draw < 0.76) {
      this.#diskRate = 0;
    } else if (draw < 0.82) {
      this.#weather.rate = this.#pick([0, 0.05, 0.3]);
    } else if (draw < 0.88) {
      this.#inBackground(process, process.engine?.flush(), "flush");
    } else if (draw < 0.92) {
      this.#inBackground(process, process.engine?.recover(), "recover");
    }
  }

  #inBackground(process: Process, work: Promise<unknown> | undefined, what: string): void {
    if (work === undefined) return;
    this.#event(what);
    process.alive(work).catch((error: unknown) => this.#expected(error, what));
  }

  /** Appends to all topics and levels, a few at once, until it is told to stop. */
  async #produce(number: number): Promise<void> {
    let n = 0;
    const padding = "x".repeat(this.#valueBytes);
    while (this.#producing) {
      const process = this.#pickOpen();
      if (process === undefined) {
        await this.#pause(40);
        continue;
      }
      const topic = this.#pick(TOPICS);
      const partition = Math.floor(this.#random.float() * PARTITIONS);
      const appends = Array.from({ length: 1 + Math.floor(this.#random.float() * 4) }, () => {
        const records = this.#valueBytes > 1000 ? 1 : 1 + Math.floor(this.#random.float() * 3);
        const ids = Array.from({ length: records }, () => `${number}.${n++}`);
        return this.#append(process, topic, partition, ids, padding);
      });
      await Promise.all(appends);
      await this.#pause(this.#pick([1, 20, 200]));
    }
  }

  /** With nothing in the way, whoever still owns a shard takes appends of every level. */
  async #probe(): Promise<void> {
    // A backlog that is worked off slowly may fill the journal for minutes.
    if (this.#config.journal.catchUpRateBytes < MIB) return;
    // The longest pause between two tries of an upload.
    await this.#pause(11_000);
    for (const process of this.#processes) {
      const { engine } = process;
      if (engine === undefined) continue;
      for (const ack of process.settings.ackAfterUpload ? UPLOADED : LEVELS) {
        for (let number = 0; number < PARTITIONS; number++) {
          const id = `probe ${process.name} ${ack} ${number}.0`.replaceAll(" ", "-");
          try {
            const records = [{ value: Buffer.from(`${id} `) }];
            const receipt = await (await engine.topic("uploaded")).partition(number).append(records, { ack });
            this.#ledger.acked([id], receipt, `${process.name} uploaded/${number}`);
          } catch (error) {
            this.#ledger.failed([id], isTierlogError(error) ? error.effect : "unknown", process.name);
            if (isTierlogError(error) && error.kind === "fenced") continue;
            this.#break(new Error(`${process.name} takes no appends: ${String(error)}`, { cause: error }));
          }
        }
      }
    }
  }

  #pickOpen(): Process | undefined {
    const open = [...this.#processes].filter(({ engine }) => engine !== undefined);
    return open.length === 0 ? undefined : this.#pick(open);
  }

  async #append(
    process: Process,
    topicName: string,
    number: number,
    ids: readonly string[],
    padding: string,
  ): Promise<void> {
    const by = `${process.name} at ${Math.round(this.#clock.now())}`;
    const { engine } = process;
    const ack = this.#pick<AckLevel | undefined>([undefined, undefined, "buffered", "journaled", "uploaded"]);
    try {
      if (engine === undefined) throw new Killed();
      const topic = await process.alive(engine.topic(topicName));
      const records = ids.map((id) => ({ value: Buffer.from(`${id} ${padding}`) }));
      const appended = topic.partition(number).append(records, ack === undefined ? {} : { ack });
      const receipt = await process.alive(appended);
      this.#ledger.acked(ids, receipt, `${by} ${topicName}/${number}`);
      this.#checkLease(process, topic.description.shards[number], receipt);
    } catch (error) {
      this.#ledger.failed(
        ids,
        isTierlogError(error) ? error.effect : "unknown",
        `${by} ${topicName}/${number} ${String(error)}`,
      );
      this.#expected(error, `append of ${ids[0]} to ${topicName}/${number}`);
    }
  }

  /** Follows the end of one partition, through whichever process is there. */
  async #read(topicName: string, number: number): Promise<void> {
    const where = `${topicName}/${number}`;
    let from = 0;
    while (this.#reading) {
      const process = this.#pickOpen();
      const { engine } = process ?? {};
      await this.#pause(this.#pick([5, 50, 200]));
      if (process === undefined || engine === undefined) continue;
      try {
        const partition = (await process.alive(engine.topic(topicName))).partition(number);
        const { batches, nextOffset, watermarks } = await process.alive(partition.read({ from }));
        const { start, uploaded: inChain, durable, end } = watermarks;
        if (start > inChain || inChain > durable || durable > end || nextOffset > durable) {
          this.#break(new Error(`${where}: read to ${nextOffset}, watermarks ${JSON.stringify(watermarks)}`));
        }
        const uploaded = topicName === "uploaded" || (topicName === "as-configured" && process.settings.ackAfterUpload);
        for (const batch of batches) this.#ledger.saw(where, uploaded ? "uploaded" : "journaled", batch);
        from = this.#chance(0.05) ? 0 : nextOffset;
      } catch (error) {
        if (!isTierlogError(error) && !(error instanceof Killed)) this.#break(error);
        this.#expected(error, `read of ${where}`);
        if (isTierlogError(error) && error.code === "TIERLOG_OFFSET_OUT_OF_RANGE") from = 0;
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.schedule(ms, resolve);
    });
  }

  /** Every journal there is, recovered with nothing in the way. */
  async #recoverAll(): Promise<void> {
    for (const [name, disk] of this.#disks) {
      disk.interfere = () => undefined;
      const process = this.#start(name, disk, { ackAfterUpload: false, shutdownTimeoutMs: 30_000 });
      const recovered = async (): Promise<void> => {
        while (process.engine === undefined && this.#processes.has(process)) await this.#pause(20);
        await process.engine?.recover();
        await this.#close(process);
      };
      await this.#inTime(recovered(), 120_000, `final recovery of ${name}`);
    }
  }

  async #aside(): Promise<ReadonlySet<string>> {
    const ids = new Set<string>();
    for (const disk of this.#disks.values()) {
      for (const shard of ["0000", "0001"]) {
        const directory = `${JOURNAL}/${shard}/aside`;
        for (const { name } of await disk.list(directory)) {
          for await (const { frame, payload } of readAside(`${directory}/${name}`, disk)) {
            for (const { position, lengthBytes } of frame.extents) {
              for (let at = position; at < position + lengthBytes;) {
                const header = readBatchHeader(payload, at, { key: name, position: at });
                const batch = payload.subarray(at, at + header.lengthBytes);
                for (const { value } of decodeRecords(batch, { key: name, position: at })) ids.add(idOf(value));
                at += header.lengthBytes;
              }
            }
          }
        }
      }
    }
    return ids;
  }
}
