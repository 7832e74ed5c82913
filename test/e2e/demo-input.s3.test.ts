import { join } from "node:path";

import { afterAll, beforeAll, expect, inject, test } from "vitest";

import { describeS3, freshPrefix } from "../support/s3.ts";
import { writeRealText } from "./real-text.ts";
import { jsonLines, Workplace } from "./tierlog.ts";

let place: Workplace;
let file: string;
let sizeBytes: number;

beforeAll(async () => {
  place = await Workplace.make();
  file = join(place.path, "text.txt");
  const text = await writeRealText(file);
  sizeBytes = text.sizeBytes;
  console.log(`demo --input: ${sizeBytes} bytes of ${text.source}`);
});
afterAll(() => place.remove());

function objectEnv(): Record<string, string> {
  const server = inject("s3");
  return {
    TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET: server?.bucket ?? "",
    TIERLOG_SYSTEM_STORAGE_OBJECT_PREFIX: freshPrefix(),
    AWS_ENDPOINT_URL_S3: server?.endpoint ?? "",
    AWS_REGION: server?.region ?? "",
    AWS_ACCESS_KEY_ID: server?.accessKeyId ?? "",
    AWS_SECRET_ACCESS_KEY: server?.secretAccessKey ?? "",
  };
}

const CASES = ["memory", "fs", "object"].flatMap((kind) =>
  [1, 500].flatMap((partitions) => ["none", "lz4"].map((compression) => [kind, partitions, compression] as const)),
);

describeS3("the demo on a real text of 50 MiB and more", () => {
  test.each(CASES)("%s, %i partitions, %s", async (kind, partitions, compression) => {
    const env = kind === "object" ? objectEnv() : {};
    const argv = ["demo", "--input", file, "--kind", kind, "--partitions", String(partitions)];
    const { exitCode, stdout, stderr } = await place.run([...argv, "--compression", compression, "--json"], "", env);
    expect([exitCode, stderr]).toEqual([0, ""]);
    const [report] = jsonLines(stdout) as [Record<string, unknown>];
    expect(report).toMatchObject({ kind, partitions, verified: true });
    // Every byte but the line ends.
    expect(Number(report["bytesIn"]) + Number(report["records"])).toBe(sizeBytes);
    console.log(JSON.stringify(report));
  });
});
