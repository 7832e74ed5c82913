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
