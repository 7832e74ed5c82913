import { describe, expect, test } from "vitest";

import { PartBufferPool } from "../../src/object-store/part-buffer-pool.ts";

const SIZE_BYTES = 16;

describe("part buffer pool", () => {
  test("a buffer is made when it is first needed, and then used again", async () => {
    const pool = new PartBufferPool({ partSizeBytes: SIZE_BYTES, buffersMax: 2 });
    expect([pool.inUse, pool.waiting, pool.sizeBytes]).toEqual([0, 0, 0]);
    const first = await pool.take();
    expect([first.bytes.length, pool.inUse, pool.sizeBytes]).toEqual([SIZE_BYTES, 1, SIZE_BYTES]);
    const { bytes } = first;
    first.giveBack();
    expect((await pool.take()).bytes).toBe(bytes);
    expect((await pool.take()).bytes).not.toBe(bytes);
    expect([pool.inUse, pool.sizeBytes]).toEqual([2, 2 * SIZE_BYTES]);
  });

  test("no memory is shared with other buffers", async () => {
    const pool = new PartBufferPool({ partSizeBytes: SIZE_BYTES, buffersMax: 1 });
    expect((await pool.take()).bytes.buffer.byteLength).toBe(SIZE_BYTES);
  });

  test("who waits longest is served first, and nobody overtakes", async () => {
    const pool = new PartBufferPool({ partSizeBytes: SIZE_BYTES, buffersMax: 1 });
    const first = await pool.take();
    const order: string[] = [];
    const waiting = ["a", "b"].map(async (name) => {
      const buffer = await pool.take();
      order.push(name);
      return buffer;
    });
    expect(pool.waiting).toBe(2);
    first.giveBack();
    const late = pool.take().then((buffer) => {
      order.push("late");
      return buffer;
    });
    for (const promise of waiting) (await promise).giveBack();
    (await late).giveBack();
    expect(order).toEqual(["a", "b", "late"]);
    expect([pool.inUse, pool.waiting]).toEqual([0, 0]);
  });

  test("a signal ends the wait, before it or in it, and takes no buffer", async () => {
    const pool = new PartBufferPool({ partSizeBytes: SIZE_BYTES, buffersMax: 1 });
    const aborted = { code: "TIERLOG_ABORTED", cause: { message: "stop" } };
    await expect(pool.take(AbortSignal.abort(new Error("stop")))).rejects.toMatchObject(aborted);
    expect(pool.inUse).toBe(0);
    const first = await pool.take();
    const controller = new AbortController();
    const waiting = pool.take(controller.signal);
    const next = pool.take();
    controller.abort(new Error("stop"));
    await expect(waiting).rejects.toMatchObject(aborted);
    expect(pool.waiting).toBe(1);
    first.giveBack();
    expect((await next).bytes).toBe(first.bytes);
  });

  test("a signal that fires after the buffer came changes nothing", async () => {
    const pool = new PartBufferPool({ partSizeBytes: SIZE_BYTES, buffersMax: 1 });
    const first = await pool.take();
    const controller = new AbortController();
    const waiting = pool.take(controller.signal);
    first.giveBack();
    controller.abort(new Error("stop"));
    (await waiting).giveBack();
    expect([pool.inUse, pool.waiting]).toEqual([0, 0]);
  });

  test("a buffer given back twice would be lent twice: refused", async () => {
    const pool = new PartBufferPool({ partSizeBytes: SIZE_BYTES, buffersMax: 2 });
    const buffer = await pool.take();
    buffer.giveBack();
    expect(() => buffer.giveBack()).toThrow("twice");
    expect(pool.inUse).toBe(0);
  });

  test.each([0, -1, 1.5, Number.NaN])("%d is no size and no number of buffers", (value) => {
    expect(() => new PartBufferPool({ partSizeBytes: value, buffersMax: 1 })).toThrow("partSizeBytes");
    expect(() => new PartBufferPool({ partSizeBytes: 1, buffersMax: value })).toThrow("buffersMax");
  });
});
