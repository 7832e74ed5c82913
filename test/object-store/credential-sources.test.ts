import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { isTierlogError, type TierlogError } from "../../src/errors.ts";
import { containerSource } from "../../src/object-store/credentials/container.ts";
import { credentialSources, searchedCredentials } from "../../src/object-store/credentials/credential-chain.ts";
import type { S3Credentials } from "../../src/object-store/s3-credentials.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import type { Environment } from "../../src/runtime/environment.ts";
import type { Logger } from "../../src/runtime/logger.ts";
import { ContainerEndpoint, InstanceMetadata, Sts, givenKeys } from "../support/credential-servers.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

/** A port where nobody listens: reserved, so that no service gets it by chance. */
const NOBODY = "http://127.0.0.1:1";
const CANARY = "CANARY";

let directory: string;
let logged: string[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tierlog-credentials-"));
  logged = [];
});
afterEach(() => rm(directory, { recursive: true }));

const logger: Logger = {
  info: (message, fields) => void logged.push(`${message} ${JSON.stringify(fields)}`),
  warn: (message, fields) => void logged.push(`warning: ${message} ${JSON.stringify(fields)}`),
};

async function file(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text);
  return path;
}

/** Nothing outside of the test is asked, whatever the machine has. */
function environment(more: Environment): Environment {
  return { HOME: directory, AWS_EC2_METADATA_DISABLED: "true", ...more };
}

function runtimeOf(more: Environment) {
  return { clock: systemClock, logger, environment: environment(more) };
}

async function search(more: Environment, profile?: string): Promise<S3Credentials> {
  return (await searchedCredentials({ profile, region: "eu-central-1" }, runtimeOf(more))).get();
}

async function failure(more: Environment, profile?: string): Promise<TierlogError> {
  const error: unknown = await search(more, profile).then(
    ({ accessKeyId }) => new Error(`got ${accessKeyId}`),
    (reason: unknown) => reason,
  );
  if (!isTierlogError(error)) throw error;
  return error;
}

const identity = ({ accessKeyId, secretAccessKey, sessionToken }: S3Credentials): object => ({
  accessKeyId,
  secretAccessKey,
  sessionToken,
});

const plain = { AWS_ACCESS_KEY_ID: "ENV-ID", AWS_SECRET_ACCESS_KEY: "env-secret" };

test("the environment, with and without a token", async () => {
  expect(await search(plain)).toEqual({ accessKeyId: "ENV-ID", secretAccessKey: "env-secret" });
  expect(await search({ ...plain, AWS_SESSION_TOKEN: "t" })).toMatchObject({ sessionToken: "t" });
});

describe("shared profile", () => {
  const keys = (name: string): string => `aws_access_key_id = ${name}-ID\naws_secret_access_key = ${name}-secret\n`;

  test("the default one, that of AWS_PROFILE, and the one that the config names", async () => {
    const credentials = await file("credentials", `[default]\n${keys("D")}[other]\n${keys("O")}aws_session_token = T`);
    const config = await file("config", `[profile configured]\n${keys("C")}`);
    const files = { AWS_SHARED_CREDENTIALS_FILE: credentials, AWS_CONFIG_FILE: config };
    expect(await search(files)).toMatchObject({ accessKeyId: "D-ID", secretAccessKey: "D-secret" });
    expect(await search({ ...files, AWS_PROFILE: "other" })).toMatchObject({ accessKeyId: "O-ID", sessionToken: "T" });
    const both = { ...files, ...plain, AWS_PROFILE: "other" };
    expect(await search(both)).toMatchObject({ accessKeyId: "ENV-ID" });
    expect(await search(both, "configured")).toMatchObject({ accessKeyId: "C-ID" });
  });

  test("the files as they are now", async () => {
    const path = await file("credentials", `[default]\n${keys("OLD")}`);
    const runtime = runtimeOf({ AWS_SHARED_CREDENTIALS_FILE: path });
    const provider = await searchedCredentials({ profile: undefined, region: "x" }, runtime);
    const old = await provider.get();
    await file("credentials", `[default]\n${keys("NEW")}`);
    expect((await provider.get()).accessKeyId).toBe("OLD-ID");
    expect(provider.refused(old)).toBe(true);
    expect((await provider.get()).accessKeyId).toBe("NEW-ID");
  });

  test("a role, taken with the keys of another profile", async () => {
    await using sts = await new Sts(givenKeys("ROLE")).start();
    const config = await file(
      "config",
      `[profile base]\n${keys("B")}[profile role]\nrole_arn = arn:aws:iam::123456789012:role/logs\nsource_profile = base\nregion = eu-west-3\n`,
    );
    const env = { AWS_CONFIG_FILE: config, AWS_ENDPOINT_URL_STS: sts.url };
    expect(identity(await search(env, "role"))).toEqual(identity(givenKeys("ROLE")));
    expect(Object.fromEntries(sts.asked[0] ?? [])).toMatchObject({
      Action: "AssumeRole",
      RoleArn: "arn:aws:iam::123456789012:role/logs",
    });
    expect(sts.requests[0]?.headers.authorization).toMatch(/Credential=B-ID\/\d+\/eu-west-3\/sts\//);
  });

  test("what a program prints", async () => {
    const printed = { Version: 1, AccessKeyId: "P-ID", SecretAccessKey: "p-secret", SessionToken: "p-token" };
    const json = await file("printed.json", JSON.stringify(printed));
    const config = await file("config", `[default]\ncredential_process = cat ${json}\n`);
    expect(await search({ AWS_CONFIG_FILE: config })).toMatchObject({ accessKeyId: "P-ID", sessionToken: "p-token" });
  });

  test("a profile that is missing, and a program that fails, are told without what it was called with", async () => {
    const config = await file("config", `[profile p]\ncredential_process = sh -c 'echo ${CANARY} >&2; exit 3'\n`);
    const env = { AWS_CONFIG_FILE: config };
    const missing = await failure(env, "nope");
    expect(missing).toMatchObject({ code: "TIERLOG_CONFIG", exitCode: 78, effect: "none" });
    expect(missing.message).toContain(`profile "nope" (system.storage.object.profile): it is not in`);
    expect(missing.message).toContain(config);
    const failed = await failure(env, "p");
    expect(failed).toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: false });
    expect(failed.message).toContain("its credential_process failed");
    expect(failed.message).not.toContain(CANARY);
  });
});

