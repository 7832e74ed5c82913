import { InvalidArgumentError } from "../errors.ts";

/** `--set KEY=VALUE` by key; of several for one key the last counts. */
export function parseSetFlags(texts: readonly string[]): Record<string, string> {
  const flags: Record<string, string> = {};
  for (const text of texts) {
    const at = text.indexOf("=");
    // The text itself is not shown: it may hold a secret.
    if (at < 1)
      throw new InvalidArgumentError("--set", undefined, "is written KEY=VALUE, as in system.flush.linger=50ms");
    flags[text.slice(0, at)] = text.slice(at + 1);
  }
  return flags;
}
