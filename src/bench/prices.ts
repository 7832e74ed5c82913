import { z } from "zod";

import { ConfigError, type ConfigIssue } from "../errors.ts";

/** What a store charges, in dollars. Prices change and differ by region: `source` says where they stood on `date`. */
export interface PriceList {
  readonly name: string;
  /** As in "AWS S3 Standard, us-east-1". */
  readonly title: string;
  readonly source: string;
  /** ISO 8601: when they were read there. */
  readonly date: string;
  /** Per million: PUT and all requests of multipart uploads but abort; GET and HEAD; LIST; DELETE and abort. */
  readonly putPerMillion: number;
  readonly getPerMillion: number;
  readonly listPerMillion: number;
  readonly deletePerMillion: number;
  /** Bytes of what is billed as a GB. */
  readonly gbBytes: number;
  /** Cheaper the more there is; the last one has no end. */
  readonly storagePerGbMonth: readonly { readonly upToGb?: number | undefined; readonly price: number }[];
  readonly writtenPerGb: number;
  readonly readPerGb: number;
}

const GIB = 1024 ** 3;
const READ_ON = "2026-11-21";

/** Without taxes, free tiers, discounts, and traffic between zones, regions or to the Internet. */
export const PRICES: readonly PriceList[] = [
  {
    name: "aws",
    title: "AWS S3 Standard, us-east-1",
    source: "https://aws.amazon.com/s3/pricing/",
    date: READ_ON,
    putPerMillion: 5,
    getPerMillion: 0.4,
    listPerMillion: 5,
    deletePerMillion: 0,
    gbBytes: GIB,
    storagePerGbMonth: [{ upToGb: 51_200, price: 0.023 }, { upToGb: 512_000, price: 0.022 }, { price: 0.021 }],
    writtenPerGb: 0,
    readPerGb: 0,
  },
  {
    name: "aws-express",
    title: "AWS S3 Express One Zone, us-east-1",
    source: "https://aws.amazon.com/s3/faqs/",
    date: READ_ON,
    putPerMillion: 1.13,
    getPerMillion: 0.03,
    listPerMillion: 1.13,
    deletePerMillion: 0,
    gbBytes: GIB,
    storagePerGbMonth: [{ price: 0.11 }],
    writtenPerGb: 0.0032,
    readPerGb: 0.0006,
  },
  {
    name: "r2",
    title: "Cloudflare R2 Standard",
    source: "https://developers.cloudflare.com/r2/pricing/",
    date: READ_ON,
    putPerMillion: 4.5,
    getPerMillion: 0.36,
    listPerMillion: 4.5,
    deletePerMillion: 0,
    gbBytes: 1e9,
    storagePerGbMonth: [{ price: 0.015 }],
    writtenPerGb: 0,
    readPerGb: 0,
  },
  {
    name: "gcs",
    title: "Google Cloud Storage Standard, us-central1",
    source: "https://cloud.google.com/storage/pricing-examples",
    date: READ_ON,
    putPerMillion: 5,
    getPerMillion: 0.4,
    listPerMillion: 5,
    deletePerMillion: 0,
    gbBytes: GIB,
    storagePerGbMonth: [{ price: 0.02 }],
    writtenPerGb: 0,
    readPerGb: 0,
  },
];

const price = z.number().min(0).max(1e6);
const list = z.strictObject({
  name: z.string().min(1).max(40),
  title: z.string().min(1).max(100),
  source: z.string().min(1).max(500),
  date: z.iso.date(),
  putPerMillion: price,
  getPerMillion: price,
  listPerMillion: price,
  deletePerMillion: price,
  gbBytes: z.number().min(1e9).max(GIB),
  storagePerGbMonth: z
    .array(z.strictObject({ upToGb: z.number().positive().optional(), price }))
    .min(1)
    .max(20),
  writtenPerGb: price,
  readPerGb: price,
});

/** The price lists of a JSON file: an array of `PriceList`. `ConfigError` with every problem, named by `file`. */
export function parsePrices(text: string, file: string): readonly PriceList[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ConfigError([{ path: file, problem: `is not JSON: ${(error as Error).message}` }], { cause: error });
  }
  const parsed = z.array(list).min(1).max(50).safeParse(value);
  if (parsed.success) return parsed.data;
  const issues: ConfigIssue[] = parsed.error.issues.map(({ path, message }) => ({
    path: path.length === 0 ? file : `${file}: ${path.map(String).join(".")}`,
    problem: message,
  }));
  throw new ConfigError(issues);
}
