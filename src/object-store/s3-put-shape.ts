import { PutObjectCommand, UploadPartCommand, type S3Client } from "@aws-sdk/client-s3";

import { InvariantError } from "../errors.ts";
import { createS3Client, type S3ClientSettings } from "./s3-client.ts";
import type { S3Credentials } from "./s3-credentials.ts";
import { RequestSigner, canonicalQuery } from "./s3-signature.ts";

/** A request as the SDK makes it and its HTTP handler takes it. */
export interface HttpMessage {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly method: string;
  /** Escaped. */
  readonly path: string;
  /** Not escaped. */
  readonly query: Readonly<Record<string, string>>;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

/** All that does not change from one PUT of a kind to the next: of parts all but number and upload. */
export interface PutShape {
  /** Its path stops where the key begins. The headers are those before the signature, with the example's own values. */
  readonly request: HttpMessage;
  /** What the signature covers, in ascending order, where there is a session token. */
  readonly signedNames: readonly string[];
  readonly signedNamesWithoutToken: readonly string[];
  readonly signer: RequestSigner;
}

/** Of no request that is ever sent. */
const NOBODY = { accessKeyId: "nobody", secretAccessKey: "secret", sessionToken: "token" } satisfies S3Credentials;

const EXAMPLE_KEY = "k";
const EXAMPLE_PART = { PartNumber: 1, UploadId: "u" };

/** Of an object, or of a part of one. */
export type PutKind = "object" | "part";

/** What the SDK takes besides place and body. */
export interface PutHeaders {
  readonly ChecksumCRC32C?: string;
  /** Not with parts. */
  readonly IfNoneMatch?: string;
  readonly IfMatch?: string;
}

/** About attempts and retries of the SDK, of which there are none. */
const ABOUT_RETRIES: ReadonlySet<string> = new Set(["amz-sdk-invocation-id", "amz-sdk-request"]);

const TOKEN = "x-amz-security-token";

/** What signing adds. */
const ADDED: ReadonlySet<string> = new Set([
  ...ABOUT_RETRIES,
  "authorization",
  "x-amz-content-sha256",
  "x-amz-date",
  TOKEN,
]);

const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=nobody\/\d{8}\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=[0-9a-f]{64}$/;

/**
 * The SDK without a network: it shows what it would send, and what it makes of an answer. So endpoint, region, path style, headers and
 * errors are the SDK's own, whatever its settings, those of the environment too.
 */
export class PutRehearsal {
  readonly #client: S3Client;
  readonly #bucket: string;

  constructor(settings: S3ClientSettings & { readonly bucket: string }) {
    this.#bucket = settings.bucket;
    this.#client = createS3Client({ ...settings, credentials: NOBODY }, NO_NETWORK);
  }

  /**
   * How the SDK would put an object with these `headers`. undefined where our signature of that request is not the SDK's own: buckets
   * with sessions (S3 Express) or with keys of another kind (access points in many regions), or a newer SDK that sends what we do not know.
   */
  async shape(kind: PutKind, headers: PutHeaders): Promise<PutShape | undefined> {
    const seen: { built?: HttpMessage; signed?: HttpMessage } = {};
    const command = this.#command(kind, Buffer.alloc(1), headers);
    command.middlewareStack.add(
      (next) => (args) => {
        seen.built = copied(args.request);
        return next(args);
      },
      { step: "build", priority: "low", name: "rehearseBuilt" },
    );
    command.middlewareStack.add(
      () => (args) => {
        seen.signed = copied(args.request);
        return Promise.resolve({ response: undefined, output: { $metadata: {} } });
      },
      { step: "deserialize", priority: "high", name: "rehearseSigned" },
    );
    try {
      await this.#client.send(command, {});
    } catch {
      // Whatever it was, the SDK says it again when it is asked in earnest.
      return undefined;
    }
    return seen.built === undefined || seen.signed === undefined ? undefined : shapeOf(seen.built, seen.signed);
  }

  /** What the SDK makes of the answer to a PUT, its body not yet read. Rejects with the SDK's error. */
  async read(kind: PutKind, response: object): Promise<{ readonly ETag?: string | undefined }> {
    const command = this.#command(kind, Buffer.alloc(0), {});
    command.middlewareStack.add(() => () => Promise.resolve({ response }), {
      step: "deserialize",
      // Behind all that looks at answers.
      priority: "low",
      name: "rehearseAnswer",
    });
    return this.#client.send(command, {});
  }

  #command(kind: PutKind, body: Uint8Array, headers: PutHeaders): PutObjectCommand {
    const input = { Bucket: this.#bucket, Key: EXAMPLE_KEY, Body: body, ContentLength: body.length, ...headers };
    if (kind === "object") return new PutObjectCommand(input);
    // To its users here the one is like the other, but the types of their middleware differ.
    return new UploadPartCommand({ ...input, ...EXAMPLE_PART }) as unknown as PutObjectCommand;
  }

  destroy(): void {
    this.#client.destroy();
  }
}

const NO_NETWORK = {
  handle: (): Promise<never> => Promise.reject(new InvariantError("a rehearsal would send a request")),
};

function shapeOf(built: HttpMessage, signed: HttpMessage): PutShape | undefined {
  const authorization = signed.headers["authorization"] ?? "";
  const [, region, service, names] = AUTHORIZATION.exec(authorization) ?? [];
  if (region === undefined || service === undefined || names === undefined) return undefined;
  if (!built.path.endsWith(`/${EXAMPLE_KEY}`) || !isSameButSigned(built, signed)) return undefined;
  const signer = new RequestSigner({ region, service });
  const proof = { ...signed, canonicalQuery: canonicalQuery(signed.query), signedNames: names.split(";") };
  if (signer.authorization(proof, NOBODY) !== authorization) return undefined;
  const signedNames = proof.signedNames.filter((name) => !ABOUT_RETRIES.has(name));
  return {
    request: {
      ...built,
      path: built.path.slice(0, -EXAMPLE_KEY.length),
      // With room for what each request fills in: an object that grows by a name is slower to copy.
      headers: { ...built.headers, "x-amz-date": "", "x-amz-content-sha256": "", authorization: "" },
    },
    signedNames,
    signedNamesWithoutToken: signedNames.filter((name) => name !== TOKEN),
    signer,
  };
}

function isSameButSigned(built: HttpMessage, signed: HttpMessage): boolean {
  const { headers, ...rest } = signed;
  const { headers: before, ...restBefore } = built;
  const names = new Set([...Object.keys(headers), ...Object.keys(before)]);
  return (
    JSON.stringify(rest) === JSON.stringify(restBefore) &&
    [...names].every((name) => headers[name] === before[name] || (ADDED.has(name) && before[name] === undefined))
  );
}

/** Without body, and whatever else a request of the SDK has; its own goes on being changed. */
function copied(request: unknown): HttpMessage {
  const { protocol, hostname, port, method, path, query, headers } = request as HttpMessage;
  const where = port === undefined ? { protocol, hostname } : { protocol, hostname, port };
  return { ...where, method, path, query: { ...query }, headers: { ...headers } };
}
