import { expect, test } from "vitest";

import { ReaderError } from "../../src/cli/demo/child-message.ts";
import { generateEvents } from "../../src/cli/demo/generated-events.ts";
import { PartitionHash, sameDigests, type PartitionDigest } from "../../src/cli/demo/partition-hash.ts";
import { CorruptionError } from "../../src/errors.ts";
import { seededRandom } from "../../src/runtime/random.ts";

function digest(...values: (string | null)[]): PartitionDigest {
  const hash = new PartitionHash();
  hash.add(values.map((value) => (value === null ? null : Buffer.from(value))));
  return hash.digest();
}

test("a digest does not depend on how the values were grouped, but on where each ends", () => {
  const hash = new PartitionHash();
  hash.add([Buffer.from("a")]);
  hash.add([]);
  hash.add([Buffer.from("b"), Buffer.from("")]);
  expect(hash.digest()).toEqual(digest("a", "b", ""));
  const others = [digest("ab"), digest("a", "b"), digest("b", "a"), digest(""), digest(null), digest()];
  expect(new Set(others.map(({ sha256 }) => sha256)).size).toBe(others.length);
});

test("a difference in one partition is seen", () => {
  const [a, b] = [digest("a"), digest("b")];
  expect(sameDigests([a, b], [digest("a"), digest("b")])).toBe(true);
  for (const other of [[a, a], [a], [b, a], [a, b, b], []]) expect(sameDigests([a, b], other)).toBe(false);
});

test("generated events: as many as asked, JSON without line feeds, the same for one seed", () => {
  const generate = (): string[] =>
    [...generateEvents(seededRandom(7), 1000, 501, 200)].flatMap(({ lines }) =>
      lines.map((line) => Buffer.from(line).toString()),
    );
  const events = generate();
  expect(events).toHaveLength(501);
  expect(generate()).toEqual(events);
  expect(events.map((event) => (JSON.parse(event) as { id: number }).id)).toEqual([...events.keys()]);
  expect(events.join("")).not.toContain("\n");
});

test("an error of the child keeps kind, code, effect, data and exit code", () => {
  const original = new CorruptionError("index/x", 7, "broken");
  const error = new ReaderError(JSON.parse(JSON.stringify(original)) as Record<string, unknown>);
  expect(error.exitCode).toBe(65);
  expect(error.toJSON()).toEqual({ ...original.toJSON(), message: `reading back: ${original.message}` });
});
