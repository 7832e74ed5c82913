import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.s3.test.ts"],
    globalSetup: ["test/support/build.ts", "test/support/s3-server.ts"],
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 60_000,
  },
});
