import { chmod, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import { inspect } from "node:util";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { Interruption } from "../../src/cli/interruption.ts";
import { run } from "../../src/cli/run.ts";
import { loadConfig } from "../../src/config/load-config.ts";
import { Engine } from "../../src/engine/engine.ts";
import type { Environment } from "../../src/runtime/environment.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { ContainerEndpoint, InstanceMetadata, Sts, givenKeys } from "../support/credential-servers.ts";
import { ENDPOINT_BUCKET, EndpointPlace } from "../support/endpoint-place.ts";
import { PlayedServer } from "../support/played-server.ts";

const CANARY = "CANARYcanary0123456789";
const NOBODY = "http://127.0.0.1:1";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tierlog-cli-credentials-"));
});
afterEach(() => rm(directory, { recursive: true }));

class Capture extends Writable {
  text = "";

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

async function cli(argv: string[], env: Environment): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const [stdout, stderr] = [new Capture(), new Capture()];
  const exitCode = await run(argv, {
    stdin: Readable.from([]),
    stdout,
    stderr,
    stderrIsTerminal: false,
    env,
    cwd: directory,
    version: "1.2.3",
    runtime: systemRuntime,
    interruption: new Interruption(() => undefined),
  });
  return { exitCode, stdout: stdout.text, stderr: stderr.text };
}

async function file(name: string, text: string, mode = 0o600): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text, { mode });
  await chmod(path, mode);
  return path;
}

/** A bucket, and nobody who gives credentials for it. */
function bucket(more: Environment): Environment {
  return {
    HOME: directory,
    AWS_EC2_METADATA_DISABLED: "true",
    TIERLOG_SYSTEM_STORAGE_KIND: "object",
    TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET: ENDPOINT_BUCKET,
    TIERLOG_SYSTEM_STORAGE_OBJECT_REQUEST_TIMEOUT: "1s",
    TIERLOG_SYSTEM_STORAGE_OBJECT_DEADLINE: "1s",
    ...more,
  };
}

describe("config check says where credentials would come from, and asks nobody", () => {
  const check = async (env: Environment, ...flags: string[]): Promise<string> =>
    /^credentials from: (.*)$/m.exec((await cli(["config", "check", ...flags], bucket(env))).stdout)?.[1] ?? "";

  test("inline, in order, only one", async () => {
    expect(await check({ AWS_ACCESS_KEY_ID: "AKIA", AWS_SECRET_ACCESS_KEY: CANARY })).toBe("access_key_id");
    const several = {
      AWS_PROFILE: "dev",
      AWS_CONTAINER_CREDENTIALS_FULL_URI: NOBODY,
      AWS_WEB_IDENTITY_TOKEN_FILE: "/none",
      AWS_ROLE_ARN: "arn",
      AWS_EC2_METADATA_DISABLED: "",
    };
    expect(await check(several)).toBe(
      'profile "dev" (AWS_PROFILE), else the container endpoint (AWS_CONTAINER_CREDENTIALS_FULL_URI), ' +
        "else the web identity of AWS_WEB_IDENTITY_TOKEN_FILE, else the instance metadata of EC2",
    );
    const profile = ["--set", "system.storage.object.profile=logs"];
    expect(await check(several, ...profile)).toBe('profile "logs" (system.storage.object.profile)');
    expect(await check({})).toBe("nowhere");
  });

  test("as JSON, with the proxy but not its password", async () => {
    const env = bucket({ AWS_PROFILE: "dev", HTTPS_PROXY: `http://me:${CANARY}@proxy.test:3128` });
    const { stdout } = await cli(["config", "check", "--json"], env);
    expect(JSON.parse(stdout)).toMatchObject({
      credentials: ['profile "dev" (AWS_PROFILE)'],
      proxy: "http://proxy.test:3128/",
    });
    expect(stdout).not.toContain(CANARY);
  });
});

