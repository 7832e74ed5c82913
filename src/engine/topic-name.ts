import { InvalidArgumentError } from "../errors.ts";

const NAME_CHARS_MAX = 249;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
/** Names that Windows gives to devices: a topic exported to files there could not be named after itself. */
const DEVICE = /^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?$/i;

/** `InvalidArgumentError` unless `name` may name a new topic: Kafka's characters and length, and a letter or digit first. */
export function checkTopicName(name: string): void {
  if (typeof name !== "string" || name.length === 0)
    throw new InvalidArgumentError("topic", name, "a topic needs a name");
  if (name.length > NAME_CHARS_MAX) {
    throw new InvalidArgumentError(
      "topic",
      name,
      `a name of ${name.length} characters, the limit is ${NAME_CHARS_MAX}`,
    );
  }
  if (!NAME.test(name)) {
    throw new InvalidArgumentError(
      "topic",
      name,
      `${JSON.stringify(name)} is no topic name: letters, digits, "." "_" "-", a letter or digit first`,
    );
  }
  if (DEVICE.test(name)) throw new InvalidArgumentError("topic", name, `${name} is a device name on Windows`);
}
