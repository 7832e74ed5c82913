import { nearest } from "../config/nearest.ts";
import type { TopicId } from "../domain.ts";
import { asTierlogError, CorruptionError, InvalidArgumentError, NotFoundError, ObjectStoreError } from "../errors.ts";
import { newWriteId } from "../index-chain/write-id.ts";
import { CATALOG_PREFIX, catalogKey, parseCatalogKey } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { Mutex } from "../runtime/mutex.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { TopicDescription } from "./api.ts";
import { decodeCatalog, encodeCatalog } from "./catalog-file.ts";

const PARTITIONS_MAX = 100_000;
/** How old the known catalog may be before a use asks for a newer one. */
const FRESH_MS = 5000;
/** Between two looks in the background that fail. */
const RETRY_MS = 1000;
/** After so many lost races something else is wrong. */
const ATTEMPTS_MAX = 50;

export interface CatalogOptions {
  /** Settling. */
  readonly store: ObjectStore;
  readonly runtime: Runtime;
  readonly writerId: string;
}

/** The topics of a store: versions of one file, each created once; the newest counts. */
export class Catalog {
  readonly #options: CatalogOptions;
  #version = 0;
  #topics = new Map<string, TopicDescription>();
  #ids = new Set<TopicId>();
  #readAtMs = Number.NEGATIVE_INFINITY;
  readonly #looks = new Mutex();
  /** A look that has not begun. */
  #nextLook: Promise<void> | undefined;
  /** A look for checks, begun or not. */
  #checking: Promise<void> | undefined;
  /** When the last one was begun. */
  #triedAtMs = Number.NEGATIVE_INFINITY;
  /** Checks that wait, and the last of them. */
  #waiting = 0;
  #lastCheck: Promise<void> = Promise.resolve();

  constructor(options: CatalogOptions) {
    this.#options = options;
  }

  /** Was any version ever read? A store that has records has one. */
  get isKnown(): boolean {
    return this.#version > 0;
  }

  list(): readonly TopicDescription[] {
    return [...this.#topics.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The topic, after a look at the store where it is not known or, without `mayBeOld`, not lately. `NotFoundError`. */
  async find(name: string, mayBeOld = false): Promise<TopicDescription> {
    const known = this.#topics.get(name);
    if (mayBeOld && known !== undefined) {
      await this.check(known, true);
      return known;
    }
    if (!this.#topics.has(name) || this.#ageMs() > FRESH_MS) await this.refresh();
    const topic = this.#topics.get(name);
    if (topic === undefined) {
      const meant = nearest(name, this.#topics.keys());
      throw new NotFoundError(
        `topic ${JSON.stringify(name)}`,
        `${meant === undefined ? "" : `did you mean ${JSON.stringify(meant)}? If not, `}create it with: tierlog topics create ${name} --partitions N`,
      );
    }
    return topic;
  }

  /**
   * May this topic be appended to? Answers from what is known while that is fresh, asks in the background when it grows old, and
   * makes the caller wait only when nobody has asked for long: `NotFoundError` once it is gone. Whoever asks while others wait
   * waits behind them: the answers come in the order of the calls. Nobody waits with `mayBeOld`: what is known is enough, however
   * old it is, while the store gives no news.
   */
  check(topic: TopicDescription, mayBeOld = false): Promise<void> | undefined {
    const nowMs = this.#options.runtime.clock.monotonic();
    const age = nowMs - this.#readAtMs;
    if (!mayBeOld && (age > 2 * FRESH_MS || this.#waiting > 0)) return this.#checkBehindOthers(topic, age);
    // One try a second: appends come by the thousand while the store refuses.
    if (age > FRESH_MS && this.#checking === undefined && nowMs - this.#triedAtMs >= RETRY_MS) {
      this.#lookForChecks().catch((error: unknown) => {
        this.#options.runtime.logger.warn("the catalog could not be read", { error: String(error) });
      });
    }
    this.#throwIfDeleted(topic);
    return undefined;
  }

  /** Resolves when every check made so far has its answer. */
  checked(): Promise<void> {
    return this.#lastCheck;
  }

  #checkBehindOthers(topic: TopicDescription, age: number): Promise<void> {
    const look = age > 2 * FRESH_MS ? this.#lookForChecks() : Promise.resolve();
    // It may fail before its turn comes to be looked at.
    look.catch(() => undefined);
    this.#waiting++;
    const answer = this.#lastCheck.then(() => look).then(() => this.#throwIfDeleted(topic));
    this.#lastCheck = answer
      .catch(() => undefined)
      // Behind what the caller does with its answer.
      .then(() => {
        this.#waiting--;
      });
    return answer;
  }

  #throwIfDeleted(topic: TopicDescription): void {
    if (this.#ids.has(topic.id)) return;
    throw new NotFoundError(
      `topic ${JSON.stringify(topic.name)} (id ${topic.id})`,
      "it was deleted; a topic created again under that name needs a new handle",
    );
  }

  /** A check does with a look that is under way: it need not know what happened in the last moment. */
  #lookForChecks(): Promise<void> {
    if (this.#checking !== undefined) return this.#checking;
    this.#triedAtMs = this.#options.runtime.clock.monotonic();
    this.#checking = this.refresh().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  /** Looks for a newer version, as it is found after the call: calls share a look only before it begins. */
  refresh(): Promise<void> {
    this.#nextLook ??= this.#looks.run(() => {
      this.#nextLook = undefined;
      return this.#read();
    });
    return this.#nextLook;
  }

  async create(topic: TopicDescription): Promise<void> {
    await this.#change((topics) => {
      const twin = topics.find((other) => other.name.toLowerCase() === topic.name.toLowerCase());
      if (twin !== undefined) {
        const problem =
          twin.name === topic.name
            ? `exists already; see tierlog topics describe ${topic.name}`
            : `differs from ${JSON.stringify(twin.name)} only in case; choose another name`;
        throw new InvalidArgumentError("topic", topic.name, `${JSON.stringify(topic.name)} ${problem}`);
      }
      return [...topics, topic];
    });
  }

