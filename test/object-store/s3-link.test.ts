import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls, { createServer, type TlsOptions } from "node:tls";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";

import { defaultConfig } from "../../src/config/resolve-config.ts";
import type { ObjectKey } from "../../src/domain.ts";
import { s3Settings } from "../../src/engine/s3-settings.ts";
import { isTierlogError, type TierlogError } from "../../src/errors.ts";
import { askMetadata } from "../../src/object-store/credentials/metadata-request.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import type { Environment } from "../../src/runtime/environment.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { S3Endpoint } from "../../src/testing/s3-endpoint.ts";
import { makeCertificate, type Certificate } from "../support/certificates.ts";
import { ConnectProxy } from "../support/connect-proxy.ts";

const BUCKET = "logs";
const KEY = "index/a" as ObjectKey;
const BODY = Buffer.from("x");
/** Of data objects: those have sockets of their own. */
const data = (n: number): ObjectKey => `data/ab/0000-0000000001-000000000${n}-ab01234567890123.log` as ObjectKey;
const ANYWAY = { condition: { kind: "none" } } as const;
const CANARY = "CANARYpassword";
const TIMEOUT_MS = 600;

let directory: string;
let authority: Certificate;
let stranger: Certificate;
let serverCertificate: Certificate;
let files: Record<"ca" | "otherCa" | "cert" | "key" | "otherKey" | "junk", string>;
let endpoint: S3Endpoint;
let stores: ObjectStore[];
let servers: { readonly close: () => Promise<void> }[];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tierlog-link-"));
  authority = makeCertificate("an authority", { authority: true });
  stranger = makeCertificate("another authority", { authority: true });
  serverCertificate = makeCertificate("store", { issuer: authority, address: "127.0.0.1", names: ["store.test"] });
  const client = makeCertificate("client", { issuer: authority });
  const write = async (name: string, text: string): Promise<string> => {
    await writeFile(join(directory, name), text);
    return join(directory, name);
  };
  files = {
    ca: await write("ca.pem", authority.cert),
    otherCa: await write("other-ca.pem", stranger.cert),
    cert: await write("client.pem", client.cert),
    key: await write("client.key", client.key),
    otherKey: await write("other.key", stranger.key),
    junk: await write("junk.pem", CANARY),
  };
});
afterAll(() => rm(directory, { recursive: true }));

beforeEach(async () => {
  endpoint = await S3Endpoint.start({ buckets: [BUCKET] });
  stores = [];
  servers = [];
});
afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()));
  await Promise.all(servers.map((server) => server.close()));
  await endpoint.close();
});

