import type { ETag } from "../../domain.ts";
import type { ListOptions, ObjectStore, PutOutcome } from "../../object-store/object-store.ts";
import type { StoreUnderTest } from "./conformance-case.ts";
import { k } from "./sample-bytes.ts";

/** The store under test, in the words of the checks. */
export class StoreDriver {
  readonly target: StoreUnderTest;
  readonly store: ObjectStore;

  constructor(target: StoreUnderTest) {
    this.target = target;
    this.store = target.store;
  }

  put(key: string, body: Uint8Array): Promise<PutOutcome> {
    return this.store.put(k(key), body, { condition: { kind: "none" } });
  }

  create(key: string, body: Uint8Array, on: ObjectStore = this.store): Promise<PutOutcome> {
    return on.put(k(key), body, { condition: { kind: "if-absent" } });
  }

  replace(key: string, body: Uint8Array, etag: ETag): Promise<PutOutcome> {
    return this.store.put(k(key), body, { condition: { kind: "if-match", etag } });
  }

  async text(key: string): Promise<string | undefined> {
    const object = await this.store.get(k(key));
    return object && new TextDecoder().decode(object.body);
  }

  async keys(prefix: string, options?: ListOptions): Promise<string[]> {
    const found: string[] = [];
    for await (const info of this.store.list(prefix, options)) found.push(info.key);
    return found;
  }
}

export async function etagOf(outcome: Promise<PutOutcome>): Promise<ETag> {
  const settled = await outcome;
  if (settled.kind !== "written") throw new Error("the put lost");
  return settled.etag;
}
