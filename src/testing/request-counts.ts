import type { S3Operation } from "./s3-call.ts";

/** Requests of one operation, by what they were answered; "none": no answer was begun. */
type Statuses = Map<number | "none", number>;

/** What a server was asked and what it answered, since its start. Requests still under way are counted, without a status. */
export class RequestCounts {
  readonly #operations = new Map<S3Operation, { count: number; readonly statuses: Statuses }>();

  get total(): number {
    let total = 0;
    for (const { count } of this.#operations.values()) total += count;
    return total;
  }

  /** Of one operation; with `status` those that were answered so. */
  count(operation: S3Operation, status?: number | "none"): number {
    const of = this.#operations.get(operation);
    if (status === undefined) return of?.count ?? 0;
    return of?.statuses.get(status) ?? 0;
  }

  toJSON(): Record<string, { count: number; statuses: Record<string, number> }> {
    return Object.fromEntries(
      [...this.#operations].map(([operation, { count, statuses }]) => [
        operation,
        { count, statuses: Object.fromEntries(statuses) },
      ]),
    );
  }

  /** For the server: a request has come. Call the result once, with what became of it. */
  began(operation: S3Operation): (status: number | "none") => void {
    const of = this.#operations.get(operation) ?? { count: 0, statuses: new Map() };
    this.#operations.set(operation, of);
    of.count += 1;
    return (status) => {
      of.statuses.set(status, (of.statuses.get(status) ?? 0) + 1);
    };
  }
}
