/**
 * What the probe of a store found that changes how requests are written. The store reads it at every request; the engine fills it
 * in once, before its first put. Until then it holds what is safe everywhere.
 */
export interface StoreTraits {
  /** How `If-Match` is spelled. Ceph RGW and its relatives compare with the quotes on, and so only ever match "bare". */
  ifMatchEtag: "quoted" | "bare";
  /** Does the store refuse a body that does not match its x-amz-checksum-crc32c? undefined: nobody asked. */
  wrongChecksumRefused: boolean | undefined;
}

export function assumedTraits(): StoreTraits {
  return { ifMatchEtag: "quoted", wrongChecksumRefused: undefined };
}
