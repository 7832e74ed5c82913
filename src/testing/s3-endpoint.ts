import { HttpServer } from "./http-server.ts";
import { createS3Backend, type S3Backend, type S3BackendOptions } from "./s3/backend.ts";
import type { S3Credential } from "./s3/credentials.ts";

/** An S3 server inside the process, on a free loopback port; path style. */
export class S3Endpoint {
  /** As in "http://127.0.0.1:40123". */
  readonly url: string;
  readonly region: string;
  readonly #server: HttpServer;
  readonly #backend: S3Backend;

  private constructor(server: HttpServer, backend: S3Backend, url: string) {
    this.#server = server;
    this.#backend = backend;
    this.url = url;
    this.region = backend.region;
  }

  static async start(options: S3BackendOptions = {}): Promise<S3Endpoint> {
    const backend = createS3Backend(options);
    const server = new HttpServer(backend.answer);
    return new S3Endpoint(server, backend, await server.start());
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

  /** Cuts every connection; the objects are gone. Safe to repeat. */
  async close(): Promise<void> {
    await this.#server.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
