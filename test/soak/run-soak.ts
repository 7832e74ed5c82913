import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

import { loadConfig } from "../../src/config/load-config.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { verifyStore } from "../../src/engine/verify-store.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { Arena, type ArenaPlace } from "../crash/rounds/arena.ts";
import { shuffled } from "../crash/rounds/run-rounds.ts";
import { journalBytes, storeObjects, useReport, type StoreObjects, type UseReport } from "./bounds.ts";
import { HARMFUL, HARMLESS, HARMLESS_ON_SERVER, type Event } from "./events.ts";
import { RETAINED_BYTES, Story } from "./story.ts";
import { TUNING, World, type Server } from "./world.ts";

export interface SoakOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly on?: { readonly place: ArenaPlace; readonly server: Server };
}

export interface SoakReport {
  readonly events: ReadonlyMap<string, number>;
  readonly counts: ReadonlyMap<string, number>;
  readonly acked: number;
  readonly extents: number;
  readonly objects: StoreObjects;
  readonly producers: UseReport;
  readonly reader: UseReport;
  readonly journalFileBytesMax: number;
  readonly asideBytes: number;
}

/**
 * Everything at once for so many seconds, or until every event has happened: a first third in which no process dies, then all of it. Then
 * everybody leaves, garbage is collected, and the store is judged. Throws at the first broken promise, with what repeats the run; the
 * directory is kept then.
 */
export async function soak({ seconds, seed, on }: SoakOptions): Promise<SoakReport> {
  const random = seededRandom(seed);
  const arena = await Arena.make({ s3: on?.place, createTopics, tuning: TUNING, name: "tierlog-soak-" });
  const story = new Story(arena.log);
  const world = new World({ arena, story, random, server: on?.server });
  const events = new Map<string, number>();
  const journals = { files: 0 };
  try {
    const startedAt = Date.now();
    const passed = (): number => (Date.now() - startedAt) / 1000;
    await world.own("a");
    await world.read();
    const live = async (kinds: readonly Event[], isOver: () => boolean): Promise<void> => {
      for (let queue: Event[] = []; !isOver();) {
        if (queue.length === 0) queue = shuffled(kinds, random);
        const event = queue.pop()!;
        await event(world).catch((error: unknown) => {
          throw new Error(`${event.name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
        });
        events.set(event.name, (events.get(event.name) ?? 0) + 1);
        journals.files = Math.max(journals.files, (await journalBytes(join(arena.directory, "journals"))).files);
        throwIfAny(story.broken);
      }
    };
    const harmless = on === undefined ? HARMLESS : HARMLESS_ON_SERVER;
    const all = [...harmless, ...HARMFUL];
    await live(harmless, () => passed() >= seconds / 3);
    await live(all, () => passed() >= seconds && all.every(({ name }) => events.has(name)));
    await world.end();
    return { events, ...(await judge(world)), journalFileBytesMax: journals.files };
  } catch (error) {
    await arena.keep();
    const counts = JSON.stringify({ events: [...events], counts: [...story.counts] });
    throw new Error(
      `seed ${seed}; the store and the journals are kept in ${arena.directory}: ${error instanceof Error ? error.message : String(error)}\n${counts}`,
      { cause: error },
    );
  }
}

async function createTopics(engine: Engine): Promise<void> {
  await engine.createTopic("keep", { partitions: 2, ack: "uploaded" });
  await engine.createTopic("trim", { partitions: 3 });
  await engine.createTopic("retain", {
    partitions: 3,
    compression: "lz4",
    ack: "uploaded",
    retentionBytes: RETAINED_BYTES.get("retain")!,
  });
  await engine.createTopic("large", {
    partitions: 2,
    compression: "lz4",
    retentionBytes: RETAINED_BYTES.get("large")!,
  });
}

async function judge(world: World): Promise<Omit<SoakReport, "events" | "journalFileBytesMax">> {
  const { arena, story } = world;
  const file = await arena.configFile(world.settings("a"));
  const env = arena.env();
  const cli = new URL("../../dist/cli/main.js", import.meta.url).pathname;
  await promisify(execFile)(process.execPath, [cli, "gc", "--config", file], { env, cwd: arena.directory });

  arena.trims = story.trims;
  arena.deleted = story.deleted;
  const report = await arena.check();
  story.finish(report);
  throwIfAny(story.broken);
  const { config } = await loadConfig({ file, env, cwd: arena.directory });
  const { clean, findings, unreferenced } = await verifyStore(config, { deep: true });
  if (!clean) throw new Error(`verify --deep: ${JSON.stringify(findings.slice(0, 10))}`);
  if ((unreferenced?.objects ?? 0) > 0) throw new Error(`verify: unreferenced ${JSON.stringify(unreferenced)}`);
  const inline = report.chains.reduce((sum, { inlineExtents }) => sum + inlineExtents, 0);
  if (inline > 0) throw new Error(`${inline} extents are left in index files though nothing is appended any more`);

  const objects = await storeObjects(arena.store, report);
  const { aside } = await journalBytes(join(arena.directory, "journals"));
  const acked = arena.log.acks.size;
  await arena.dispose();
  return {
    counts: story.counts,
    acked,
    extents: report.chains.reduce((sum, { extents }) => sum + extents, 0),
    objects,
    producers: useReport(world.producing),
    reader: useReport([world.reading]),
    asideBytes: aside,
  };
}

function throwIfAny(broken: readonly string[]): void {
  if (broken.length > 0) throw new Error(`${broken.length} broken promises:\n  ${broken.slice(0, 20).join("\n  ")}`);
}
