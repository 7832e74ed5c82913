import { HttpServer, type HttpServerOptions } from "./http-server.ts";
import { createS3Backend, type S3Backend, type S3BackendOptions } from "./s3/backend.ts";
import type { S3Credential } from "./s3/credentials.ts";

export interface S3EndpointOptions extends S3BackendOptions, Pick<HttpServerOptions, "faults"> {}

/** An S3 server inside the process, on a free loopback port, path style; with faults, if a script is given. */
export class S3Endpoint extends HttpServer {
  readonly #backend: S3Backend;
  #url = "";

  /** Throws `InvalidArgumentError` for options that cannot be used. */
  static async start(options: S3EndpointOptions = {}): Promise<S3Endpoint> {
    const endpoint = new S3Endpoint(createS3Backend(options), options);
    endpoint.#url = await endpoint.start();
    return endpoint;
  }

  private constructor(backend: S3Backend, { faults, clock, maxBodyBytes }: S3EndpointOptions) {
    super(backend.answer, {
      ...(faults === undefined ? {} : { faults }),
      ...(clock === undefined ? {} : { clock }),
      ...(maxBodyBytes === undefined ? {} : { maxBodyBytes }),
    });
    this.#backend = backend;
  }

  /** As in "http://127.0.0.1:40123". */
  get url(): string {
    return this.#url;
  }

  get region(): string {
    return this.#backend.region;
  }

  /** The first of those that clients may sign with. */
  get credentials(): S3Credential {
    return this.#backend.credentials[0] as S3Credential;
  }

  /** From now on only these count: how a test rotates, expires or restricts them. */
  setCredentials(credentials: readonly S3Credential[]): void {
    this.#backend.setCredentials(credentials);
  }

  /** Bytes of all objects and parts, each with 512 more. */
  get storedBytes(): number {
    return this.#backend.storedBytes;
  }

  /** Uploads neither completed nor aborted, over all buckets. */
  get openUploads(): number {
    return this.#backend.openUploads;
  }

  /** As `close`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
