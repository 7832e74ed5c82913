/** Counts of the requests that reached the store, each attempt on its own. */
export interface StoreMetrics {
  readonly put: OperationMetrics;
  readonly createMultipart: OperationMetrics;
  readonly uploadPart: OperationMetrics;
  readonly completeMultipart: OperationMetrics;
  readonly abortMultipart: OperationMetrics;
  readonly get: OperationMetrics;
  readonly head: OperationMetrics;
  readonly list: OperationMetrics;
  readonly delete: OperationMetrics;
}

export interface OperationMetrics {
  /** Requests sent; a listing counts its pages. */
  readonly requests: number;
  /** Of them those that ended in an error (a failed condition and a missing object are answers). */
  readonly errors: number;
  /** Bytes of bodies sent (put, uploadPart) or received (get). */
  readonly bytes: number;
  /** Time spent in them, summed over requests. */
  readonly ms: number;
}
