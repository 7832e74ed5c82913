import { Agent, request } from "node:http";

import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";

import { systemRuntime } from "../../dist/index.js";
import { createS3Store } from "../../dist/object-store/s3-store.js";
import { importPeer } from "../peers/import-peer.mjs";

export const NULL_BUCKET = "null-bench";

/** tierlog's own client of S3 and the store made of it: unsigned payload, with a CRC-32C in a header. */
export function tierlogStore(sink, payloadSigning = "unsigned") {
  return createS3Store(
    {
      bucket: NULL_BUCKET,
      prefix: "",
      region: sink.region,
      endpoint: sink.url,
      credentials: sink.credentials,
      forcePathStyle: true,
      ifMatchEtag: "quoted",
      requestTimeoutMs: 15_000,
      maxSockets: 64,
      payloadSigning,
    },
    systemRuntime,
  );
}

const settingsFor = (sink) => ({
  region: sink.region,
  endpoint: sink.url,
  credentials: sink.credentials,
  forcePathStyle: true,
});

/** As it comes. */
export const defaultClient = (sink, Client = S3Client) => new Client(settingsFor(sink));

/** As somebody who knows it would set it: no SHA-256 and no CRC of bodies, no Expect, sockets kept. */
export function tunedClient(sink, Client = S3Client) {
  const client = new Client({
    ...settingsFor(sink),
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    expectContinueHeader: false,
    cacheMiddleware: true,
  });
  client.middlewareStack.add(
    (next) => (args) => {
      args.request.headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD";
      return next(args);
    },
    { step: "build", name: "unsignedPayload" },
  );
  return client;
}

/** One PUT of `body` for each call; names never come again. */
export function putsBy(client, body) {
  let n = 0;
  return {
    append: () => client.send(new PutObjectCommand({ Bucket: NULL_BUCKET, Key: `data/${++n}`, Body: body })),
    close: async () => client.destroy(),
  };
}

/** No S3 client at all: node:http, kept connections, nothing signed. */
export function barePuts(sink, body, { conditional = false, bucket = NULL_BUCKET } = {}) {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const headers = { "content-length": body.length, ...(conditional ? { "if-none-match": "*" } : {}) };
  let n = 0;
  return {
    append: () =>
      new Promise((resolve, reject) => {
        const path = `/${bucket}/data/${++n}`;
        const sent = request(
          { host: "127.0.0.1", port: sink.port, method: "PUT", path, agent, headers },
          (response) => {
            response.resume();
            response.once("end", () =>
              response.statusCode === 200 ? resolve() : reject(new Error(`the sink answered ${response.statusCode}`)),
            );
          },
        );
        sent.once("error", reject);
        sent.end(body);
      }),
    close: async () => agent.destroy(),
  };
}

/** undici's pool, or how to get it. */
export async function undiciPuts(sink, body) {
  const undici = await importPeer("undici");
  if (undici.skipped !== undefined) return undici;
  const pool = new undici.Pool(sink.url, { connections: 64 });
  let n = 0;
  return {
    async append() {
      const { statusCode, body: answer } = await pool.request({
        path: `/${NULL_BUCKET}/data/${++n}`,
        method: "PUT",
        body,
      });
      await answer.dump();
      if (statusCode !== 200) throw new Error(`the sink answered ${statusCode}`);
    },
    close: () => pool.close(),
  };
}

/** lib-storage's `Upload` of `body`, or how to get it. `checksum`: of each part, "CRC32" is the one that the SDK has in native code. */
export async function libStorageUploads(sink, body, { tuned, partSize, queueSize, checksum }) {
  const [storage, s3] = [await importPeer("@aws-sdk/lib-storage"), await importPeer("@aws-sdk/client-s3")];
  if (storage.skipped !== undefined) return storage;
  if (s3.skipped !== undefined) return s3;
  const client = tuned ? tunedClient(sink, s3.S3Client) : defaultClient(sink, s3.S3Client);
  let n = 0;
  const upload = (given) =>
    new storage.Upload({
      client,
      params: {
        Bucket: NULL_BUCKET,
        Key: `data/${++n}`,
        Body: given,
        ...(checksum === undefined ? {} : { ChecksumAlgorithm: checksum }),
      },
      ...(partSize === undefined ? {} : { partSize }),
      ...(queueSize === undefined ? {} : { queueSize }),
    }).done();
  return {
    upload,
    append: () => upload(body),
    close: async () => client.destroy(),
  };
}
