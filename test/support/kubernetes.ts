import { parseAllDocuments } from "yaml";
import { z } from "zod";

/*
 * The kinds that examples/kubernetes uses, and of each the fields it uses: a field that is not here is an error, be it misspelt or new.
 * Names and values as in the API reference of Kubernetes 1.32.
 */

const name = z.string().regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);
const labels = z.record(z.string(), z.string());
const cpu = z.string().regex(/^\d+m?$/);
const memory = z.string().regex(/^\d+(Mi|Gi)$/);
const metadata = z.strictObject({ name, namespace: name });

const container = z.strictObject({
  name,
  /** With a tag: "latest" changes under a running set. */
  image: z.string().regex(/^[a-z0-9.-]+(\/[a-z0-9._-]+)+:[\w.-]+$/),
  command: z.array(z.string()).optional(),
  env: z
    .array(
      z.union([
        z.strictObject({ name: z.string(), value: z.string() }),
        z.strictObject({
          name: z.string(),
          valueFrom: z.strictObject({
            fieldRef: z.strictObject({ fieldPath: z.enum(["metadata.name", "metadata.namespace", "status.podIP"]) }),
          }),
        }),
      ]),
    )
    .optional(),
  resources: z.strictObject({
    requests: z.strictObject({ cpu, memory }),
    limits: z.strictObject({ cpu: cpu.optional(), memory }),
  }),
  securityContext: z.strictObject({
    allowPrivilegeEscalation: z.literal(false),
    readOnlyRootFilesystem: z.boolean(),
    capabilities: z.strictObject({ drop: z.array(z.literal("ALL")) }),
  }),
  volumeMounts: z.array(
    z.strictObject({ name, mountPath: z.string().startsWith("/"), readOnly: z.boolean().optional() }),
  ),
});

const podFields = {
  serviceAccountName: name,
  terminationGracePeriodSeconds: z.int().positive().optional(),
  securityContext: z.strictObject({
    runAsNonRoot: z.literal(true),
    runAsUser: z.int().positive(),
    seccompProfile: z.strictObject({ type: z.literal("RuntimeDefault") }),
  }),
  containers: z.array(container).min(1),
  volumes: z.array(z.strictObject({ name, configMap: z.strictObject({ name }) })),
};

const template = <Spec extends z.ZodType>(spec: Spec) => z.strictObject({ metadata: z.strictObject({ labels }), spec });

const manifest = z.discriminatedUnion("kind", [
  z.strictObject({ apiVersion: z.literal("v1"), kind: z.literal("Namespace"), metadata: z.strictObject({ name }) }),
  z.strictObject({
    apiVersion: z.literal("v1"),
    kind: z.literal("ServiceAccount"),
    metadata: metadata.extend({
      annotations: z.strictObject({
        "eks.amazonaws.com/role-arn": z.string().regex(/^arn:aws[a-z-]*:iam::\d{12}:role\/\S+$/),
      }),
    }),
  }),
  z.strictObject({
    apiVersion: z.literal("v1"),
    kind: z.literal("ConfigMap"),
    metadata,
    data: z.record(z.string(), z.string()),
  }),
  z.strictObject({
    apiVersion: z.literal("v1"),
    kind: z.literal("Service"),
    metadata,
    spec: z.strictObject({ clusterIP: z.literal("None"), selector: labels }),
  }),
  z.strictObject({
    apiVersion: z.literal("batch/v1"),
    kind: z.literal("Job"),
    metadata,
    spec: z.strictObject({
      backoffLimit: z.int().nonnegative(),
      activeDeadlineSeconds: z.int().positive(),
      template: template(z.strictObject({ ...podFields, restartPolicy: z.enum(["Never", "OnFailure"]) })),
    }),
  }),
  z.strictObject({
    apiVersion: z.literal("apps/v1"),
    kind: z.literal("StatefulSet"),
    metadata,
    spec: z.strictObject({
      serviceName: name,
      replicas: z.int().nonnegative(),
      podManagementPolicy: z.enum(["OrderedReady", "Parallel"]),
      selector: z.strictObject({ matchLabels: labels }),
      template: template(z.strictObject(podFields)),
    }),
  }),
]);