describe("container", () => {
  test("a full URI, with the token of a file that is read anew each time", async () => {
    await using endpoint = await new ContainerEndpoint(givenKeys("POD")).start();
    endpoint.token = "first";
    const token = await file("token", "first\n");
    const env = {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${endpoint.url}/v1/credentials?x=y`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN: "not this one",
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: token,
    };
    const source = containerSource(env, systemClock);
    expect(identity(await source.load())).toEqual(identity(givenKeys("POD")));
    expect(endpoint.requests[0]?.url).toBe("/v1/credentials?x=y");
    endpoint.token = "second";
    await expect(source.load()).rejects.toMatchObject({
      kind: "refused",
      message: expect.stringContaining("HTTP 401"),
    });
    await file("token", "second\n");
    expect((await source.load()).expiresAtMs).toBe(Math.floor(endpoint.keys.expiresAtMs));
  });

  test("a relative URI counts from the host of ECS, with the token of the environment", async () => {
    await using endpoint = await new ContainerEndpoint(givenKeys("TASK")).start();
    endpoint.token = "t";
    const env = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/v2/credentials/1", AWS_CONTAINER_AUTHORIZATION_TOKEN: "t" };
    const source = containerSource(env, systemClock, endpoint.url);
    expect(identity(await source.load())).toEqual(identity(givenKeys("TASK")));
    expect(endpoint.requests[0]?.url).toBe("/v2/credentials/1");
  });

  test.each(["http://10.0.0.1/x", "http://169.254.170.9/x", "ftp://127.0.0.1/x", `http://${CANARY}:${CANARY}@ho st`])(
    "%s is not asked: it would be shown the token",
    async (uri) => {
      const error = await failure({
        AWS_CONTAINER_CREDENTIALS_FULL_URI: uri,
        AWS_CONTAINER_AUTHORIZATION_TOKEN: CANARY,
      });
      expect(error).toMatchObject({ code: "TIERLOG_CONFIG" });
      expect(error.message).toContain("AWS_CONTAINER_CREDENTIALS_FULL_URI");
      expect(error.message).not.toContain(CANARY);
    },
  );
});

describe("web identity", () => {
  const role = { AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/pod", AWS_ROLE_SESSION_NAME: "pod-7" };

  test("STS gives credentials for the token in the file, as it is now", async () => {
    await using sts = await new Sts(givenKeys("IRSA")).start();
    const token = await file("token", "jwt-1");
    const env = { ...role, AWS_WEB_IDENTITY_TOKEN_FILE: token, AWS_ENDPOINT_URL_STS: sts.url };
    expect(identity(await search(env))).toEqual(identity(givenKeys("IRSA")));
    await file("token", "jwt-2");
    await search(env);
    expect(sts.asked.map((form) => form.get("WebIdentityToken"))).toEqual(["jwt-1", "jwt-2"]);
    expect(Object.fromEntries(sts.asked[0] ?? [])).toMatchObject({
      Action: "AssumeRoleWithWebIdentity",
      RoleArn: role.AWS_ROLE_ARN,
      RoleSessionName: "pod-7",
    });
  });

  test("STS denies: an error that says so, and does not repeat what STS wrote", async () => {
    await using sts = await new Sts(givenKeys(CANARY)).start();
    const token = await file("token", `jwt-${CANARY}`);
    const env = { ...role, AWS_WEB_IDENTITY_TOKEN_FILE: token, AWS_ENDPOINT_URL_STS: sts.url };
    sts.denies = "AccessDenied";
    const denied = await failure(env);
    expect(denied).toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: false, effect: "none" });
    expect(denied.message).toContain("STS answered HTTP 403 AccessDenied");
    expect(denied.message).not.toContain(CANARY);
    sts.denies = "IDPCommunicationError";
    expect(await failure(env)).toMatchObject({ retryable: true });
    sts.fails = 503;
    expect(await failure(env)).toMatchObject({ retryable: true });
    expect(await failure({ ...env, AWS_ENDPOINT_URL_STS: NOBODY })).toMatchObject({
      retryable: true,
      message: expect.stringContaining("ECONNREFUSED"),
    });
    expect(await failure({ ...env, AWS_WEB_IDENTITY_TOKEN_FILE: join(directory, "none") })).toMatchObject({
      code: "TIERLOG_CONFIG",
      message: expect.stringContaining("none, named by AWS_WEB_IDENTITY_TOKEN_FILE, cannot be read"),
    });
  });
});

describe("instance metadata", () => {
  const at = (url: string): Environment => ({
    AWS_EC2_METADATA_DISABLED: "false",
    AWS_EC2_METADATA_SERVICE_ENDPOINT: url,
  });

  test("a token, the role, its credentials", async () => {
    await using imds = await new InstanceMetadata(givenKeys("EC2")).start();
    expect(identity(await search(at(imds.url)))).toEqual(identity(givenKeys("EC2")));
    expect(imds.requests.map(({ method, url }) => `${method} ${url}`)).toEqual([
      "PUT /latest/api/token",
      "GET /latest/meta-data/iam/security-credentials/",
      "GET /latest/meta-data/iam/security-credentials/some-role",
    ]);
  });

  test("no token, no version 1", async () => {
    await using imds = await new InstanceMetadata(givenKeys("EC2")).start();
    imds.fails = 403;
    expect(await failure(at(imds.url))).toMatchObject({
      retryable: false,
      message: expect.stringContaining("HTTP 403"),
    });
    expect(imds.requests).toHaveLength(1);
  });

  test("nobody there: nothing is configured. There, but with a hiccup: worth another try", async () => {
    expect(await failure(at(NOBODY))).toMatchObject({ code: "TIERLOG_CONFIG", exitCode: 78 });
    await using imds = await new InstanceMetadata(givenKeys("EC2")).start();
    imds.fails = 500;
    expect(await failure(at(imds.url))).toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: true });
    imds.fails = undefined;
    imds.role = "";
    expect(await failure(at(imds.url))).toMatchObject({
      retryable: false,
      message: expect.stringContaining("no role"),
    });
    imds.silent = true;
    expect(await failure(at(imds.url))).toMatchObject({
      retryable: true,
      message: expect.stringContaining("did not answer within 1000 ms"),
    });
    expect(await imds.server.openSockets()).toBe(0);
  });

  test("AWS_EC2_METADATA_DISABLED: not asked", async () => {
    await using imds = await new InstanceMetadata(givenKeys("EC2")).start();
    const error = await failure({ ...at(imds.url), AWS_EC2_METADATA_DISABLED: "TRUE" });
    expect(error).toMatchObject({ code: "TIERLOG_CONFIG" });
    expect(imds.requests).toHaveLength(0);
  });

  test("it is not asked, however slow it is, where another source gives credentials", async () => {
    await using imds = await new InstanceMetadata(givenKeys("EC2")).start();
    imds.silent = true;
    expect(await search({ ...at(imds.url), ...plain })).toMatchObject({ accessKeyId: "ENV-ID" });
    expect(imds.requests).toHaveLength(0);
  });
});

