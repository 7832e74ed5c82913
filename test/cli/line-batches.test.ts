import { expect, test } from "vitest";

import { LineBatches, type LineBatchesOptions } from "../../src/cli/line-batches.ts";
import { systemClock } from "../../src/runtime/clock.ts";

async function* chunksOf(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield await Promise.resolve(Buffer.from(text));
}

function batches(chunks: AsyncGenerator<Uint8Array>, options: Partial<LineBatchesOptions> = {}): LineBatches {
  return new LineBatches({
    chunks,
    clock: systemClock,
    ended: new AbortController().signal,
    batchLines: 2,
    batchBytesMax: 1_000_000,
    pauseMs: 60_000,
    ...options,
  });
}

async function read(from: LineBatches): Promise<string[]> {
  const found: string[] = [];
  for await (const { lines } of from.read()) found.push(lines.map((line) => Buffer.from(line).toString()).join("|"));
  return found;
}

test("a batch holds exactly the lines asked for, wherever chunks end", async () => {
  expect(await read(batches(chunksOf("a\nb", "\nc\n", "d\ne")))).toEqual(["a|b", "c|d", "e"]);
  expect(await read(batches(chunksOf()))).toEqual([]);
});

test("a batch stays below the size of a stored batch", async () => {
  const found = await read(batches(chunksOf("aaaa\nbbbb\ncccc\n"), { batchLines: 100, batchBytesMax: 128 + 2 * 36 }));
  expect(found).toEqual(["aaaa|bbbb", "cccc"]);
});

test("an unfinished batch goes out when the input pauses", async () => {
  let release = (): void => undefined;
  async function* slow(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("a\n");
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    yield Buffer.from("b\n");
  }
  const found: string[] = [];
  for await (const { lines } of batches(slow(), { batchLines: 100, pauseMs: 1 }).read()) {
    found.push(lines.map((line) => Buffer.from(line).toString()).join("|"));
    release();
  }
  expect(found).toEqual(["a", "b"]);
});

test("ends in the middle of a wait; a line without its end is left out", async () => {
  const controller = new AbortController();
  async function* endless(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("a\nunfinis");
    controller.abort();
    await new Promise(() => undefined);
  }
  expect(await read(batches(endless(), { ended: controller.signal }))).toEqual(["a"]);
});

test("lines before one that is too long are not lost", async () => {
  const found: string[] = [];
  const reading = async (): Promise<void> => {
    const source = batches(chunksOf(`a\n${"x".repeat(200)}\n`), { batchBytesMax: 200 - 1 });
    for await (const { lines } of source.read())
      found.push(lines.map((line) => Buffer.from(line).toString()).join("|"));
  };
  await expect(reading()).rejects.toMatchObject({ code: "TIERLOG_RECORD_TOO_LARGE" });
  expect(found).toEqual(["a"]);
});

test("an input that fails fails the reading", async () => {
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("a\n");
    throw await Promise.resolve(new Error("gone"));
  }
  await expect(read(batches(broken()))).rejects.toThrow("gone");
});