/** TLS in front of the endpoint. */
async function serveTls(options: TlsOptions = {}): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer({ cert: serverCertificate.cert, key: serverCertificate.key, ...options }, (socket) => {
    const onward = connect(Number(new URL(endpoint.url).port), "127.0.0.1");
    onward.on("error", () => socket.destroy());
    socket.on("error", () => onward.destroy());
    socket.pipe(onward).pipe(socket);
  });
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  });
  server.on("tlsClientError", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  servers.push({
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Setup {
  readonly endpoint: string;
  readonly allowHttp?: boolean;
  readonly tlsCaFile?: string;
  readonly tlsCertFile?: string;
  readonly tlsKeyFile?: string;
  readonly environment?: Environment;
  readonly maxSockets?: number;
  readonly requestTimeoutMs?: number;
}

async function open({ environment = {}, maxSockets, ...object }: Setup): Promise<ObjectStore> {
  const { accessKeyId, secretAccessKey } = endpoint.credentials;
  const credentials = { accessKeyId, secretAccessKey };
  const config = defaultConfig({
    storage: { kind: "object", object: { bucket: BUCKET, credentials, requestTimeoutMs: 10_000, ...object } },
  });
  const settings = await s3Settings(config, { ...systemRuntime, environment });
  const store = createS3Store(
    { ...settings, ifMatchEtag: "quoted", ...(maxSockets === undefined ? {} : { maxSockets }) },
    systemRuntime,
  );
  stores.push(store);
  return store;
}

async function failure(work: Promise<unknown>): Promise<TierlogError> {
  const error = await work.then(
    () => new Error("it was done"),
    (reason: unknown) => reason,
  );
  if (!isTierlogError(error)) throw error;
  return error;
}

describe("TLS", () => {
  test("a private authority, by tls_ca_file", async () => {
    const store = await open({ endpoint: await serveTls(), tlsCaFile: files.ca });
    expect(await store.put(KEY, BODY, ANYWAY)).toMatchObject({ kind: "written" });
  });

  test.each(["none", "another"])("%s authority: an error for good that names the key", async (which) => {
    const url = await serveTls();
    const store = await open(which === "none" ? { endpoint: url } : { endpoint: url, tlsCaFile: files.otherCa });
    const error = await failure(store.put(KEY, BODY, ANYWAY));
    expect(error).toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: false, effect: "none" });
    expect(error.message).toContain("system.storage.object.tls_ca_file");
  });

  test("a server of TLS 1.1 is refused, also where Node was told to allow it", async () => {
    const url = await serveTls({ minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" });
    const { DEFAULT_MIN_VERSION, DEFAULT_CIPHERS } = tls;
    Object.assign(tls, { DEFAULT_MIN_VERSION: "TLSv1", DEFAULT_CIPHERS: "DEFAULT@SECLEVEL=0" });
    try {
      const store = await open({ endpoint: url, tlsCaFile: files.ca });
      const error = await failure(store.put(KEY, BODY, ANYWAY));
      expect(error).toMatchObject({ retryable: false, effect: "none" });
      expect(error.message).toContain("no TLS of version 1.2 or newer");
    } finally {
      Object.assign(tls, { DEFAULT_MIN_VERSION, DEFAULT_CIPHERS });
    }
  });

  describe("where NODE_TLS_REJECT_UNAUTHORIZED would trust everybody", () => {
    beforeEach(() => void vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0"));
    afterEach(() => void vi.unstubAllEnvs());

    test("a store signed by nobody known is refused, straight and through a tunnel", async () => {
      const url = await serveTls();
      await using proxy = await new ConnectProxy(url).start();
      const tunnel = { endpoint: "https://store.test", environment: { HTTPS_PROXY: proxy.url } };
      for (const setup of [{ endpoint: url }, tunnel]) {
        const error = await failure((await open(setup)).put(KEY, BODY, ANYWAY));
        expect(error).toMatchObject({ retryable: false, effect: "none" });
        expect(error.message).toContain("tls_ca_file");
      }
      expect(endpoint.requests.count("PutObject")).toBe(0);
    });

    test("a proxy of kind https hears no password", async () => {
      const url = await serveTls();
      const environment = { HTTPS_PROXY: url.replace("//", `//me:${CANARY}@`) };
      const store = await open({ endpoint: "https://store.test", tlsCaFile: files.ca, environment });
      const error = await failure(store.put(KEY, BODY, ANYWAY));
      expect(error).toMatchObject({ retryable: false, effect: "none" });
      expect(error.message).toContain("NODE_EXTRA_CA_CERTS");
      expect(error.message).not.toContain("tls_ca_file");
    });

    test("an endpoint of the platform hears no token", async () => {
      const url = new URL(await serveTls());
      const asking = askMetadata(url, { clock: systemRuntime.clock, timeoutMs: 5_000 });
      await expect(asking).rejects.toMatchObject({ code: expect.stringMatching(/SIGNED|UNABLE_TO/) as string });
    });
  });

  test.each(["TLSv1.2", "TLSv1.3"] as const)("a server that asks for the client's certificate, %s", async (version) => {
    const url = await serveTls({
      requestCert: true,
      rejectUnauthorized: true,
      ca: authority.cert,
      minVersion: version,
      maxVersion: version,
    });
    const link = { endpoint: url, tlsCaFile: files.ca };
    const shown = await open({ ...link, tlsCertFile: files.cert, tlsKeyFile: files.key });
    expect(await shown.put(KEY, BODY, ANYWAY)).toMatchObject({ kind: "written" });
    const error = await failure((await open(link)).put(KEY, BODY, ANYWAY));
    expect(error).toMatchObject({ retryable: false, effect: "none" });
    expect(error.message).toContain("system.storage.object.tls_cert_file");
  });

  test("files that cannot be used: every key is named, nothing of them is shown", async () => {
    const url = "https://127.0.0.1:1";
    const missing = join(directory, "none.pem");
    const junk = await failure(
      open({ endpoint: url, tlsCaFile: files.junk, tlsCertFile: missing, tlsKeyFile: files.junk }),
    );
    expect(junk).toMatchObject({ code: "TIERLOG_CONFIG", exitCode: 78 });
    expect(junk.data()).toMatchObject({
      issues: [
        { path: "system.storage.object.tls_ca_file", problem: expect.stringContaining("not a PEM file") },
        { path: "system.storage.object.tls_cert_file", problem: `"${missing}" does not exist` },
        { path: "system.storage.object.tls_key_file", problem: expect.stringContaining("not a PEM file") },
      ],
    });
    expect(junk.message).not.toContain(CANARY);
    const pair = await failure(open({ endpoint: url, tlsCertFile: files.cert, tlsKeyFile: files.otherKey }));
    expect(pair.message).toContain("tls_key_file: is not the key of the certificate in tls_cert_file");
    const half = await failure((async () => open({ endpoint: url, tlsCertFile: files.cert }))());
    expect(half.message).toContain("tls_key_file: is missing; tls_cert_file is set");
  });
});

describe("a tunnel through a proxy", () => {
  /** A name that only the proxy can reach. */
  const STORE = "https://store.test";
  let proxy: ConnectProxy;

  async function start(more: Partial<Setup> = {}): Promise<ObjectStore> {
    proxy = await new ConnectProxy(await serveTls()).start();
    servers.push({ close: () => proxy[Symbol.asyncDispose]() });
    const HTTPS_PROXY = proxy.url.replace("//", `//me:${CANARY}%21@`);
    return open({ endpoint: STORE, tlsCaFile: files.ca, environment: { HTTPS_PROXY }, ...more });
  }

  test("TLS goes from here to the store, over connections that are kept", async () => {
    const store = await start();
    for (let i = 0; i < 5; i++) await store.put(KEY, BODY, ANYWAY);
    expect((await store.get(KEY))?.body).toHaveLength(1);
    expect(proxy.asked).toEqual(["store.test:443"]);
    expect(proxy.logins).toEqual([`Basic ${Buffer.from(`me:${CANARY}!`).toString("base64")}`]);
  });

  test("no more of them than sockets are allowed", async () => {
    const store = await start({ maxSockets: 3 });
    await Promise.all(Array.from({ length: 24 }, (_, n) => store.put(data(n % 8), Buffer.alloc(100_000), ANYWAY)));
    expect(proxy.tunnelsMax).toBe(3);
    expect(proxy.asked).toHaveLength(3);
  });

  test.each([
    [407, false, "the proxy wants other credentials"],
    [403, false, "the proxy does not let anybody reach the store"],
    [502, true, "the proxy cannot reach the store"],
  ])("%i: nothing was sent, and the password is not told", async (status, retryable, says) => {
    const store = await start();
    proxy.refuses = status;
    const error = await failure(store.put(KEY, BODY, ANYWAY));
    expect(error).toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable, effect: "none" });
    expect(error.message).toContain(says);
    expect(error.message + JSON.stringify(error)).not.toContain(CANARY);
    proxy.refuses = undefined;
    expect(await store.put(KEY, BODY, ANYWAY)).toMatchObject({ kind: "written" });
    expect(endpoint.requests.count("PutObject")).toBe(1);
  });

  test("a proxy that says nothing: the deadline holds, its sockets are closed, and their places are free again", async () => {
    const store = await start({ requestTimeoutMs: TIMEOUT_MS, maxSockets: 2 });
    proxy.silent = true;
    const puts = await Promise.all([1, 2, 3, 4].map((n) => failure(store.put(data(n), BODY, ANYWAY))));
    expect(puts.map(({ kind }) => kind)).toEqual(Array(4).fill("unavailable"));
    expect(await proxy.openSockets()).toBe(0);
    proxy.silent = false;
    const later = await Promise.all([1, 2, 3, 4].map((n) => store.put(data(n), BODY, ANYWAY)));
    expect(later.map(({ kind }) => kind)).toEqual(Array(4).fill("written"));
  });

  test("those who wait for a socket are told too", async () => {
    const store = await start({ maxSockets: 1 });
    proxy.refuses = 502;
    const errors = await Promise.all([1, 2, 3].map((n) => failure(store.put(data(n), BODY, ANYWAY))));
    for (const { message } of errors) expect(message).toContain("the proxy cannot reach the store");
  });

  test("a proxy that is not there: cannot connect, tried again", async () => {
    const store = await open({ endpoint: STORE, environment: { https_proxy: "http://127.0.0.1:1" } });
    const error = await failure(store.put(KEY, BODY, ANYWAY));
    expect(error).toMatchObject({ retryable: true, effect: "none" });
    expect(error.message).toContain("ECONNREFUSED");
  });

  test("NO_PROXY, and this machine: straight", async () => {
    const url = await serveTls();
    const environment = { HTTPS_PROXY: "http://127.0.0.1:1", NO_PROXY: "" };
    const store = await open({ endpoint: url, tlsCaFile: files.ca, environment });
    expect(await store.put(KEY, BODY, ANYWAY)).toMatchObject({ kind: "written" });
  });

  test("a certificate that is signed by nobody known is no more trusted than without a proxy", async () => {
    const store = await start({ tlsCaFile: files.otherCa });
    expect(await failure(store.put(KEY, BODY, ANYWAY))).toMatchObject({
      retryable: false,
      effect: "none",
      message: expect.stringContaining("tls_ca_file"),
    });
  });
});

describe("plain HTTP beyond this machine", () => {
  const URL_OF_STORE = "http://store.test";

  test("only where it is allowed", async () => {
    const error = await failure((async () => open({ endpoint: URL_OF_STORE }))());
    expect(error).toMatchObject({ code: "TIERLOG_CONFIG", exitCode: 78 });
    expect(error.message).toContain('system.storage.object.endpoint: "http://store.test" is plain HTTP');
    expect(error.message).toContain("allow_http = true");
  });

  test("through a proxy, which gets the whole URL", async () => {
    await using proxy = await new ConnectProxy(endpoint.url).start();
    const environment = { HTTP_PROXY: proxy.url, HTTPS_PROXY: "http://127.0.0.1:1" };
    const store = await open({ endpoint: URL_OF_STORE, allowHttp: true, environment });
    await store.put(KEY, BODY, ANYWAY);
    await store.put("with space/ü+'(1)" as ObjectKey, BODY, ANYWAY);
    expect(proxy.asked[0]).toBe(`${URL_OF_STORE}/${BUCKET}/${KEY}?x-id=PutObject`);
    expect(proxy.asked).toHaveLength(2);
  });
});
