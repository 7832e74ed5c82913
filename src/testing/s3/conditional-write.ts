import { sleep, type Clock } from "../../runtime/clock.ts";
import type { S3Bucket, S3Object } from "./bucket.ts";
import type { S3Trait } from "./character.ts";
import { matchesOnWrite } from "./etag.ts";
import { S3Refusal } from "./refusal.ts";

type Headers = Readonly<Record<string, string>>;
type ConditionalOperation = "put" | "complete" | "copy" | "delete";

const GENERATION = "x-goog-if-generation-match";
const FORBID_OVERWRITE = "x-oss-forbid-overwrite";

/** Throws the refusal if what it asks does not hold of the object that is there. */
type Condition = (current: S3Object | undefined) => void;

/** Conditional writes of one key under way at once: a loser among several may get another answer than one alone. */
interface Race {
  writers: number;
  contended: boolean;
  losers: number;
}

interface ConditionalWriteOptions {
  readonly traits: ReadonlySet<S3Trait>;
  readonly clock: Clock;
  /** Between condition and write, where the character has a window there. */
  readonly raceWindowMs: number;
}

/** Writes under their conditions, as well or badly as the server's character does it. */
export class ConditionalWrites {
  readonly #options: ConditionalWriteOptions;
  readonly #races = new Map<string, Race>();

  constructor(options: ConditionalWriteOptions) {
    this.#options = options;
  }

  /**
   * Runs `write` if the conditions in `headers` hold. Condition and write are one step, unless the character has a window
   * between them; so `write` must look itself at whatever else it depends on.
   */
  async run<T>(
    operation: ConditionalOperation,
    bucket: S3Bucket,
    key: string,
    headers: Headers,
    write: () => T,
  ): Promise<T> {
    const { traits } = this.#options;
    const condition = this.#readCondition(operation, headers);
    if (condition === undefined) return write();
    condition(bucket.current(key));
    if (traits.has("races-conditions")) {
      await this.#window();
      return write();
    }
    if (traits.has("fails-race-losers") && operation === "put" && headers["if-match"] !== undefined) {
      return this.#race(`${bucket.name}/${key}`, () => {
        condition(bucket.current(key));
        return write();
      });
    }
    return write();
  }

  #window(): Promise<void> {
    return sleep(this.#options.clock, this.#options.raceWindowMs);
  }

  async #race<T>(place: string, write: () => T): Promise<T> {
    const race = this.#races.get(place) ?? { writers: 0, contended: false, losers: 0 };
    this.#races.set(place, race);
    race.writers += 1;
    if (race.writers > 1) race.contended = true;
    try {
      await this.#window();
      return write();
    } catch (error) {
      if (!(error instanceof S3Refusal) || error.code !== "PreconditionFailed" || !race.contended) throw error;
      race.losers += 1;
      throw race.losers % 2 === 0 ? error : new S3Refusal("UnknownError");
    } finally {
      race.writers -= 1;
      if (race.writers === 0) this.#races.delete(place);
    }
  }

  /** undefined: the write is unconditional, or this server takes it for that. */
  #readCondition(operation: ConditionalOperation, headers: Headers): Condition | undefined {
    const { traits } = this.#options;
    if (traits.has("wants-generation-match")) return generationCondition(operation, headers);
    if (traits.has("wants-forbid-overwrite")) return forbidCondition(operation, headers);
    const ifNoneMatch = headers["if-none-match"];
    const ifMatch = headers["if-match"];
    if (ifNoneMatch === undefined && ifMatch === undefined) return undefined;
    if (traits.has("ignores-conditions")) return undefined;
    if (traits.has("ignores-complete-conditions") && operation !== "put") return undefined;
    if (traits.has("refuses-conditions"))
      throw notImplemented(ifNoneMatch === undefined ? "If-Match" : "If-None-Match");
    if (ifNoneMatch !== undefined && ifNoneMatch !== "*") throw notImplemented("If-None-Match");
    return (current) => {
      if (ifNoneMatch !== undefined && current !== undefined) throw failed("If-None-Match");
      if (ifMatch !== undefined) this.#mustMatch(operation, ifMatch, current);
    };
  }

  #mustMatch(operation: ConditionalOperation, ifMatch: string, current: S3Object | undefined): void {
    const { traits } = this.#options;
    if (current === undefined) {
      const missing = operation !== "delete" && ifMatch !== "*" && !traits.has("misses-with-412");
      throw missing ? new S3Refusal("NoSuchKey") : failed("If-Match");
    }
    if (ifMatch !== "*" && !matchesOnWrite(ifMatch, current.etag, traits)) throw failed("If-Match");
  }
}

/** Google: "Request preconditions" and "XML multipart uploads" of the Cloud Storage documentation. */
function generationCondition(operation: ConditionalOperation, headers: Headers): Condition | undefined {
  const wanted = headers[GENERATION];
  if (wanted === undefined) return undefined;
  if (operation === "complete") throw notImplemented(GENERATION);
  if (!/^\d{1,15}$/.test(wanted)) throw new S3Refusal("InvalidArgument", { message: `${GENERATION} must be a number` });
  return (current) => {
    if ((current?.generation ?? 0) !== Number(wanted)) throw failed(GENERATION);
  };
}

/** Alibaba: PutObject, CopyObject and CompleteMultipartUpload of the OSS API reference. */
function forbidCondition(operation: ConditionalOperation, headers: Headers): Condition | undefined {
  if (headers[FORBID_OVERWRITE] !== "true" || operation === "delete") return undefined;
  return (current) => {
    if (current !== undefined) throw new S3Refusal("FileAlreadyExists");
  };
}

function failed(condition: string): S3Refusal {
  return new S3Refusal("PreconditionFailed", { elements: { Condition: condition } });
}

function notImplemented(header: string): S3Refusal {
  return new S3Refusal("NotImplemented", {
    message: "A header you provided implies functionality that is not implemented",
    elements: { Header: header },
  });
}
