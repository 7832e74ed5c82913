import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/soak/*.test.ts"],
    globalSetup: ["test/support/build.ts", "test/support/s3-server.ts"],
    fileParallelism: false,
    testTimeout: 7_200_000,
    hookTimeout: 60_000,
  },
});