  /** `NotFoundError`. */
  async alter(name: string, edit: (topic: TopicDescription) => TopicDescription): Promise<void> {
    await this.#change((topics) => {
      throwIfMissing(topics, name);
      return topics.map((topic) => (topic.name === name ? edit(topic) : topic));
    });
  }

  async delete(name: string): Promise<void> {
    await this.#change((topics) => {
      throwIfMissing(topics, name);
      return topics.filter((topic) => topic.name !== name);
    });
  }

  /** Makes the next version; `edit` may run more than once, on newer and newer catalogs. */
  async #change(edit: (topics: readonly TopicDescription[]) => readonly TopicDescription[]): Promise<void> {
    const { store, runtime, writerId } = this.#options;
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      await this.#read();
      const version = this.#version + 1;
      const topics = edit(this.list());
      const body = encodeCatalog({
        version,
        topics,
        writeId: newWriteId(runtime.random),
        writerId,
        createdAt: new Date(runtime.clock.now()).toISOString(),
      });
      const outcome = await store.put(catalogKey(version), body, { condition: { kind: "if-absent" } });
      if (outcome.kind !== "written") continue;
      try {
        if (!(await this.#counts(version))) continue;
        await this.#read();
        return;
      } catch (error) {
        // The change stands, or not: only the look that failed could have told.
        throw asTierlogError(error).withEffect("unknown");
      }
    }
    throw new ObjectStoreError(
      `the catalog was changed by others ${ATTEMPTS_MAX} times while this change was tried; nothing was stored`,
      { operation: "put", key: CATALOG_PREFIX, attempts: ATTEMPTS_MAX, retryable: true },
    );
  }

  /**
   * A version that we created counts only if a listing begun afterwards shows it without a gap from the version before it to the
   * newest: otherwise old versions were cleared away while our PUT was under way, and it landed below the newest one.
   */
  async #counts(version: number): Promise<boolean> {
    let expected = Math.max(1, version - 1);
    const startAfter = catalogKey(expected - 1);
    for await (const { key } of this.#options.store.list(CATALOG_PREFIX, { startAfter })) {
      const found = parseCatalogKey(key);
      if (found === undefined) continue;
      if (found !== expected) return false;
      expected++;
    }
    return expected > version;
  }

  async #read(): Promise<void> {
    const { store, runtime } = this.#options;
    const askedAtMs = runtime.clock.monotonic();
    let newest = this.#version;
    for await (const { key } of store.list(CATALOG_PREFIX, { startAfter: catalogKey(this.#version) })) {
      newest = Math.max(newest, parseCatalogKey(key) ?? 0);
    }
    if (newest > this.#version) {
      const key = catalogKey(newest);
      const found = await store.get(key);
      if (found === undefined) throw new CorruptionError(key, 0, "listed, but gone when it was read");
      const { version, topics } = decodeCatalog(found.body, key, newest);
      // A slower look that overlapped this one may have found more.
      if (version > this.#version) {
        this.#version = version;
        this.#topics = new Map(topics.map((topic) => [topic.name, topic]));
        this.#ids = new Set(topics.map((topic) => topic.id));
      }
    }
    this.#readAtMs = askedAtMs;
  }

  #ageMs(): number {
    return this.#options.runtime.clock.monotonic() - this.#readAtMs;
  }
}

function throwIfMissing(topics: readonly TopicDescription[], name: string): void {
  if (!topics.some((topic) => topic.name === name))
    throw new NotFoundError(`topic ${JSON.stringify(name)}`, "tierlog topics list shows those that do");
}

/** `InvalidArgumentError` unless 1 … 100,000. */
export function checkPartitions(partitions: number): void {
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > PARTITIONS_MAX) {
    throw new InvalidArgumentError(
      "partitions",
      partitions,
      `${partitions} partitions, possible are 1 … ${PARTITIONS_MAX}`,
    );
  }
}
