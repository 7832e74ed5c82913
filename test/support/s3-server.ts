import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

import type { TestProject } from "vitest/node";

import { CephGateway } from "./ceph-gateway.ts";
import type { S3Connection } from "./s3-connection.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** null: there is no server, the tests that need one are skipped. */
    s3: S3Connection | null;
  }
}

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
  const gateway = await CephGateway.start();
  project.provide("s3", gateway.connection);
  return () => gateway.stop();
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