describe("a config file with secrets that others may read", () => {
  const secrets = `[system.storage.object]\naccess_key_id = "AKIA"\nsecret_access_key = "${CANARY}"\n`;

  test.each([
    [0o644, secrets, true],
    [0o640, secrets, true],
    [0o602, secrets, true],
    [0o600, secrets, false],
    [0o400, secrets, false],
    [0o644, "[system]\nshards = 2\n", false],
  ])("mode %o", async (mode, text, warns) => {
    const path = await file("config.toml", text, mode);
    const { exitCode, stderr } = await cli(["config", "check", "--config", path], {});
    expect(exitCode).toBe(0);
    expect(stderr.includes(`chmod 600 ${path}`)).toBe(warns);
    expect(stderr).not.toContain(CANARY);
  });

  test("files that the config names", async () => {
    const key = await file("customer.key", Buffer.alloc(32, 7).toString("base64"), 0o640);
    const env = bucket({
      TIERLOG_SYSTEM_STORAGE_OBJECT_ENCRYPTION_MODE: "sse-c",
      TIERLOG_SYSTEM_STORAGE_OBJECT_ENCRYPTION_CUSTOMER_KEY_FILE: key,
    });
    const { exitCode, stderr } = await cli(["config", "check"], env);
    expect([exitCode, stderr.includes(`chmod 600 ${key}`)]).toEqual([0, true]);
  });

  test("behind a link, as Kubernetes mounts it", async () => {
    const path = join(directory, "link.toml");
    await symlink(await file("config.toml", secrets, 0o644), path);
    expect((await cli(["topics", "list", "--config", path], {})).stderr).toContain(`chmod 600 ${path}`);
  });
});

