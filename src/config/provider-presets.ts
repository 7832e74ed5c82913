/** The header by which a PUT asks for "only if there is no such object". */
export const CREATE_IF_ABSENT_HEADERS = [
  /** With `*`: Amazon's, and of most others. Refused with 412. */
  "if-none-match",
  /** With 0: Google's. Refused with 412; not taken beside Amazon's own headers, so such a request is signed Google's way. */
  "x-goog-if-generation-match",
  /** With `true`: Alibaba's. Refused with 409 FileAlreadyExists. */
  "x-oss-forbid-overwrite",
] as const;
export type CreateIfAbsentHeader = (typeof CREATE_IF_ABSENT_HEADERS)[number];

/** What is said of a provider. Nothing here is believed at run time: the first use of a bucket tests the store. */
export interface ProviderFacts {
  /**
   * - "fenced": creates are said, or were seen, to be atomic between racing writers.
   * - "single-writer only": a create-if-absent is refused or ignored.
   * - "probe decides": nothing is known, it depends on the version, or sources disagree.
   * - "unusable": this version of tierlog cannot work there.
   */
  readonly fencing: "fenced" | "single-writer only" | "probe decides" | "unusable";
  /** Where that comes from: our own tests, somebody who ran a test against the service, its manual, or nowhere. */
  readonly evidence: "tested here" | "tested by others" | "documented" | "none";
  /** How `If-Match` is spelled. The engine does not use it. */
  readonly ifMatch: "quoted" | "bare" | "none" | "not known";
  /** A body that does not match its x-amz-checksum-…: refused, taken without a look, or the header itself is refused. */
  readonly checksums: "checked" | "ignored" | "refused" | "not known";
  /** Of a multipart upload. Ours always has equal parts and a last one that is not larger. */
  readonly parts: "any sizes" | "equal sizes" | "not known";
  readonly versioning: "yes" | "always" | "no" | "not known";
}

/** The settings by which a provider is reached, as plain data. Explicit settings win over each of them. */
export interface ProviderPreset {
  /** In the configuration. */
  readonly name: string;
  readonly title: string;
  /** With `{region}` and `{account}` to be filled in. "aws": the SDK knows it. undefined: every installation has its own. */
  readonly endpoint: string | undefined;
  /** undefined: has to be given. */
  readonly region: string | undefined;
  /** As people would write it, for messages and the manual. */
  readonly exampleRegion: string;
  readonly pathStyle: boolean;
  readonly createIfAbsent: CreateIfAbsentHeader;
  /** "signed" where a wrong checksum goes unnoticed, or is not looked at. */
  readonly payloadSigning: "auto" | "signed";
  readonly facts: ProviderFacts;
}

const UNKNOWN: ProviderFacts = {
  fencing: "probe decides",
  evidence: "none",
  ifMatch: "not known",
  checksums: "not known",
  parts: "not known",
  versioning: "not known",
};

/** Most servers: path style, the standard header. */
function preset(
  name: string,
  title: string,
  given: Partial<Omit<ProviderPreset, "facts">>,
  facts: Partial<ProviderFacts>,
): ProviderPreset {
  return {
    name,
    title,
    endpoint: undefined,
    region: undefined,
    exampleRegion: given.region ?? "us-east-1",
    pathStyle: true,
    createIfAbsent: "if-none-match",
    payloadSigning: "auto",
    ...given,
    facts: { ...UNKNOWN, ...facts },
  };
}

