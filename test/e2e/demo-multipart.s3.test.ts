import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, beforeEach, expect, inject, test } from "vitest";

import { describeS3, freshPrefix } from "../support/s3.ts";
import { jsonLines, Workplace } from "./tierlog.ts";

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.make();
});
afterEach(() => place.remove());

describeS3("the demo with lines of 64 KiB", () => {
  test.each(["none", "lz4"])(
    "%s: multipart uploads stand in its request table, and all comes back",
    async (compression) => {
      const server = inject("s3");
      const env = {
        TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET: server?.bucket ?? "",
        TIERLOG_SYSTEM_STORAGE_OBJECT_PREFIX: freshPrefix(),
        AWS_ENDPOINT_URL_S3: server?.endpoint ?? "",
        AWS_REGION: server?.region ?? "",
        AWS_ACCESS_KEY_ID: server?.accessKeyId ?? "",
        AWS_SECRET_ACCESS_KEY: server?.secretAccessKey ?? "",
      };
      const line = (i: number): string => `${i} `.repeat(16_384).slice(0, 65_535);
      const file = join(place.path, "lines.txt");
      await writeFile(file, Array.from({ length: 3000 }, (_, i) => `${line(i)}\n`).join(""));
      const argv = ["demo", "--kind", "object", "--input", file, "--partitions", "50", "--compression", compression];
      const { exitCode, stdout, stderr } = await place.run(
        [...argv, "--set", "system.flush.linger=500ms", "--json"],
        "",
        env,
      );
      expect([exitCode, stderr]).toEqual([0, ""]);
      const [report] = jsonLines(stdout) as [{ requests: Record<string, number>; verified: boolean }];
      console.log(JSON.stringify(report));
      expect(report.verified).toBe(true);
      const { createMultipart = 0, uploadPart = 0, completeMultipart = 0, abortMultipart = 0 } = report.requests;
      expect([completeMultipart, abortMultipart]).toEqual([createMultipart, 0]);
      // These lines compress to a hundredth: then every flush fits one part.
      const expected = compression === "none" ? [true, true] : [false, false];
      expect([createMultipart > 0, uploadPart > createMultipart]).toEqual(expected);
    },
  );
});
