import { createServer, request as httpRequest, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import { afterEach, beforeEach, expect, test } from "vitest";

import { defaultConfig } from "../../src/config/resolve-config.ts";
import type { ObjectKey } from "../../src/domain.ts";
import { Engine } from "../../src/engine/engine.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { readingBack } from "../../src/object-store/reading-back.ts";
import type { PayloadSigning } from "../../src/object-store/s3-payload.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { readAll, values } from "../support/engine.ts";
import { filled } from "../support/filled.ts";
import { describeS3, freshPrefix, s3Settings } from "../support/s3.ts";

const MIB = 1024 * 1024;
const KEY = "data/ab/object" as ObjectKey;
const IF_ABSENT = { condition: { kind: "if-absent" } } as const;

describeS3("payloads, signed and not", () => {
  let stores: ObjectStore[];
  let proxy: Server | undefined;

  beforeEach(() => {
    stores = [];
    proxy = undefined;
  });

  afterEach(async () => {
    for (const store of stores) await store.close();
    await new Promise<void>((resolve) => (proxy === undefined ? resolve() : proxy.close(() => resolve())));
  });

  function open(payloadSigning: PayloadSigning, endpoint?: string): ObjectStore {
    const settings = { ...s3Settings(freshPrefix()), payloadSigning };
    const store = createS3Store(endpoint === undefined ? settings : { ...settings, endpoint }, systemRuntime);
    stores.push(store);
    return store;
  }

  /** Changes the last byte of every PUT on its way to the server. */
  async function startProxy(): Promise<string> {
    const target = new URL(s3Settings("").endpoint ?? "");
    const server = createServer((incoming, answer) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("end", () => {
        const body = Buffer.concat(chunks);
        if (incoming.method === "PUT") body[body.length - 1] = (body[body.length - 1] ?? 0) ^ 1;
        const { method, url: path, headers } = incoming;
        const outgoing = httpRequest(
          { hostname: target.hostname, port: target.port, method, path, headers, agent: false },
          (from) => {
            answer.writeHead(from.statusCode ?? 500, from.headers);
            from.pipe(answer);
          },
        );
        outgoing.on("error", () => answer.destroy());
        outgoing.end(body);
      });
    });
    proxy = server;
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  test("an unsigned put, conditional or not", async () => {
    const store = open("unsigned");
    const body = filled(3 * MIB, 1);
    expect(await store.put(KEY, body, IF_ABSENT)).toMatchObject({ kind: "written" });
    expect(await store.put(KEY, filled(10, 2), IF_ABSENT)).toEqual({ kind: "condition-failed" });
    expect(Buffer.compare((await store.get(KEY))?.body ?? Buffer.of(), body)).toBe(0);
    expect(await store.put(KEY, new Uint8Array(0), { condition: { kind: "none" } })).toMatchObject({ kind: "written" });
  });

  test("an upload of unsigned parts, completed with their checksums, read back", async () => {
    const store = readingBack(open("unsigned"), () => true);
    const bodies = [filled(5 * MIB, 1), filled(5 * MIB, 2), filled(1000, 3)];
    const upload = await store.createMultipart(KEY);
    const parts = [];
    for (const [index, body] of bodies.entries()) parts.push(await upload.putPart(index + 1, body));
    expect(await upload.complete(parts)).toEqual({ kind: "completed" });
    expect(Buffer.compare((await store.get(KEY))?.body ?? Buffer.of(), Buffer.concat(bodies))).toBe(0);
  });

  test("a signed body that is changed on its way is refused by the server", async () => {
    const store = open("signed", await startProxy());
    await expect(store.put(KEY, filled(1000, 1), IF_ABSENT)).rejects.toMatchObject({ status: 400, effect: "none" });
    const upload = await store.createMultipart(KEY);
    await expect(upload.putPart(1, filled(5 * MIB, 1))).rejects.toMatchObject({ status: 400 });
    await upload.abort();
    expect(await store.head(KEY)).toBeUndefined();
  });

  test("an engine told to send unsigned reads back what it writes, before it acknowledges", async () => {
    const { endpoint, bucket, region, prefix, credentials } = s3Settings(freshPrefix());
    const object = { endpoint, bucket, region, prefix, credentials, payloadSigning: "unsigned" } as const;
    const engine = await Engine.open(defaultConfig({ storage: { kind: "object", object }, flush: { lingerMs: 5 } }));
    try {
      await engine.createTopic("events", { partitions: 1 });
      const partition = (await engine.topic("events")).partition(0);
      await partition.append(values("warm"));
      const before = engine.metrics().store;
      await partition.append(values("one"));
      const after = engine.metrics().store;
      expect([after.put.requests - before.put.requests, after.get.requests - before.get.requests]).toEqual([1, 1]);
      expect(await readAll(partition)).toEqual(["warm", "one"]);
    } finally {
      await engine.close();
    }
  });

  test("an unsigned body that is changed on its way never counts as written", async () => {
    const store = readingBack(open("unsigned", await startProxy()), () => true);
    // Whether the server checks the CRC-32C or not.
    await expect(store.put(KEY, filled(1000, 1), IF_ABSENT)).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE" });
  });
});
