import type { Config } from "../config/config.ts";
import { InvalidArgumentError } from "../errors.ts";
import type { TopicAck } from "./api.ts";

export const TOPIC_ACKS = ["journaled", "uploaded"] as const satisfies readonly TopicAck[];

/** `InvalidArgumentError` for a level that no topic can ask for, and for one that an engine of this configuration cannot reach. */
export function checkTopicAck(ack: TopicAck | undefined, config: Config): void {
  if (ack === undefined) return;
  if (!TOPIC_ACKS.includes(ack)) {
    throw new InvalidArgumentError("ack", ack, `unknown level, possible are ${TOPIC_ACKS.join(", ")}`);
  }
  if (ack === "journaled" && config.storage.object.ackAfterUpload) {
    throw new InvalidArgumentError(
      "ack",
      ack,
      '"journaled" needs a journal, and with system.storage.object.ack_after_upload = true there is none: set it to false, or leave ack out',
    );
  }
}
