import { AsyncLocalStorage } from "node:async_hooks";

import { GetObjectCommand, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";

import type { ObjectKey } from "../../domain.ts";
import { AbortedError, ObjectStoreError, isTierlogError } from "../../errors.ts";
import type { Clock } from "../../runtime/clock.ts";
import { startAttempt, untilAborted } from "../attempt.ts";
import { readAnswer } from "../s3-answer.ts";
import { collectBody } from "../s3-body.ts";
import { createS3Client, type S3ClientSettings } from "../s3-client.ts";
import { createHeaderName } from "../s3-create-header.ts";
import { withoutEncryption, type S3Encryption } from "../s3-encryption.ts";
import { OSS_EXISTS, s3Outcome, type S3Operation } from "../s3-outcome.ts";
import { crc32cHeader } from "../s3-payload.ts";
import { answerOf, settleAll, type CreateAnswer, type RaceCreate } from "./race-create.ts";

export interface S3WireSettings extends S3ClientSettings {
  readonly bucket: string;
  /** As that of the store: put before every key, with a slash between. */
  readonly prefix: string;
  /** Every object and part comes with a CRC-32C, as the store's own do that go unsigned: some buckets take no others. Default: false. */
  readonly checksummed?: boolean;
}

/** What a server answered, whatever it was: nothing is an error here. */
export interface WireAnswer<Output> {
  /** undefined: no answer came. */
  readonly status: number | undefined;
  /** S3's error code; "" after a success, and where the answer has none. Without an answer the network's, as in ECONNRESET. */
  readonly code: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** After a success. */
  readonly output: Output | undefined;
  /** Otherwise: the same in our words, without secrets. */
  readonly error: ObjectStoreError | undefined;
  /** Wall clock of this machine in the middle of the exchange. */
  readonly atMs: number;
}

/** In a few words, as in "HTTP 412 PreconditionFailed". */
export function answered({ error, status, code }: WireAnswer<unknown>): string {
  if (error === undefined) return "accepted";
  return status === undefined ? `no answer (${code})` : `HTTP ${status} ${code}`.trim();
}

/** Any command of the SDK; the caller names the type of its output. */
interface Command {
  readonly input: object;
}

interface SendOptions {
  /** In place of what the SDK would send; signed. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly barrier?: Barrier;
  /** Without the headers of encryption at rest. */
  readonly plain?: boolean;
}

interface Extras {
  readonly headers: Readonly<Record<string, string>>;
  readonly barrier: Barrier | undefined;
  readonly plain: boolean;
  answered: { readonly status: number; readonly headers: Readonly<Record<string, string>> } | undefined;
}

/** Single S3 requests and their raw answers, below what the object store makes of them. */
export class S3Wire {
  readonly bucket: string;
  readonly #settings: S3WireSettings;
  readonly #clock: Clock;
  readonly #client: S3Client;
  readonly #signal: AbortSignal | undefined;
  /** Per request: with `cacheMiddleware` the SDK keeps one stack of middleware per kind of command. */
  readonly #extras = new AsyncLocalStorage<Extras>();
  #requests = 0;

  constructor(settings: S3WireSettings, clock: Clock, signal?: AbortSignal) {
    this.bucket = settings.bucket;
    this.#settings = settings;
    this.#clock = clock;
    this.#signal = signal;
    this.#client = createS3Client(settings);
    this.#addMiddleware();
  }

  /** What every request asks for that makes an object. */
  get encryption(): S3Encryption | undefined {
    return this.#settings.encryption;
  }

  /** By which `race` asks to create, for messages. */
  get createHeader(): string {
    return createHeaderName(this.#settings.createIfAbsent ?? "if-none-match");
  }

  /** Does every object, and so every part, come with a checksum? */
  get checksummed(): boolean {
    return this.#settings.checksummed === true;
  }

  /** Requests sent so far. */
  get requests(): number {
    return this.#requests;
  }

  /** Name and place of an object, as commands take them. */
  object(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.bucket, Key: this.fullKey(key) };
  }

  fullKey(key: string): string {
    const { prefix } = this.#settings;
    return prefix === "" ? key : `${prefix}/${key}`;
  }

  /** `key` is for messages. Rejects only with `AbortedError`, when the signal of this wire fired. */
  async send<Output>(
    operation: S3Operation,
    key: string,
    command: Command,
    { headers = {}, barrier, plain = false }: SendOptions = {},
  ): Promise<WireAnswer<Output>> {
    if (isAborted(this.#signal)) throw new AbortedError(operation, { cause: this.#signal?.reason });
    const extras: Extras = { headers, barrier, plain, answered: undefined };
    const { requestTimeoutMs } = this.#settings;
    const attempt = startAttempt(this.#clock, requestTimeoutMs, this.#signal);
    // Who gives up must not hold the others.
    const giveUp = (): void => barrier?.arrive(extras);
    attempt.signal.addEventListener("abort", giveUp, { once: true });
    const startedMs = this.#clock.now();
    const middleMs = (): number => (startedMs + this.#clock.now()) / 2;
    this.#requests += 1;
    try {
      const sent = this.#extras.run(extras, () =>
        this.#client.send(command as GetObjectCommand, { abortSignal: attempt.signal }),
      );
      // The SDK looks at the signal only once it holds credentials, and fetching those may hang.
      const output = await untilAborted(sent, attempt.signal);
      const atMs = middleMs();
      const body: unknown = output.Body;
      const read = body === undefined ? undefined : await collectBody(body, output.ContentLength, attempt.signal);
      return {
        status: extras.answered?.status,
        headers: extras.answered?.headers ?? {},
        code: "",
        output: { ...output, Body: read } as Output,
        error: undefined,
        atMs,
      };
    } catch (error) {
      const atMs = middleMs();
      const timedOut = attempt.timedOut();
      attempt.cancel();
      if (isAborted(this.#signal) && extras.answered === undefined) {
        throw new AbortedError(`${operation} ${key}`, { cause: this.#signal?.reason });
      }
      if (isTierlogError(error)) throw error;
      const outcome = s3Outcome(
        error,
        { operation, key, bucket: this.bucket, encryption: this.encryption?.kind },
        timedOut ? { timeoutMs: requestTimeoutMs } : undefined,
      );
      const status = extras.answered?.status;
      const known = readAnswer(error);
      const code = known.code ?? (status === undefined ? known.network : "");
      const details = { operation, key, status, retryable: false };
      return {
        status,
        headers: extras.answered?.headers ?? {},
        code,
        output: undefined,
        error:
          outcome.kind === "error"
            ? outcome.error
            : new ObjectStoreError(`${operation} ${key}: HTTP ${String(status)} ${code}`.trimEnd(), details),
        atMs,
      };
    } finally {
      attempt.end();
      giveUp();
    }
  }

  /**
   * Each writer on a connection of its own; the requests are signed first and then let go in one turn of the event loop, or the
   * time it takes to sign them would keep them apart.
   */
  readonly race: RaceCreate = (key, bodies) => {
    const barrier = new Barrier(bodies.length);
    return settleAll(
      bodies.map(async (body): Promise<CreateAnswer> => {
        const input = { ...this.object(key), Body: body, ContentLength: body.length, IfNoneMatch: "*" };
        const answer = await this.send("put", key, new PutObjectCommand(input), { barrier });
        if (answer.error === undefined) return { kind: "written" };
        return answer.status === 412 || answer.code === OSS_EXISTS ? { kind: "refused" } : answerOf(answer.error);
      }),
    );
  };

  /** The bytes stored, undefined when there is no such object. Rejects with `ObjectStoreError`. */
  async read(key: ObjectKey): Promise<Uint8Array | undefined> {
    const command = new GetObjectCommand(this.object(key));
    const { error, output, code } = await this.send<{ Body?: Uint8Array }>("get", key, command);
    if (error === undefined) return output?.Body ?? new Uint8Array(0);
    if (code === "NoSuchKey") return undefined;
    throw error;
  }

  /** To be called once nothing is on its way any more. */
  close(): void {
    // Once used it stays in Node's list of hooks, and every promise of the process pays for each that is in there.
    this.#extras.disable();
    this.#client.destroy();
  }

  #addMiddleware(): void {
    this.#client.middlewareStack.add(
      (next, context) => async (args) => {
        const extras = this.#extras.getStore();
        if (extras !== undefined && hasHeaders(args.request)) {
          if (extras.plain) withoutEncryption(args.request.headers);
          Object.assign(args.request.headers, extras.headers);
          if (this.checksummed && context["commandName"] === "PutObjectCommand") await addChecksum(args.request);
        }
        return next(args);
      },
      { step: "build", priority: "low", name: "probeHeaders" },
    );
    this.#client.middlewareStack.add(
      (next) => async (args) => {
        const extras = this.#extras.getStore();
        await extras?.barrier?.wait(extras);
        const result = await next(args);
        const { response } = result;
        if (extras !== undefined && hasHeaders(response) && "statusCode" in response) {
          extras.answered = { status: Number(response.statusCode), headers: lowerCase(response.headers) };
        }
        return result;
      },
      // The last one before the socket: behind the signature.
      { step: "deserialize", priority: "low", name: "probeBarrier" },
    );
  }
}

/** Holds everybody until all have come. Who gives up before counts as come. */
class Barrier {
  readonly #arrived = new Set<object>();
  readonly #size: number;
  #open: () => void = () => undefined;
  readonly #opened = new Promise<void>((resolve) => {
    this.#open = resolve;
  });

  constructor(size: number) {
    this.#size = size;
  }

  arrive(who: object): void {
    this.#arrived.add(who);
    if (this.#arrived.size >= this.#size) this.#open();
  }

  wait(who: object): Promise<void> {
    this.arrive(who);
    return this.#opened;
  }
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

/** Of what the body has none yet: two would be refused, and a wrong one is there on purpose. */
async function addChecksum({ headers, body }: { headers: Record<string, string>; body?: unknown }): Promise<void> {
  if (Object.keys(headers).some((name) => name === "content-md5" || name.startsWith("x-amz-checksum-"))) return;
  if (typeof body !== "string" && !(body instanceof Uint8Array)) return;
  headers["x-amz-checksum-crc32c"] = await crc32cHeader(typeof body === "string" ? Buffer.from(body) : body);
}

function hasHeaders(of: unknown): of is { readonly headers: Record<string, string>; readonly body?: unknown } {
  return typeof of === "object" && of !== null && "headers" in of;
}

function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}
