import { createHash, createHmac } from "node:crypto";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { CreateIfAbsentHeader } from "../../src/config/provider-presets.ts";
import type { ObjectKey } from "../../src/domain.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { S3Wire } from "../../src/object-store/probe/s3-wire.ts";
import { createS3Store, type S3StoreSettings } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { errorXml, PlayedServer, sends } from "../support/played-server.ts";

let server: PlayedServer;
const credentials = { accessKeyId: "GOOG1EXAMPLE", secretAccessKey: "secret/of+GOOG1" };
const key = "index/0000/00000000000000000007.idx" as ObjectKey;
const open: { close(): unknown }[] = [];

function settings(createIfAbsent: CreateIfAbsentHeader): S3StoreSettings {
  return {
    endpoint: server.endpoint,
    bucket: "logs",
    region: "auto",
    prefix: "pre fix",
    credentials,
    forcePathStyle: true,
    requestTimeoutMs: 5_000,
    maxSockets: 8,
    ifMatchEtag: "quoted",
    createIfAbsent,
  };
}

function store(createIfAbsent: CreateIfAbsentHeader): ObjectStore {
  const made = createS3Store(settings(createIfAbsent), systemRuntime);
  open.push(made);
  return made;
}

/** The check value of its CRC-32C is in every table: e3069283. */
const body = Buffer.from("123456789");
const create = (on: ObjectStore): ReturnType<ObjectStore["put"]> =>
  on.put(key, body, { condition: { kind: "if-absent" } });

beforeEach(async () => {
  server = new PlayedServer();
  server.answer = sends(200, "", { etag: '"e"' });
  await server.start();
});
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
  await server.stop();
});

describe("create-if-absent on the wire", () => {
  test.each([
    ["if-none-match", "*"],
    ["x-oss-forbid-overwrite", "true"],
    ["x-goog-if-generation-match", "0"],
  ] as const)("%s: %s, and no other condition", async (header, value) => {
    expect(await create(store(header))).toEqual({ kind: "written", etag: "e" });
    const headers = server.requests[0]?.headers ?? {};
    const conditions = ["if-none-match", "if-match", "x-oss-forbid-overwrite", "x-goog-if-generation-match"];
    const sent = conditions.filter((name) => headers[name] !== undefined);
    expect([sent, headers[header]]).toEqual([[header], value]);
    // Else a proxy could take the condition away.
    expect(headers.authorization).toMatch(new RegExp(`SignedHeaders=[^ ]*\\b${header}\\b`));
  });

  test.each(["x-oss-forbid-overwrite", "x-goog-if-generation-match"] as const)(
    "%s stands in no other request",
    async (header) => {
      const on = store(header);
      await on.put(key, body, { condition: { kind: "none" } });
      await on.put(key, body, { condition: { kind: "if-match", etag: "e" as never } });
      await on.head(key);
      for (const { headers } of server.requests) expect(headers[header]).toBeUndefined();
      expect(server.requests[1]?.headers["if-match"]).toBe('"e"');
    },
  );

  test("Alibaba's 409 FileAlreadyExists is a lost race, Amazon's 409 an open question", async () => {
    server.answer = sends(409, errorXml("FileAlreadyExists"));
    expect(await create(store("x-oss-forbid-overwrite"))).toEqual({ kind: "condition-failed" });
    server.answer = sends(409, errorXml("ConditionalRequestConflict"));
    await expect(create(store("if-none-match"))).rejects.toMatchObject({ effect: "unknown", retryable: true });
  });

  test("the probe asks in the same words, and reads the same answer", async () => {
    server.answer = sends(409, errorXml("FileAlreadyExists"));
    const wire = new S3Wire(settings("x-oss-forbid-overwrite"), systemRuntime.clock);
    open.push(wire);
    expect(await wire.race(key, [body])).toEqual([{ kind: "refused" }]);
    expect(server.requests[0]?.headers["x-oss-forbid-overwrite"]).toBe("true");
  });
});

/** Straight from the manual, "V4 signing process": nothing of ours. */
function signatureOf(method: string, url: string, headers: Readonly<Record<string, unknown>>): string {
  const [, date, names = ""] =
    /^GOOG4-HMAC-SHA256 Credential=GOOG1EXAMPLE\/(\d{8})\/auto\/storage\/goog4_request, SignedHeaders=([^,]+), /.exec(
      String(headers["authorization"]),
    ) ?? [];
  const [path, query = ""] = url.split("?");
  const lines = names.split(";").map((name) => `${name}:${String(headers[name])}\n`);
  const canonical = `${method}\n${path}\n${query}\n${lines.join("")}\n${names}\n${String(headers["x-goog-content-sha256"])}`;
  const hmac = (secret: string | Buffer, text: string): Buffer => createHmac("sha256", secret).update(text).digest();
  const steps = [String(date), "auto", "storage", "goog4_request"];
  const signingKey = steps.reduce<string | Buffer>(hmac, `GOOG4${credentials.secretAccessKey}`);
  const hash = createHash("sha256").update(canonical).digest("hex");
  const text = `GOOG4-HMAC-SHA256\n${String(headers["x-goog-date"])}\n${steps.join("/")}\n${hash}`;
  return hmac(signingKey, text).toString("hex");
}

describe("signed Google's way", () => {
  test.each([{ payloadSigning: "signed" }, { payloadSigning: "unsigned" }] as const)(
    "no header of Amazon's is left, and the signature is right: payload $payloadSigning",
    async ({ payloadSigning }) => {
      const on = createS3Store({ ...settings("x-goog-if-generation-match"), payloadSigning }, systemRuntime);
      open.push(on);
      await create(on);
      const { method = "", url = "", headers = {} } = server.requests[0] ?? {};
      expect(Object.keys(headers).filter((name) => name.startsWith("x-amz-"))).toEqual([]);
      const hash = createHash("sha256").update(body).digest("hex");
      expect(headers["x-goog-content-sha256"]).toBe(payloadSigning === "signed" ? hash : "UNSIGNED-PAYLOAD");
      expect(headers["x-goog-hash"]).toBe(payloadSigning === "signed" ? undefined : "crc32c=4waSgw==");
      expect(headers["x-goog-date"]).toMatch(/^\d{8}T\d{6}Z$/);
      expect(String(headers["authorization"])).toContain(`, Signature=${signatureOf(method, url, headers)}`);
      expect(String(headers["authorization"])).toMatch(/SignedHeaders=[^ ]*host;/);
    },
  );

  test("every other request keeps Amazon's signature", async () => {
    const on = store("x-goog-if-generation-match");
    await on.put(key, body, { condition: { kind: "none" } });
    expect(server.requests[0]?.headers.authorization).toMatch(/^AWS4-HMAC-SHA256 /);
    expect(Object.keys(server.requests[0]?.headers ?? {}).filter((name) => name.startsWith("x-goog-"))).toEqual([]);
  });
});
