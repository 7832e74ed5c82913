import { z } from "zod";

import type { ObjectKey, TopicId } from "../domain.ts";
import { CorruptionError, UnsupportedVersionError } from "../errors.ts";
import type { TopicDescription } from "./api.ts";
import { TOPIC_ACKS } from "./topic-ack.ts";

/**
 * The codec of `catalog/<version>.json`: all topics of a store, whole in every version. JSON, because people read it and it is
 * small; it carries a random writeId, so that a lost answer of its PUT can be settled.
 */
export const CATALOG_FORMAT_VERSION = 3;

/** Without retention. Written while no topic has one of its own. */
const FORMAT_WITHOUT_RETENTION = 2;
/** Without `ack` either. Still written while no topic has one: versions that know no other format go on with such a store. */
const FORMAT_WITHOUT_ACK = 1;

export interface CatalogFile {
  readonly version: number;
  readonly topics: readonly TopicDescription[];
}

const topicSchema = z.strictObject({
  name: z.string().min(1),
  id: z.string().regex(/^[0-9a-f]{32}$/),
  partitions: z.int().min(1),
  compression: z.enum(["none", "lz4"]),
  shards: z.array(z.int().min(0).max(9999)),
  createdAt: z.string(),
});

const topicWithAck = topicSchema.extend({ ack: z.enum(TOPIC_ACKS).optional() });
const limitSchema = z.union([z.int().min(1), z.literal("off")]);

const catalogFields = {
  version: z.int().min(1),
  writeId: z.string(),
  writerId: z.string(),
  createdAt: z.string(),
};

const catalogSchema = z.discriminatedUnion("format", [
  z.strictObject({ format: z.literal(FORMAT_WITHOUT_ACK), ...catalogFields, topics: z.array(topicSchema) }),
  z.strictObject({ format: z.literal(FORMAT_WITHOUT_RETENTION), ...catalogFields, topics: z.array(topicWithAck) }),
  z.strictObject({
    format: z.literal(CATALOG_FORMAT_VERSION),
    ...catalogFields,
    topics: z.array(
      topicWithAck.extend({ retentionMs: limitSchema.optional(), retentionBytes: limitSchema.optional() }),
    ),
  }),
]);

export function encodeCatalog(
  file: CatalogFile & { writeId: string; writerId: string; createdAt: string },
): Uint8Array {
  const { version, writeId, writerId, createdAt, topics } = file;
  const value: z.infer<typeof catalogSchema> = {
    format: formatFor(topics),
    version,
    writeId,
    writerId,
    createdAt,
    topics: topics.map((topic) => ({ ...topic, shards: [...topic.shards] })),
  };
  return Buffer.from(`${JSON.stringify(value)}\n`);
}

/** The oldest that can say it: versions that know no newer one go on with the store. */
function formatFor(topics: readonly TopicDescription[]): z.infer<typeof catalogSchema>["format"] {
  if (topics.some(({ retentionMs, retentionBytes }) => retentionMs !== undefined || retentionBytes !== undefined))
    return CATALOG_FORMAT_VERSION;
  return topics.some(({ ack }) => ack !== undefined) ? FORMAT_WITHOUT_RETENTION : FORMAT_WITHOUT_ACK;
}

/** `CorruptionError` for anything that is not a catalog of `version`; `UnsupportedVersionError` for a newer format. */
export function decodeCatalog(body: Uint8Array, key: ObjectKey, version: number): CatalogFile {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body).toString("utf8"));
  } catch (error) {
    throw new CorruptionError(key, 0, "not JSON", { cause: error });
  }
  const format = z.object({ format: z.int() }).safeParse(value);
  if (format.success && (format.data.format < FORMAT_WITHOUT_ACK || format.data.format > CATALOG_FORMAT_VERSION)) {
    throw new UnsupportedVersionError(`catalog ${key}`, format.data.format, CATALOG_FORMAT_VERSION);
  }
  const parsed = catalogSchema.safeParse(value);
  if (!parsed.success) throw new CorruptionError(key, 0, `not a catalog: ${z.prettifyError(parsed.error)}`);
  if (parsed.data.version !== version) {
    throw new CorruptionError(key, 0, `holds version ${parsed.data.version}: the object stands under a wrong name`);
  }
  for (const topic of parsed.data.topics) {
    if (topic.shards.length !== topic.partitions) {
      throw new CorruptionError(
        key,
        0,
        `topic ${topic.name} has ${topic.partitions} partitions and ${topic.shards.length} shard numbers`,
      );
    }
  }
  const topics: readonly z.infer<typeof topicSchema>[] = parsed.data.topics;
  return { version, topics: topics.map((topic) => ({ ...topic, id: topic.id as TopicId })) };
}