export type Manifest = z.infer<typeof manifest>;

/** The documents of a file. Throws for what is no YAML, and for a field or value that its kind does not have. */
export function readManifests(text: string): readonly Manifest[] {
  return parseAllDocuments(text).map((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0];
    return manifest.parse(document.toJS());
  });
}

/** What the API server takes and what fails afterwards: references between objects. A sentence each. */
export function kubernetesProblems(manifests: readonly Manifest[]): readonly string[] {
  const problems: string[] = [];
  const has = (kind: Manifest["kind"], wanted: string): boolean =>
    manifests.some((one) => one.kind === kind && one.metadata.name === wanted);
  const need = (by: string, kind: Manifest["kind"], wanted: string): void => {
    if (!has(kind, wanted)) problems.push(`${by}: there is no ${kind} ${wanted}`);
  };

  for (const one of manifests) {
    const by = `${one.kind} ${one.metadata.name}`;
    if (one.kind !== "Namespace") need(by, "Namespace", one.metadata.namespace);
    if (/access_key|secret|token *=/.test(JSON.stringify(one))) problems.push(`${by}: holds a secret`);
    if (one.kind === "StatefulSet") {
      need(by, "Service", one.spec.serviceName);
      if (!selects(one.spec.selector.matchLabels, one.spec.template.metadata.labels)) {
        problems.push(`${by}: its selector does not match the labels of its pods`);
      }
    }
    if (one.kind === "Service") {
      const pods = manifests.filter((other) => other.kind === "StatefulSet" || other.kind === "Job");
      const chosen = pods.filter((other) => selects(one.spec.selector, other.spec.template.metadata.labels));
      if (chosen.map(({ kind }) => kind).join() !== "StatefulSet") {
        problems.push(`${by}: its selector chooses other pods than those of the StatefulSet`);
      }
    }
    if (one.kind === "StatefulSet" || one.kind === "Job") problems.push(...podProblems(by, one.spec.template.spec));
  }
  return problems;

  function podProblems(by: string, pod: PodSpec): string[] {
    need(by, "ServiceAccount", pod.serviceAccountName);
    for (const { configMap } of pod.volumes) need(by, "ConfigMap", configMap.name);
    return pod.containers.flatMap((container) => [
      ...container.volumeMounts
        .filter((mount) => !pod.volumes.some((volume) => volume.name === mount.name))
        .map((mount) => `${by}: there is no volume ${mount.name} to mount`),
      ...pathsOf(container)
        .filter((path) => !filesOf(pod, container).includes(path))
        .map((path) => `${by}: nothing is mounted at ${path}`),
    ]);
  }

  /** The keys of the ConfigMaps, where the container sees them. */
  function filesOf(pod: PodSpec, { volumeMounts }: Container): string[] {
    return volumeMounts.flatMap(({ name: volume, mountPath }) => {
      const map = pod.volumes.find((one) => one.name === volume)?.configMap.name;
      const found = manifests.find((one) => one.kind === "ConfigMap" && one.metadata.name === map);
      return found?.kind === "ConfigMap" ? Object.keys(found.data).map((key) => `${mountPath}/${key}`) : [];
    });
  }
}

type Container = z.infer<typeof container>;
type PodSpec = Extract<Manifest, { kind: "StatefulSet" }>["spec"]["template"]["spec"];

function selects(selector: Record<string, string>, chosen: Record<string, string>): boolean {
  return Object.entries(selector).every(([key, value]) => chosen[key] === value);
}

/** Files that the container is told of. */
function pathsOf({ command = [], env = [] }: Container): string[] {
  const values = env.flatMap((one) => ("value" in one ? [one.value] : []));
  return [...command, ...values].filter((text) => text.endsWith(".toml"));
}
