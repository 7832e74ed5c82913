import type { PriceList } from "./prices.ts";
import { putRequests, type RequestCounts } from "./request-counts.ts";

/** Of one month. */
export interface Usage {
  readonly requests: RequestCounts;
  readonly bytesWritten: number;
  readonly bytesRead: number;
  /** On average. */
  readonly storedBytes: number;
}

/** Dollars of one month. */
export interface Bill {
  readonly puts: number;
  readonly gets: number;
  readonly lists: number;
  readonly deletes: number;
  /** Bytes sent and fetched, where they cost. */
  readonly traffic: number;
  readonly storage: number;
  readonly total: number;
}

export function billOf({ requests, bytesWritten, bytesRead, storedBytes }: Usage, prices: PriceList): Bill {
  const parts = {
    puts: (putRequests(requests) / 1e6) * prices.putPerMillion,
    gets: ((requests.get + requests.head) / 1e6) * prices.getPerMillion,
    lists: (requests.list / 1e6) * prices.listPerMillion,
    deletes: ((requests.delete + requests.abortMultipart) / 1e6) * prices.deletePerMillion,
    traffic: (bytesWritten * prices.writtenPerGb + bytesRead * prices.readPerGb) / prices.gbBytes,
    storage: storageOf(storedBytes / prices.gbBytes, prices),
  };
  return { ...parts, total: Object.values(parts).reduce((sum, dollars) => sum + dollars, 0) };
}

function storageOf(gbs: number, { storagePerGbMonth }: PriceList): number {
  let dollars = 0;
  let from = 0;
  for (const { upToGb = Number.POSITIVE_INFINITY, price } of storagePerGbMonth) {
    dollars += Math.max(0, Math.min(gbs, upToGb) - from) * price;
    from = upToGb;
  }
  return dollars;
}
