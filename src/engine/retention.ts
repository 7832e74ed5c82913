import type { Config } from "../config/config.ts";
import type { TopicId } from "../domain.ts";
import { InvalidArgumentError } from "../errors.ts";
import type { LinkTrim } from "../index-chain/link-entries.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import { retainedStart, type RetentionLimits } from "../merge/retention-plan.ts";
import type { ScheduledTask } from "../runtime/clock.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Shard } from "../shard/shard.ts";
import type { AlterTopicOptions, RetentionLimit, TopicDescription } from "./api.ts";
import type { Catalog } from "./catalog.ts";

export interface RetentionOptions {
  readonly config: Config["retention"];
  readonly runtime: Runtime;
  readonly catalog: Catalog;
  readonly shards: () => Iterable<Shard>;
}

/**
 * Trims what topics need not keep, in the background: every `check_interval`, in the shards that this engine owns, all partitions of a
 * shard in one link. Costs no request while nothing is to be trimmed. What fails is tried again at the next look.
 */
export class Retention {
  readonly #options: RetentionOptions;
  #timer: ScheduledTask | undefined;
  #stopped = false;

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  start(): void {
    const { runtime, config } = this.#options;
    if (this.#stopped) return;
    const look = (): void => {
      this.#look()
        .catch((error: unknown) => {
          if (!this.#stopped) runtime.logger.warn("retention could not be looked after", { error: String(error) });
        })
        .finally(() => this.start());
    };
    this.#timer = runtime.clock.schedule(config.checkIntervalMs, look, { background: true });
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #look(): Promise<void> {
    const due = this.#due();
    if (due.length === 0) return;
    // By the settings as they are now: one that was raised must not cost a record.
    await this.#options.catalog.refresh();
    const { logger } = this.#options.runtime;
    for (const shard of this.#due()) {
      if (this.#stopped) return;
      let trimmed: readonly LinkTrim[] = [];
      try {
        await shard.change((state) => {
          trimmed = this.#plan(state);
          return trimmed.length === 0 ? [] : [{ type: "trim", trims: trimmed }];
        });
        logger.info("trimmed by retention", { shard: shard.id, partitions: trimmed.length });
      } catch (error) {
        if (!this.#stopped) logger.warn("retention could not trim a shard", { shard: shard.id, error: String(error) });
      }
    }
  }

  #due(): Shard[] {
    return [...this.#options.shards()].filter((shard) => shard.isOwner && this.#plan(shard.chainState).length > 0);
  }

  #plan(state: ShardState): LinkTrim[] {
    const nowMs = this.#options.runtime.clock.now();
    const limits = new Map<TopicId, RetentionLimits>();
    for (const topic of this.#options.catalog.list()) limits.set(topic.id, this.#limitsOf(topic));
    const trims: LinkTrim[] = [];
    for (const { topicId, partition } of state.ends()) {
      const topicLimits = limits.get(topicId);
      const extents = state.extents({ topicId, partition });
      // Of a topic that is not there any more nobody reads.
      if (topicLimits === undefined || extents === undefined) continue;
      const newStart = retainedStart(extents, topicLimits, nowMs);
      if (newStart !== undefined) trims.push({ topicId, partition, oldStart: extents.startOffset, newStart });
    }
    return trims;
  }

  #limitsOf({ retentionMs, retentionBytes }: TopicDescription): RetentionLimits {
    const { config } = this.#options;
    const limit = (own: RetentionLimit | undefined, common: number): number => (own === "off" ? 0 : (own ?? common));
    return { ms: limit(retentionMs, config.ms), bytes: limit(retentionBytes, config.bytes) };
  }
}

/** `InvalidArgumentError` for a limit that is neither "off" nor a whole number from 1. */
export function checkRetention(options: Pick<AlterTopicOptions, "retentionMs" | "retentionBytes">): void {
  for (const name of ["retentionMs", "retentionBytes"] as const) {
    const value = options[name];
    if (value === undefined || value === "off") continue;
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1)
      throw new InvalidArgumentError(name, value, 'must be an integer ≥ 1, or "off"');
  }
}

/** `topic` with other limits: "default" takes one out. */
export function withRetention(topic: TopicDescription, options: AlterTopicOptions): TopicDescription {
  const { retentionMs, retentionBytes, ...rest } = topic;
  const limit = <Name extends keyof AlterTopicOptions>(
    name: Name,
    before: RetentionLimit | undefined,
  ): { readonly [key in Name]?: RetentionLimit } => {
    const value = options[name] ?? before;
    return (value === undefined || value === "default" ? {} : { [name]: value }) as { [key in Name]?: RetentionLimit };
  };
  return { ...rest, ...limit("retentionMs", retentionMs), ...limit("retentionBytes", retentionBytes) };
}
