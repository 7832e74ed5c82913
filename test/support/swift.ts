import { execFileSync } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

const SCRIPT = join(import.meta.dirname, "swift-s3api.sh");
const PROGRAMS = ["swift-proxy-server", "swift-object-server", "swift-ring-builder", "memcached", "setsid"];

/** An OpenStack Swift of our own, which speaks S3 and refuses conditional writes. */
export interface Swift {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  stop(): void;
}

/** What is missing to start one; where that is anything, says so loudly, and throws in CI: a skipped test is no pass there. */
export function missingForSwift(): readonly string[] {
  const missing = PROGRAMS.filter((name) => !isOnPath(name));
  if (missing.length === 0) return [];
  const notice = [
    "",
    "  No OpenStack Swift: the tests against it are SKIPPED.",
    `  Not on the PATH: ${missing.join(", ")}.`,
    "    apt-get install -y --no-install-recommends swift swift-proxy swift-object swift-container swift-account memcached",
    "",
  ].join("\n");
  if (process.env["CI"] !== undefined && process.env["CI"] !== "") throw new Error(notice);
  console.warn(notice);
  return missing;
}

export function startSwift(): Swift {
  const parent = mkdtempSync(join(tmpdir(), "tierlog-swift-"));
  const env = { ...process.env, SWIFT_DIR: join(parent, "swift") };
  const output = execFileSync(SCRIPT, ["start"], { env, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  const endpoint = /^endpoint (\S+)$/m.exec(output)?.[1];
  if (endpoint === undefined) throw new Error(`${SCRIPT} start named no endpoint`);
  return {
    endpoint,
    accessKeyId: "test:tester",
    secretAccessKey: "testing",
    stop() {
      execFileSync(SCRIPT, ["stop"], { env, stdio: ["ignore", "ignore", "inherit"] });
      rmSync(parent, { recursive: true, force: true });
    },
  };
}

function isOnPath(name: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
