import type { IncomingMessage, ServerResponse } from "node:http";
import { text } from "node:stream/consumers";

import { PlayedServer } from "./played-server.ts";

/** What a stand-in gives out. */
export interface GivenKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly expiresAtMs: number;
}

export const HOUR_MS = 3_600_000;

export function givenKeys(name: string, expiresAtMs = Date.now() + HOUR_MS): GivenKeys {
  return { accessKeyId: `${name}-ID`, secretAccessKey: `${name}-secret`, sessionToken: `${name}-token`, expiresAtMs };
}

/** Answers in the way of one kind of service, and counts. `fails`: the status of every answer instead. */
abstract class CredentialServer {
  readonly server = new PlayedServer();
  keys: GivenKeys;
  fails: number | undefined;
  /** Takes requests and answers none. */
  silent = false;
  /** Times credentials were given out. */
  given = 0;

  constructor(keys: GivenKeys) {
    this.keys = keys;
    this.server.answer = (request, response) => void this.#answer(request, response);
  }

  async start(): Promise<this> {
    await this.server.start();
    return this;
  }

  get url(): string {
    return this.server.endpoint;
  }

  get requests(): readonly IncomingMessage[] {
    return this.server.requests;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.silent) return;
    const body = await text(request);
    const { status, content } =
      this.fails === undefined ? this.answer(request, body) : { status: this.fails, content: this.failure() };
    response.writeHead(status, { "content-length": Buffer.byteLength(content) });
    response.end(content);
  }

  protected failure(): string {
    return `{"Code":"Nope","Message":"${this.keys.secretAccessKey}"}`;
  }

  protected json(): { status: number; content: string } {
    this.given += 1;
    const { accessKeyId, secretAccessKey, sessionToken, expiresAtMs } = this.keys;
    const Expiration = new Date(expiresAtMs).toISOString();
    const content = { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, Token: sessionToken, Expiration };
    return { status: 200, content: JSON.stringify(content) };
  }

  protected abstract answer(request: IncomingMessage, body: string): { status: number; content: string };
}

/** The metadata service of an EC2 instance, version 2 alone. */
export class InstanceMetadata extends CredentialServer {
  role = "some-role";
  #tokens = 0;

  protected answer({ method, url, headers }: IncomingMessage): { status: number; content: string } {
    if (method === "PUT" && url === "/latest/api/token") {
      if (headers["x-aws-ec2-metadata-token-ttl-seconds"] === undefined) return { status: 400, content: "" };
      this.#tokens += 1;
      return { status: 200, content: `session-${this.#tokens}` };
    }
    if (headers["x-aws-ec2-metadata-token"] !== `session-${this.#tokens}`) return { status: 401, content: "" };
    const list = "/latest/meta-data/iam/security-credentials/";
    if (this.role !== "" && url === list) return { status: 200, content: this.role };
    if (this.role !== "" && url === list + this.role) return this.json();
    return { status: 404, content: "" };
  }
}

/** What ECS and EKS Pod Identity put beside a container. */
export class ContainerEndpoint extends CredentialServer {
  token: string | undefined;

  protected answer({ headers }: IncomingMessage): { status: number; content: string } {
    return headers.authorization === this.token ? this.json() : { status: 401, content: "" };
  }
}

/** AWS's Security Token Service. */
export class Sts extends CredentialServer {
  /** In place of `fails`: refused with this code. */
  denies: string | undefined;
  readonly asked: URLSearchParams[] = [];

  protected override failure(): string {
    return errorXml(this.denies ?? "InternalFailure", this.keys.secretAccessKey);
  }

  protected answer(_: IncomingMessage, body: string): { status: number; content: string } {
    const form = new URLSearchParams(body);
    this.asked.push(form);
    if (this.denies !== undefined) return { status: 403, content: this.failure() };
    const action = form.get("Action") ?? "";
    this.given += 1;
    const { accessKeyId, secretAccessKey, sessionToken, expiresAtMs } = this.keys;
    return {
      status: 200,
      content:
        `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result><Credentials>` +
        `<AccessKeyId>${accessKeyId}</AccessKeyId><SecretAccessKey>${secretAccessKey}</SecretAccessKey>` +
        `<SessionToken>${sessionToken}</SessionToken><Expiration>${new Date(expiresAtMs).toISOString()}</Expiration>` +
        `</Credentials></${action}Result><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></${action}Response>`,
    };
  }
}

function errorXml(code: string, message: string): string {
  return (
    `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>${code}</Code>` +
    `<Message>${message}</Message></Error><RequestId>r-1</RequestId></ErrorResponse>`
  );
}
