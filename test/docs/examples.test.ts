import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { describeConfig } from "../../src/config/describe-config.ts";
import { loadConfig } from "../../src/config/load-config.ts";
import { FaultScript } from "../../src/testing/fault-script.ts";
import { S3Endpoint } from "../../src/testing/s3-endpoint.ts";

const EXAMPLES = fileURLToPath(new URL("../../examples/", import.meta.url));
const EMBED = join(EXAMPLES, "embed.mjs");
const README = await readFile(new URL("../../README.md", import.meta.url), "utf8");

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tierlog-example-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

interface Finished {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(script: string, argv: string[], env: Record<string, string> = {}): Promise<Finished> {
  return new Promise((resolve) => {
    const options = {
      cwd: directory,
      env: { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true", ...env },
    };
    execFile(process.execPath, [script, ...argv], options, (error, stdout, stderr) =>
      resolve({ exitCode: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

describe("examples/embed.mjs", () => {
  test("runs, prints what README.md says, and goes on where it was", async () => {
    const first = await run(EMBED, []);
    expect([first.exitCode, first.stderr]).toEqual([0, ""]);
    const blocks = [...README.matchAll(/```text\n([\s\S]*?)```/g)].map((match) => match[1]);
    expect(blocks).toContain(first.stdout);
    expect((await run(EMBED, [])).stdout).toContain("partition 0: offset 1 uploaded, epoch 2");
  });

  test("is the library example in README.md, in 30 lines of code at most", async () => {
    const code = (await readFile(EMBED, "utf8")).replace(/^(\/\/.*\n)+/, "");
    const blocks = [...README.matchAll(/```js\n([\s\S]*?)```/g)].map((match) => match[1]);
    expect(blocks).toContain(code);
    expect(code.split("\n").filter((line) => !/^\s*(\/\/.*)?$/.test(line)).length).toBeLessThanOrEqual(30);
  });

  test.each([
    // The fence: no record was sent yet.
    [
      "none",
      /\/0{20}\.idx$/,
      "access-denied",
      /^TIERLOG_OBJECT_STORE: .*AccessDenied.*\nnot stored: send it again later\n$/,
    ],
    // The link with the records: nobody knows whether one of these attempts still lands.
    ["unknown", /\/0{19}1\.idx$/, "internal-error", /^TIERLOG_OBJECT_STORE: [^\n]*\nperhaps stored: read before /],
  ] as const)("says what to do about an append of effect %s", async (_, key, kind, said) => {
    const faults = new FaultScript();
    faults.add({ match: { operation: "PutObject", key }, fault: { kind } });
    const endpoint = await S3Endpoint.start({ buckets: ["logs"], faults });
    try {
      const { exitCode, stderr } = await run(EMBED, [], {
        TIERLOG_SYSTEM_STORAGE_KIND: "object",
        TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET: "logs",
        TIERLOG_SYSTEM_STORAGE_OBJECT_ENDPOINT: endpoint.url,
        TIERLOG_SYSTEM_STORAGE_OBJECT_REQUEST_TIMEOUT: "1500ms",
        TIERLOG_SYSTEM_STORAGE_OBJECT_DEADLINE: "1500ms",
        AWS_ACCESS_KEY_ID: endpoint.credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: endpoint.credentials.secretAccessKey,
      });
      expect(stderr).toMatch(said);
      expect(exitCode).toBe(75);
    } finally {
      await endpoint.close();
    }
  });
});

test("examples/make-bucket.mjs makes the bucket of a config, and may be run again", async () => {
  const endpoint = await S3Endpoint.start();
  try {
    const env = {
      AWS_ENDPOINT_URL_S3: endpoint.url,
      AWS_ACCESS_KEY_ID: endpoint.credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: endpoint.credentials.secretAccessKey,
    };
    const argv = [join(EXAMPLES, "ceph.toml")];
    const first = await run(join(EXAMPLES, "make-bucket.mjs"), argv, env);
    expect(first).toEqual({ exitCode: 0, stdout: "bucket my-bucket is created\n", stderr: "" });
    expect((await run(join(EXAMPLES, "make-bucket.mjs"), argv, env)).exitCode).toBe(0);
  } finally {
    await endpoint.close();
  }
});

describe("the config files", () => {
  /** What an operator gets by that file, and by nothing else. */
  const expected: Record<string, Record<string, string>> = {
    "aws-role.toml": { provider: "aws", region: "eu-central-1", force_path_style: "false" },
    "r2.toml": { region: "auto", endpoint: "https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com" },
    "ceph.toml": { endpoint: "http://rook-ceph-rgw-my-store.rook-ceph.svc:80", payload_signing: "signed" },
    "compose.toml": { endpoint: "http://127.0.0.1:7480", bucket: "tierlog" },
  };

  test("all of them are known here", async () => {
    const files = (await readdir(EXAMPLES)).filter((name) => name.endsWith(".toml"));
    expect(files.toSorted()).toEqual(Object.keys(expected).toSorted());
  });

  test.each(Object.entries(expected))("%s is a good one, without keys", async (name, values) => {
    const { config } = await loadConfig({ file: join(EXAMPLES, name), env: {}, cwd: directory });
    const shown = new Map(describeConfig(config).map(({ path, value }) => [path, value]));
    expect(shown.get("system.storage.kind")).toBe("object");
    expect(shown.get("system.storage.object.secret_access_key")).toBeUndefined();
    for (const [key, value] of Object.entries(values)) {
      expect([key, shown.get(`system.storage.object.${key}`)]).toEqual([key, value]);
    }
  });
});

test("examples/README.md names every example", async () => {
  const page = await readFile(join(EXAMPLES, "README.md"), "utf8");
  const hidden = ["README.md", "Dockerfile.dockerignore", "compose.toml"];
  const unnamed = (await readdir(EXAMPLES, { recursive: true })).filter((path) => !page.includes(`](${path})`));
  expect(unnamed.toSorted()).toEqual(hidden.toSorted());
});
