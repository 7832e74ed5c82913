import { resolve } from "node:path";

import { expect, test } from "vitest";

import { defaultConfig } from "../../src/config/resolve-config.ts";
import { ConfigError } from "../../src/errors.ts";

test("replaces what is given and keeps the rest", () => {
  const config = defaultConfig({
    path: "data",
    storage: {
      kind: "object",
      object: { bucket: "my-bucket", credentials: { accessKeyId: "AKIA", secretAccessKey: "secret" } },
    },
    flush: { lingerMs: 5 },
  });
  expect(config.path).toBe(resolve("data"));
  expect(config.flush).toEqual({ ...defaultConfig().flush, lingerMs: 5 });
  expect(config.storage.object.bucket).toBe("my-bucket");
  expect(config.storage.object.credentials?.secretAccessKey.reveal()).toBe("secret");
});

test("accepts what it returned", () => {
  const config = defaultConfig({
    storage: { object: { credentials: { accessKeyId: "AKIA", secretAccessKey: "secret" }, bucket: "my-bucket" } },
  });
  expect(defaultConfig(config)).toEqual(config);
  expect(defaultConfig(defaultConfig())).toEqual(defaultConfig());
});

test("checks as a file is checked, and names unknown fields", () => {
  const overrides = {
    flush: { lingerMs: 0.5, maxByte: 1 },
    storage: { object: { multipartPartSizeBytes: 4 * 1024 * 1024 } },
    cache: 7,
  };
  expect(() => defaultConfig(overrides as never)).toThrow(
    new ConfigError([
      { path: "flush.maxByte", problem: "is not a field of the configuration; did you mean flush.maxBytes?" },
      { path: "cache", problem: "is a group of fields, not a value" },
      {
        path: "system.storage.object.multipart_part_size",
        problem: "4 MiB is below the minimum of 5 MiB (S3 refuses smaller parts)",
      },
      { path: "system.flush.linger", problem: "0.5 is not a whole number of milliseconds" },
    ]),
  );
});