describe("the search", () => {
  test("nothing is configured: one error that names every source and what it lacks", async () => {
    const error = await failure({});
    expect(error).toMatchObject({ kind: "invalid", code: "TIERLOG_CONFIG", exitCode: 78, effect: "none" });
    for (const part of [
      "AWS_ACCESS_KEY_ID",
      join(directory, ".aws/credentials"),
      "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
      "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
      "AWS_EC2_METADATA_DISABLED",
      "access_key_id",
    ]) {
      expect(error.message).toContain(part);
    }
  });

  test("in order: environment, profile, container, web identity, instance", async () => {
    const names = (await credentialSources({ profile: undefined, region: "x" }, runtimeOf({}))).map(({ name }) => name);
    expect(names.map((name) => /environment|profile|container|identity|instance/.exec(name)?.[0])).toEqual([
      "environment",
      "profile",
      "container",
      "identity",
      "instance",
    ]);
  });

  test("a source that says no is passed over, with a warning; one that may answer the next time is not", async () => {
    await using endpoint = await new ContainerEndpoint(givenKeys("POD")).start();
    await using imds = await new InstanceMetadata(givenKeys("EC2")).start();
    const env = {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: endpoint.url,
      AWS_EC2_METADATA_DISABLED: "",
      AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url,
    };
    endpoint.fails = 404;
    expect(await search(env)).toMatchObject({ accessKeyId: "EC2-ID" });
    expect(logged[0]).toMatch(/^warning: .*container endpoint.*HTTP 404/);
    endpoint.fails = 500;
    expect(await failure(env)).toMatchObject({ retryable: true, message: expect.stringContaining("HTTP 500") });
    expect(imds.given).toBe(1);
    expect(logged.join("\n")).not.toContain("secret");
  });

  test("who gave credentials once is asked alone from then on", async () => {
    await using endpoint = await new ContainerEndpoint(givenKeys("POD")).start();
    await using imds = await new InstanceMetadata(givenKeys("EC2")).start();
    const provider = await searchedCredentials(
      { profile: undefined, region: "x" },
      runtimeOf({
        AWS_CONTAINER_CREDENTIALS_FULL_URI: endpoint.url,
        AWS_EC2_METADATA_DISABLED: "",
        AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url,
      }),
    );
    const first = await provider.get();
    endpoint.fails = 404;
    expect(provider.refused(first)).toBe(true);
    await expect(provider.get()).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: false });
    expect(imds.requests).toHaveLength(0);
  });

  test("a search that was given up, and ends later, changes nothing of what a later one found", async () => {
    await using endpoint = await new ContainerEndpoint(givenKeys("POD")).start();
    const printed = { Version: 1, AccessKeyId: "P-ID", SecretAccessKey: "p-secret" };
    const [json, go] = [await file("printed.json", JSON.stringify(printed)), join(directory, "go")];
    const [hangs, ended] = [join(directory, "hangs"), join(directory, "ended")];
    const script = await file(
      "program.sh",
      `if [ -e ${hangs} ]; then exec cat ${json}; fi
       touch ${hangs}; while [ ! -e ${go} ]; do sleep 0.02; done; touch ${ended}; exit 1`,
    );
    const config = await file("config", `[default]\ncredential_process = sh ${script}\n`);
    const clock = new VirtualClock();
    const given = environment({ AWS_CONFIG_FILE: config, AWS_CONTAINER_CREDENTIALS_FULL_URI: endpoint.url });
    const provider = await searchedCredentials(
      { profile: undefined, region: "x" },
      { clock, logger, environment: given },
    );

    const first = provider.get().catch((error: unknown) => error);
    await expect.poll(() => existsSync(hangs)).toBe(true);
    clock.runNext();
    expect(await first).toMatchObject({
      retryable: true,
      message: expect.stringContaining("did not answer") as string,
    });
    const found = await provider.get();
    expect(found.accessKeyId).toBe("P-ID");
    await file("go", "");
    await expect.poll(() => existsSync(ended)).toBe(true);
    // As long as the endpoint would take to answer.
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(provider.refused(found)).toBe(true);
    expect((await provider.get()).accessKeyId).toBe("P-ID");
    expect(endpoint.requests).toHaveLength(0);
  });

  test.each(["a b", "a\nb", "ü"])("a key that cannot stand in a header is refused and not shown: %j", async (token) => {
    const error = await failure({ ...plain, AWS_SESSION_TOKEN: `${CANARY}${token}` });
    expect(error.message).toContain("odd characters");
    expect(error.message).not.toContain(CANARY);
  });
});
