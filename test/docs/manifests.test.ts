import { access, readFile } from "node:fs/promises";

import { describe, expect, test } from "vitest";

import { loadConfig } from "../../src/config/load-config.ts";
import { composeProblems, readCompose, readDockerfile } from "../support/compose.ts";
import { kubernetesProblems, readManifests, type Manifest } from "../support/kubernetes.ts";

const DIRECTORY = new URL("../../examples/", import.meta.url);
const read = (name: string): Promise<string> => readFile(new URL(name, DIRECTORY), "utf8");

const FILES = ["base.yaml", "doctor.yaml", "statefulset.yaml"];
const TEXT = (await Promise.all(FILES.map((name) => read(`kubernetes/${name}`)))).join("\n---\n");
const COMPOSE = await read("docker-compose.yml");
const MIB = 2 ** 20;

function manifest<K extends Manifest["kind"]>(kind: K): Extract<Manifest, { kind: K }> {
  const found = readManifests(TEXT).find((one) => one.kind === kind);
  if (found === undefined) throw new Error(`no ${kind}`);
  return found as Extract<Manifest, { kind: K }>;
}

describe("examples/kubernetes", () => {
  test("every field is one of its kind, every reference leads somewhere", () => {
    expect(kubernetesProblems(readManifests(TEXT))).toEqual([]);
  });

  test.each([
    ["a misspelt field", "podManagementPolicy:", "podManagmentPolicy:", /podManagmentPolicy/],
    ["an unknown policy", "podManagementPolicy: Parallel", "podManagementPolicy: parallel", /podManagementPolicy/],
    ["a field in the wrong place", "  serviceName: tierlog\n", "", /serviceName/],
    ["an old version of an API", "apiVersion: apps/v1\n", "apiVersion: apps/v1beta1\n", /apiVersion/],
    ["a number as text", "replicas: 1", 'replicas: "1"', /replicas/],
    ["a unit that Kubernetes does not know", "memory: 768Mi", "memory: 768MB", /memory/],
    ["a role that is none", "role-arn: arn:aws:iam::111122223333:role/", "role-arn: ", /role-arn/],
  ])("the schema sees %s", (_, from, to, said) => {
    expect(TEXT).toContain(from);
    expect(() => readManifests(TEXT.replace(from, to))).toThrow(said);
  });

  test.each([
    [
      "labels that its selector does not match",
      "      labels:\n        app.kubernetes.io/name: tierlog\n",
      "      labels:\n        app.kubernetes.io/name: other\n",
      /selector/,
    ],
    [
      "a mount of a volume that is not there",
      "- name: config\n              mountPath",
      "- name: conf\n              mountPath",
      /conf/,
    ],
    ["an account that is not there", "serviceAccountName: tierlog", "serviceAccountName: tierlogs", /tierlogs/],
    [
      "a ConfigMap that is not there",
      "configMap:\n            name: tierlog",
      "configMap:\n            name: other",
      /other/,
    ],
    ["a Service that is not there", "serviceName: tierlog", "serviceName: other", /other/],
    ["a file that the ConfigMap does not have", "config.toml: |", "conf.toml: |", /config\.toml/],
    [
      "another namespace",
      "name: tierlog-doctor\n  namespace: tierlog",
      "name: tierlog-doctor\n  namespace: default",
      /default/,
    ],
    ["a secret", "data:\n  config.toml: |\n", 'data:\n  config.toml: |\n    # secret_access_key = "x"\n', /secret/],
  ])("the references show %s", (_, from, to, said) => {
    expect(TEXT).toContain(from);
    expect(kubernetesProblems(readManifests(TEXT.replace(from, to))).join("\n")).toMatch(said);
  });

  test("the config of the ConfigMap is a good one, and the pods leave it time and memory", async () => {
    const text = manifest("ConfigMap").data["config.toml"] ?? "";
    const { config } = await loadConfig({
      file: "config.toml",
      env: {},
      cwd: "/etc/tierlog",
      readText: () => Promise.resolve(text),
    });
    const { object } = config.storage;
    expect([config.storage.kind, object.provider, object.credentials]).toEqual(["object", "aws", undefined]);
    const pod = manifest("StatefulSet").spec.template.spec;
    expect((pod.terminationGracePeriodSeconds ?? 30) * 1000).toBeGreaterThan(object.deadlineMs);

    const bounds =
      config.flush.maxPendingBytes +
      config.cache.tailSizeBytes +
      config.cache.sizeBytes +
      2 * object.partsInFlight * object.multipartPartSizeBytes;
    const [, amount = "", unit = ""] = /^(\d+)(Mi|Gi)$/.exec(pod.containers[0]?.resources.limits.memory ?? "") ?? [];
    expect(Number(amount) * (unit === "Gi" ? 1024 : 1) * MIB).toBeGreaterThan(bounds + 200 * MIB);
  });
});

describe("examples/docker-compose.yml", () => {
  test("what it refers to is there", async () => {
    const problems = composeProblems(readCompose(COMPOSE), readDockerfile(await read("Dockerfile")));
    expect(problems).toEqual([]);
  });

  test.each([
    ["a stage that is not there", "target: s3", "target: s4", /s4/],
    ["a service that is not there", "network_mode: service:s3", "network_mode: service:s4", /s4/],
    ["other keys than the gateway's", "AWS_SECRET_ACCESS_KEY: testsecretkey", "AWS_SECRET_ACCESS_KEY: other", /keys/],
  ])("the test sees %s", async (_, from, to, said) => {
    expect(COMPOSE).toContain(from);
    const problems = composeProblems(readCompose(COMPOSE.replace(from, to)), readDockerfile(await read("Dockerfile")));
    expect(problems.join("\n")).toMatch(said);
  });

  test("a misspelt field is seen", () => {
    expect(() => readCompose(COMPOSE.replace("depends_on:", "depend_on:"))).toThrow(/depend_on/);
  });

  test("the gateway's port is the one of the config, of the health check and of the image", async () => {
    const { config } = await loadConfig({ file: "examples/compose.toml", env: {}, cwd: process.cwd() });
    const port = new URL(config.storage.object.endpoint ?? "").port;
    expect(readCompose(COMPOSE).services["s3"]?.healthcheck?.test.join(" ")).toContain(`/127.0.0.1/${port}`);
    expect(await read("Dockerfile")).toContain(`RGW_PORT=${port}`);
  });

  test("what the Dockerfile copies, and what the commands name, is there and not ignored", async () => {
    const ignore = (await read("Dockerfile.dockerignore")).split("\n").filter((line) => line.startsWith("!"));
    for (const path of readDockerfile(await read("Dockerfile")).copied) {
      await access(new URL(`../${path}`, DIRECTORY));
      expect(ignore).toContain(`!${path}`);
    }
    const script = readCompose(COMPOSE).services["tierlog"]?.command?.at(-1) ?? "";
    const named = script.match(/examples\/\S+/g) ?? [];
    expect(named.length).toBeGreaterThan(3);
    for (const path of named) await access(new URL(`../${path}`, DIRECTORY));
  });
});