/** Sources of each line, and what else is known: docs/providers.md. In its order. */
export const PROVIDER_PRESETS: readonly ProviderPreset[] = [
  preset(
    "aws",
    "Amazon S3",
    { endpoint: "aws", region: "us-east-1", pathStyle: false },
    {
      fencing: "fenced",
      evidence: "tested by others",
      ifMatch: "quoted",
      checksums: "checked",
      parts: "any sizes",
      versioning: "yes",
    },
  ),
  preset(
    "aws-express",
    "Amazon S3 Express One Zone",
    { endpoint: "aws", pathStyle: false, exampleRegion: "us-east-1" },
    { fencing: "unusable", evidence: "documented", checksums: "checked", versioning: "no" },
  ),
  preset(
    "r2",
    "Cloudflare R2",
    { endpoint: "https://{account}.r2.cloudflarestorage.com", region: "auto" },
    { fencing: "fenced", evidence: "tested by others", checksums: "checked", parts: "equal sizes", versioning: "no" },
  ),
  preset(
    "gcs",
    "Google Cloud Storage",
    {
      endpoint: "https://storage.googleapis.com",
      region: "auto",
      createIfAbsent: "x-goog-if-generation-match",
      payloadSigning: "signed",
    },
    {
      fencing: "fenced",
      evidence: "tested by others",
      ifMatch: "none",
      checksums: "ignored",
      parts: "any sizes",
      versioning: "yes",
    },
  ),
  preset(
    "oss",
    "Alibaba Cloud OSS",
    {
      endpoint: "https://s3.oss-{region}.aliyuncs.com",
      pathStyle: false,
      exampleRegion: "eu-central-1",
      createIfAbsent: "x-oss-forbid-overwrite",
    },
    { evidence: "documented", ifMatch: "none", versioning: "yes" },
  ),
  preset(
    "oci",
    "Oracle Cloud Infrastructure",
    { endpoint: "https://{account}.compat.objectstorage.{region}.oraclecloud.com", exampleRegion: "eu-frankfurt-1" },
    { evidence: "tested by others", ifMatch: "none" },
  ),
  preset(
    "ibm",
    "IBM Cloud Object Storage",
    { endpoint: "https://s3.{region}.cloud-object-storage.appdomain.cloud", exampleRegion: "eu-de" },
    { evidence: "documented" },
  ),
  preset(
    "b2",
    "Backblaze B2",
    { endpoint: "https://s3.{region}.backblazeb2.com", exampleRegion: "eu-central-003" },
    {
      fencing: "single-writer only",
      evidence: "tested by others",
      ifMatch: "none",
      checksums: "checked",
      parts: "any sizes",
      versioning: "always",
    },
  ),
  preset(
    "wasabi",
    "Wasabi",
    { endpoint: "https://s3.{region}.wasabisys.com", exampleRegion: "eu-central-1" },
    {
      fencing: "single-writer only",
      evidence: "tested by others",
      ifMatch: "none",
      checksums: "checked",
      parts: "any sizes",
      versioning: "yes",
    },
  ),
  preset(
    "digitalocean",
    "DigitalOcean Spaces",
    { endpoint: "https://{region}.digitaloceanspaces.com", exampleRegion: "fra1", payloadSigning: "signed" },
    {
      fencing: "fenced",
      evidence: "tested by others",
      ifMatch: "bare",
      checksums: "ignored",
      parts: "any sizes",
      versioning: "yes",
    },
  ),
  preset(
    "hetzner",
    "Hetzner Object Storage",
    { endpoint: "https://{region}.your-objectstorage.com", exampleRegion: "nbg1", payloadSigning: "signed" },
    { fencing: "fenced", evidence: "tested by others", checksums: "ignored", parts: "any sizes" },
  ),
  preset(
    "linode",
    "Akamai (Linode) Object Storage",
    { endpoint: "https://{region}.linodeobjects.com", exampleRegion: "us-east-1" },
    {},
  ),
  preset("vultr", "Vultr Object Storage", { endpoint: "https://{region}.vultrobjects.com", exampleRegion: "ewr1" }, {}),
  preset(
    "ovh",
    "OVHcloud Object Storage",
    { endpoint: "https://s3.{region}.io.cloud.ovh.net", exampleRegion: "gra" },
    { fencing: "fenced", evidence: "documented", checksums: "not known" },
  ),
  preset(
    "scaleway",
    "Scaleway Object Storage",
    { endpoint: "https://s3.{region}.scw.cloud", exampleRegion: "fr-par" },
    { fencing: "fenced", evidence: "documented", versioning: "yes" },
  ),
  preset(
    "tigris",
    "Tigris",
    { endpoint: "https://t3.storage.dev", region: "auto" },
    { fencing: "fenced", evidence: "tested by others", ifMatch: "quoted" },
  ),
  preset(
    "ceph",
    "Ceph RGW, Rook",
    { region: "us-east-1", payloadSigning: "signed" },
    {
      fencing: "fenced",
      evidence: "tested here",
      ifMatch: "bare",
      checksums: "ignored",
      versioning: "yes",
    },
  ),
  preset(
    "minio",
    "MinIO, AIStor",
    { region: "us-east-1" },
    { fencing: "fenced", evidence: "tested by others", versioning: "yes" },
  ),
  preset("seaweedfs", "SeaweedFS", { region: "us-east-1" }, { evidence: "tested by others" }),
  preset("rustfs", "RustFS", { region: "us-east-1" }, { evidence: "tested by others" }),
  preset("lakefs", "lakeFS", { region: "us-east-1" }, { evidence: "documented" }),
  preset("zenko", "Zenko CloudServer", { region: "us-east-1" }, {}),
  preset(
    "garage",
    "Garage",
    { region: "garage" },
    { fencing: "single-writer only", evidence: "tested by others", ifMatch: "none", versioning: "no" },
  ),
  preset(
    "swift",
    "OpenStack Swift (s3api)",
    { region: "us-east-1", payloadSigning: "signed" },
    {
      fencing: "single-writer only",
      evidence: "tested here",
      ifMatch: "none",
      checksums: "ignored",
    },
  ),
  preset("localstack", "LocalStack", { region: "us-east-1" }, { evidence: "documented" }),
];

const byName = new Map(PROVIDER_PRESETS.map((entry) => [entry.name, entry]));

export function providerPreset(name: string): ProviderPreset | undefined {
  return byName.get(name);
}
