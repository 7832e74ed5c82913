import { Readable, Writable } from "node:stream";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { Interruption } from "../../src/cli/interruption.ts";
import { run } from "../../src/cli/run.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { FaultScript } from "../../src/testing/fault-script.ts";
import { S3Endpoint } from "../../src/testing/s3-endpoint.ts";

class Capture extends Writable {
  text = "";

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

let faults: FaultScript;
let endpoint: S3Endpoint;
beforeEach(async () => {
  faults = new FaultScript();
  endpoint = await S3Endpoint.start({ buckets: ["logs"], faults });
});
afterEach(() => endpoint.close());

async function tierlog(
  argv: string[],
  wrong: Record<string, string> = {},
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const [stdout, stderr] = [new Capture(), new Capture()];
  const { accessKeyId, secretAccessKey } = endpoint.credentials;
  const exitCode = await run(argv, {
    stdin: Readable.from([]),
    stdout,
    stderr,
    stderrIsTerminal: false,
    env: {
      TIERLOG_SYSTEM_STORAGE_KIND: "object",
      TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET: "logs",
      AWS_ENDPOINT_URL_S3: endpoint.url,
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      ...wrong,
    },
    cwd: "/nonexistent",
    version: "1.2.3",
    runtime: systemRuntime,
    interruption: new Interruption(() => undefined),
  });
  return { exitCode, stdout: stdout.text, stderr: stderr.text };
}

describe("the first steps on a bucket, and the first mistakes", () => {
  test("doctor where nobody answers: no word of the store's clock", async () => {
    const { exitCode, stdout } = await tierlog(["doctor"], { AWS_ENDPOINT_URL_S3: "http://127.0.0.1:1" });
    expect(exitCode).toBe(76);
    expect(stdout).toMatch(/^connection +FAIL +ECONNREFUSED: cannot connect/m);
    expect(stdout).toMatch(/^clock +skip +the store did not answer$/m);
  });

  test("demo without a bucket: one line, and nothing of removing what was never there", async () => {
    const { exitCode, stderr } = await tierlog(["demo"], { TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET: "absent" });
    expect(exitCode).toBe(75);
    expect(stderr).toMatch(/^tierlog: list probe\/: HTTP 404 NoSuchBucket \(bucket absent\).*: create it.*\n$/);
    expect(stderr.split("\n")).toHaveLength(2);
  });

  test("demo that fails after it wrote, and may not remove: it says where what is left", async () => {
    endpoint.setCredentials([
      { ...endpoint.credentials, deniedActions: ["s3:DeleteObject", "s3:ListBucketMultipartUploads"] },
    ]);
    faults.add({ match: { operation: "PutObject", key: /catalog\// }, fault: { kind: "access-denied" } });
    const { exitCode, stderr } = await tierlog(["demo"]);
    expect(exitCode).toBe(75);
    expect(stderr).toMatch(/^not everything could be removed from bucket logs, prefix demo-\w+: delete /m);
  });

  test("a topic that does not exist: the one that was meant", async () => {
    await tierlog(["topics", "create", "events", "--partitions", "1"]);
    const { exitCode, stderr } = await tierlog(["consume", "event"]);
    expect(exitCode).toBe(66);
    expect(stderr).toBe(
      'tierlog: topic "event" does not exist; did you mean "events"? If not, create it with: tierlog topics create event --partitions N\n',
    );
  });

  test("a store that is busy: sentences, no JSON", async () => {
    faults.add({ match: { operation: "GetObject", times: 5 }, fault: { kind: "slow-down" } });
    const { exitCode, stderr } = await tierlog(["topics", "list"]);
    expect(exitCode).toBe(66);
    expect(stderr).toMatch(
      /^warning: object store request failed again, trying on: get FORMAT: HTTP 503 SlowDown.* \(operation get, key FORMAT, attempts 4, delayMs \d+\)$/m,
    );
  });
});
