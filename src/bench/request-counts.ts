import type { StoreMetrics } from "../object-store/metered.ts";

export type RequestCounts = Readonly<Record<keyof StoreMetrics, number>>;

export function countRequests(metrics: StoreMetrics): RequestCounts {
  return mapRequests((operation) => metrics[operation].requests);
}

export function subtractRequests(a: RequestCounts, b: RequestCounts): RequestCounts {
  return mapRequests((operation) => a[operation] - b[operation]);
}

export function scaleRequests(counts: RequestCounts, factor: number): RequestCounts {
  return mapRequests((operation) => counts[operation] * factor);
}

/** Those billed as PUTs: of objects, and all of multipart uploads but their abort. */
export function putRequests(counts: RequestCounts): number {
  return counts.put + counts.createMultipart + counts.uploadPart + counts.completeMultipart;
}

export function sumRequests(counts: RequestCounts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

export function addRequests(a: RequestCounts, b: RequestCounts): RequestCounts {
  return mapRequests((operation) => a[operation] + b[operation]);
}

function mapRequests(count: (operation: keyof StoreMetrics) => number): RequestCounts {
  return {
    put: count("put"),
    createMultipart: count("createMultipart"),
    uploadPart: count("uploadPart"),
    completeMultipart: count("completeMultipart"),
    abortMultipart: count("abortMultipart"),
    get: count("get"),
    head: count("head"),
    list: count("list"),
    delete: count("delete"),
  };
}
