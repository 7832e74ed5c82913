import { createRequire } from "node:module";
import { version } from "node:process";

import { ok, type CheckSpec } from "./check.ts";

/** For whoever reads the table in a bug report. */
export const VERSIONS_CHECK: CheckSpec = {
  name: "versions",
  severity: "info",
  hint: "",
  needs: [],
  async run() {
    const sdk = createRequire(import.meta.url)("@aws-sdk/client-s3/package.json") as { version: string };
    return ok(`Node ${version}, AWS SDK ${sdk.version}`);
  },
};
