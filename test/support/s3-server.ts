import { execFileSync } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import type { TestProject } from "vitest/node";

/** How tests reach the S3 server; plain data, since it crosses into the workers. */
export interface S3Connection {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
  readonly bucket: string;
  readonly ifMatchEtag: "quoted" | "bare";
}

declare module "vitest" {
  interface ProvidedContext {
    /** null: there is no server, the tests that need one are skipped. */
    s3: S3Connection | null;
  }
}

const SCRIPT = join(import.meta.dirname, "ceph-rgw.sh");
const DAEMONS = ["radosgw", "radosgw-admin", "ceph", "ceph-osd", "ceph-mon", "monmaptool"];

/** vitest globalSetup: a server from the environment, else a Ceph gateway of our own, else a loud notice. */
export default async function setup(project: TestProject): Promise<(() => void) | undefined> {
  const given = fromEnvironment(process.env);
  if (given !== undefined) {
    project.provide("s3", given);
    return undefined;
  }
  const missing = DAEMONS.filter((name) => !isOnPath(name));
  if (missing.length > 0) {
    announceSkip(missing);
    project.provide("s3", null);
    return undefined;
  }
  const { connection, stop } = startGateway();
  try {
    await createBucket(connection);
  } catch (error) {
    stop();
    throw error;
  }
  project.provide("s3", connection);
  return stop;
}

function fromEnvironment(env: NodeJS.ProcessEnv): S3Connection | undefined {
  const endpoint = env["TIERLOG_TEST_S3_ENDPOINT"];
  if (endpoint === undefined || endpoint === "") return undefined;
  const need = (name: string): string => {
    const value = env[name];
    if (value === undefined || value === "") throw new Error(`TIERLOG_TEST_S3_ENDPOINT is set, so ${name} must be too`);
    return value;
  };
  return {
    endpoint,
    accessKeyId: need("TIERLOG_TEST_S3_ACCESS_KEY"),
    secretAccessKey: need("TIERLOG_TEST_S3_SECRET_KEY"),
    region: env["TIERLOG_TEST_S3_REGION"] ?? "us-east-1",
    bucket: need("TIERLOG_TEST_S3_BUCKET"),
    ifMatchEtag: env["TIERLOG_TEST_S3_IF_MATCH"] === "bare" ? "bare" : "quoted",
  };
}

function startGateway(): { readonly connection: S3Connection; readonly stop: () => void } {
  const parent = mkdtempSync(join(tmpdir(), "tierlog-rgw-"));
  const env = { ...process.env, RGW_DIR: join(parent, "ceph") };
  const output = execFileSync(SCRIPT, ["start"], { env, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  const endpoint = /^endpoint (\S+)$/m.exec(output)?.[1];
  if (endpoint === undefined) throw new Error(`${SCRIPT} start named no endpoint`);
  return {
    connection: {
      endpoint,
      accessKeyId: process.env["S3_KEY"] ?? "testaccesskey",
      secretAccessKey: process.env["S3_SECRET"] ?? "testsecretkey",
      region: "us-east-1",
      bucket: "tierlog-test",
      ifMatchEtag: "bare",
    },
    stop() {
      execFileSync(SCRIPT, ["stop"], { env, stdio: ["ignore", "ignore", "inherit"] });
      rmSync(parent, { recursive: true, force: true });
    },
  };
}

async function createBucket({ endpoint, region, bucket, ...keys }: S3Connection): Promise<void> {
  const credentials = { accessKeyId: keys.accessKeyId, secretAccessKey: keys.secretAccessKey };
  const client = new S3Client({ endpoint, region, forcePathStyle: true, credentials });
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
  } finally {
    client.destroy();
  }
}

function announceSkip(missing: readonly string[]): void {
  const notice = [
    "",
    "  No S3 server: every test against one is SKIPPED.",
    `  Not on the PATH: ${missing.join(", ")}. Either`,
    "    apt-get install -y --no-install-recommends radosgw ceph-osd ceph-mon",
    "  or name a server of your own, with a bucket that the tests may fill:",
    "    TIERLOG_TEST_S3_ENDPOINT, _ACCESS_KEY, _SECRET_KEY, _BUCKET (and _REGION, _IF_MATCH=bare for Ceph)",
    "",
  ].join("\n");
  // A CI run that skips these and is green says nothing about the one thing that matters.
  if (process.env["CI"] !== undefined && process.env["CI"] !== "") throw new Error(notice);
  console.warn(notice);
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
