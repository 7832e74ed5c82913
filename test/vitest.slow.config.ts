import { defineConfig } from "vitest/config";

import { builtModules } from "./support/built-modules.ts";

export default defineConfig({
  plugins: [builtModules],
  test: {
    include: ["test/**/*.slow.test.ts"],
    globalSetup: ["test/support/build.ts"],
    testTimeout: 30_000,
    // The default leaves one core idle: on a machine with two, all files would run one after the other.
    maxWorkers: "100%",
  },
});
