import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";

import type { Certificate } from "./certificates.ts";
import type { S3Connection } from "./s3-connection.ts";

const SCRIPT = join(import.meta.dirname, "ceph-rgw.sh");

/** A Ceph gateway of its own, with one bucket. Its packages must be there. */
export class CephGateway {
  readonly connection: S3Connection;
  /** The same server over TLS, where it was given a certificate; it takes customers' keys there alone. */
  readonly tlsEndpoint: string | undefined;
  readonly #parent: string;
  readonly #env: NodeJS.ProcessEnv;

  static async start(certificate?: Certificate): Promise<CephGateway> {
    const gateway = new CephGateway(certificate);
    try {
      await createBucket(gateway.connection);
    } catch (error) {
      gateway.stop();
      throw error;
    }
    return gateway;
  }

  private constructor(certificate: Certificate | undefined) {
    this.#parent = mkdtempSync(join(tmpdir(), "tierlog-rgw-"));
    this.#env = {
      ...process.env,
      RGW_DIR: join(this.#parent, "ceph"),
      ...this.#tlsFiles(certificate),
    };
    const output = execFileSync(SCRIPT, ["start"], {
      env: this.#env,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
    const endpoint = /^endpoint (\S+)$/m.exec(output)?.[1];
    if (endpoint === undefined) throw new Error(`${SCRIPT} start named no endpoint`);
    this.tlsEndpoint = /^tls-endpoint (\S+)$/m.exec(output)?.[1];
    this.connection = {
      endpoint,
      accessKeyId: process.env["S3_KEY"] ?? "testaccesskey",
      secretAccessKey: process.env["S3_SECRET"] ?? "testsecretkey",
      region: "us-east-1",
      bucket: "tierlog-test",
      ifMatchEtag: "bare",
      ownGateway: true,
    };
  }

  /** Requests wait from now on; those on their way are carried out after `resumeOsd`, whether their client still waits or not. */
  pauseOsd(): void {
    this.#script("pause-osd");
  }

  resumeOsd(): void {
    this.#script("resume-osd");
  }

  /** kill -9; the data stays. */
  killGateway(): void {
    this.#script("kill-gateway");
  }

  /** Comes back when it answers. */
  startGateway(): void {
    this.#script("start-gateway");
  }

  stop(): void {
    this.#script("stop");
    rmSync(this.#parent, { recursive: true, force: true });
  }

  #tlsFiles(certificate: Certificate | undefined): NodeJS.ProcessEnv {
    if (certificate === undefined) return {};
    const [RGW_CERT, RGW_KEY] = [join(this.#parent, "cert.pem"), join(this.#parent, "key.pem")];
    writeFileSync(RGW_CERT, certificate.cert);
    writeFileSync(RGW_KEY, certificate.key);
    return { RGW_CERT, RGW_KEY };
  }

  #script(command: string): void {
    execFileSync(SCRIPT, [command], { env: this.#env, stdio: ["ignore", "ignore", "inherit"] });
  }
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