describe("F51 secret-canary: whoever refuses to give credentials, nothing that is shown holds one (I8)", () => {
  /** Every way in which an embedder or somebody at a terminal hears of it. */
  async function everything(env: Environment): Promise<{ readonly code: string; readonly shown: string }> {
    const plain = await cli(["topics", "list"], { ...env, TIERLOG_DEBUG: "1" });
    const json = await cli(["topics", "list", "--json"], env);
    const check = await cli(["config", "check"], env);
    const logged: unknown[] = [];
    const log = (...all: unknown[]): void => void logged.push(all);
    const { config, sources } = await loadConfig({ env, cwd: directory });
    const error: unknown = await Engine.open(config, {
      runtime: { environment: env, logger: { info: log, warn: log } },
    }).catch((reason: unknown) => reason);
    const deep = { depth: 12, showHidden: true };
    const shown = [plain, json, check].map(({ stdout, stderr }) => stdout + stderr);
    shown.push(inspect(error, deep), JSON.stringify(error), String((error as Error).stack));
    shown.push(inspect(config, deep), JSON.stringify(config), inspect(logged, deep), inspect([...sources]));
    const { code } = error as { readonly code: string };
    expect(json.stderr).toContain(code);
    return { code, shown: shown.join("\n") };
  }

  test("a token service that denies, and one that fails", async () => {
    await using sts = await new Sts(givenKeys(CANARY)).start();
    const env = bucket({
      AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/pod",
      AWS_WEB_IDENTITY_TOKEN_FILE: await file("token", CANARY),
      AWS_ENDPOINT_URL_STS: sts.url,
    });
    for (const [denies, fails] of [
      ["AccessDenied", undefined],
      [undefined, 500],
    ] as const) {
      Object.assign(sts, { denies, fails });
      const { code, shown } = await everything(env);
      expect(code).toBe("TIERLOG_OBJECT_STORE");
      expect(shown).not.toContain(CANARY);
    }
  });

  test("endpoints of the platform that refuse, or answer nonsense", async () => {
    await using container = await new ContainerEndpoint(givenKeys(CANARY)).start();
    await using imds = await new InstanceMetadata(givenKeys(CANARY)).start();
    const pod = bucket({
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${container.url}/?${CANARY}`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN: CANARY,
    });
    const ec2 = bucket({ AWS_EC2_METADATA_DISABLED: "", AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url });
    imds.role = CANARY;
    imds.keys = { ...imds.keys, sessionToken: `${CANARY}\n` };
    for (const env of [pod, ec2]) {
      const { code, shown } = await everything(env);
      expect(code).toBe("TIERLOG_OBJECT_STORE");
      expect(shown).not.toContain(CANARY);
    }
  });

  test("a profile with a program, with keys that a header cannot hold, with keys that the store refuses", async () => {
    const place = await EndpointPlace.start();
    const keys = `aws_access_key_id = ${CANARY}id\naws_secret_access_key = ${CANARY}\naws_session_token = ${CANARY}`;
    const config = await file(
      "config",
      `[profile program]\ncredential_process = sh -c 'echo ${CANARY} >&2; exit 1'\n` +
        `[profile odd]\n${keys} ${CANARY}\n[profile refused]\n${keys}\n`,
    );
    for (const profile of ["program", "odd", "refused"]) {
      const env = bucket({ AWS_CONFIG_FILE: config, AWS_PROFILE: profile, AWS_ENDPOINT_URL_S3: place.endpoint.url });
      const { code, shown } = await everything(env);
      expect(code).toBe("TIERLOG_OBJECT_STORE");
      expect(shown).not.toContain(CANARY);
    }
    await place.close();
  });

  test("nobody to ask when a bucket is to be made: told at once, not at the deadline", async () => {
    const env = bucket({
      TIERLOG_SYSTEM_STORAGE_OBJECT_CREATE_BUCKET: "true",
      TIERLOG_SYSTEM_STORAGE_OBJECT_DEADLINE: "1h",
    });
    const { exitCode, stderr } = await cli(["topics", "create", "t", "--partitions", "1"], env);
    expect([exitCode, stderr]).toEqual([78, expect.stringContaining("no credentials were found")]);
  });

  test("nothing configured, and credentials in odd places", async () => {
    const env = bucket({
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://${CANARY}:${CANARY}@10.1.2.3/`,
      AWS_ROLE_ARN: "arn",
      AWS_WEB_IDENTITY_TOKEN_FILE: join(directory, "none"),
      AWS_ENDPOINT_URL_STS: `nonsense ${CANARY}`,
    });
    const { code, shown } = await everything(env);
    expect(code).toBe("TIERLOG_CONFIG");
    expect(shown).not.toContain(CANARY);
  });

  test("a proxy that wants another password, and an address of one that cannot be read", async () => {
    const proxy = new PlayedServer();
    proxy.answer = (_, response) => {
      response.writeHead(407, { "proxy-authenticate": "Basic" });
      response.end(CANARY);
    };
    await proxy.start();
    const keys = { AWS_ACCESS_KEY_ID: "AKIA", AWS_SECRET_ACCESS_KEY: `${CANARY}secret` };
    const target = {
      AWS_ENDPOINT_URL_S3: "http://store.test",
      TIERLOG_SYSTEM_STORAGE_OBJECT_ALLOW_HTTP: "true",
      ...keys,
    };
    const refused = bucket({ ...target, HTTP_PROXY: proxy.endpoint.replace("//", `//me:${CANARY}@`) });
    const { code, shown } = await everything(refused);
    expect(code).toBe("TIERLOG_OBJECT_STORE");
    expect(shown).toContain("HTTP 407");
    expect(shown).not.toContain(CANARY);
    await proxy.stop();
    const unreadable = await cli(["topics", "list"], bucket({ ...target, HTTP_PROXY: `http://me:${CANARY}@a b` }));
    expect(unreadable.exitCode).toBe(78);
    expect(unreadable.stderr).toContain("env HTTP_PROXY");
    expect(unreadable.stderr).not.toContain(CANARY);
  });
});
