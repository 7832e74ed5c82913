import type {} from "vitest";

/** How tests reach the S3 server; plain data, since it crosses into the workers. */
export interface S3Connection {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
  readonly bucket: string;
  readonly ifMatchEtag: "quoted" | "bare";
  /** true: a Ceph gateway started here, so that tests may start one more to break. */
  readonly ownGateway?: boolean;
}

declare module "vitest" {
  interface ProvidedContext {
    /** null: there is no server, the tests that need one are skipped. */
    s3: S3Connection | null;
  }
}
