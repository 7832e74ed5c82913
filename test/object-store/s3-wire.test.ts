import { PutObjectCommand } from "@aws-sdk/client-s3";
import { expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { S3Wire } from "../../src/object-store/probe/s3-wire.ts";
import { fixedCredentials } from "../../src/object-store/s3-credentials.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

test("credentials that never come end a request at its time, and a race with it", async () => {
  const clock = new VirtualClock();
  const wire = new S3Wire(
    {
      bucket: "logs",
      region: "us-east-1",
      endpoint: "http://127.0.0.1:1",
      prefix: "",
      credentials: {
        ...fixedCredentials({ accessKeyId: "key", secretAccessKey: "secret" }),
        get: () => new Promise<never>(() => undefined),
      },
      forcePathStyle: true,
      requestTimeoutMs: 1_000,
      maxSockets: 4,
    },
    clock,
  );
  const command = new PutObjectCommand({ ...wire.object("a"), Body: Buffer.from("x") });
  expect(await clock.run(wire.send("put", "a", command))).toMatchObject({ status: undefined, output: undefined });
  expect(clock.monotonic()).toBe(1_000);
  const answers = await clock.run(wire.race("a" as ObjectKey, [Buffer.from("x"), Buffer.from("y")]));
  expect(answers.map(({ kind }) => kind)).toEqual(["unclear", "unclear"]);
  wire.close();
});
