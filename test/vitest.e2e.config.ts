import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/e2e/**/*.test.ts"],
    exclude: ["test/**/*.s3.test.ts"],
    globalSetup: ["test/support/build.ts"],
    testTimeout: 60_000,
    // The default leaves one core idle: on a machine with two, all files would run one after the other.
    maxWorkers: "100%",
  },
});
