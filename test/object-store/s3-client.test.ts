import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ListObjectsV2Command } from "@aws-sdk/client-s3";
import { afterEach, expect, test, vi } from "vitest";

import { createS3Client } from "../../src/object-store/s3-client.ts";

afterEach(() => {
  vi.unstubAllEnvs();
});

/** Where a client without an endpoint would send a request, as far as the socket. */
async function address(): Promise<string> {
  const client = createS3Client({
    region: "eu-central-1",
    credentials: { accessKeyId: "key", secretAccessKey: "secret" },
    forcePathStyle: false,
    requestTimeoutMs: 1_000,
    maxSockets: 1,
  });
  let found = "";
  client.middlewareStack.add(
    () => (args) => {
      const { protocol, hostname } = args.request as { protocol: string; hostname: string };
      found = `${protocol}//${hostname}`;
      return Promise.reject(new Error("not sent"));
    },
    { step: "finalizeRequest", priority: "high" },
  );
  await expect(client.send(new ListObjectsV2Command({ Bucket: "logs" }))).rejects.toThrow("not sent");
  client.destroy();
  return found;
}

test("without an endpoint it is AWS, over TLS, whatever else the SDK finds on the machine", async () => {
  const aws = "https://logs.s3.eu-central-1.amazonaws.com";
  expect(await address()).toBe(aws);
  vi.stubEnv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1");
  expect(await address()).toBe(aws);
  vi.unstubAllEnvs();
  const directory = await mkdtemp(join(tmpdir(), "tierlog-"));
  try {
    const file = join(directory, "config");
    await writeFile(file, "[profile other]\nendpoint_url = http://127.0.0.1:1\n");
    vi.stubEnv("AWS_CONFIG_FILE", file);
    vi.stubEnv("AWS_PROFILE", "other");
    expect(await address()).toBe(aws);
  } finally {
    await rm(directory, { recursive: true });
  }
});
