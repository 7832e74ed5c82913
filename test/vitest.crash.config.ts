import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/crash/*.test.ts"],
    globalSetup: ["test/support/build.ts", "test/support/s3-server.ts"],
    fileParallelism: false,
    testTimeout: 1_800_000,
    hookTimeout: 60_000,
  },
});
