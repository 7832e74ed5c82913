import { parse } from "yaml";
import { z } from "zod";

/* The fields that examples/docker-compose.yml uses, as in the Compose Specification; another is an error, be it misspelt or new. */

const service = z.strictObject({
  build: z.strictObject({ context: z.string(), dockerfile: z.string(), target: z.string() }),
  init: z.boolean(),
  environment: z.record(z.string(), z.string()),
  healthcheck: z
    .strictObject({
      test: z.tuple([z.literal("CMD")]).rest(z.string()),
      interval: z.string().regex(/^\d+s$/),
      timeout: z.string().regex(/^\d+s$/),
      retries: z.int().positive(),
    })
    .optional(),
  network_mode: z
    .string()
    .regex(/^service:\S+$/)
    .optional(),
  depends_on: z.record(z.string(), z.strictObject({ condition: z.literal("service_healthy") })).optional(),
  command: z.array(z.string()).optional(),
});
const compose = z.strictObject({ name: z.string(), services: z.record(z.string(), service) });

export type Compose = z.infer<typeof compose>;

export interface Dockerfile {
  readonly stages: readonly string[];
  /** Sources of COPY, from the context. */
  readonly copied: readonly string[];
}

/** Throws for what is no YAML, and for fields and values that are not Compose's. */
export function readCompose(text: string): Compose {
  return compose.parse(parse(text));
}

export function readDockerfile(text: string): Dockerfile {
  const copies = [...text.matchAll(/^COPY (.+) \S+$/gm)].flatMap(([, sources = ""]) => sources.split(" "));
  return { stages: [...text.matchAll(/^FROM \S+ AS (\S+)$/gm)].map(([, stage = ""]) => stage), copied: copies };
}

/** References that lead nowhere, a sentence each. */
export function composeProblems({ services }: Compose, { stages }: Dockerfile): readonly string[] {
  const problems: string[] = [];
  for (const [name, { build, network_mode: network, depends_on: needed = {} }] of Object.entries(services)) {
    if (!stages.includes(build.target)) problems.push(`${name}: the Dockerfile has no stage ${build.target}`);
    if (build.context !== ".." || build.dockerfile !== "examples/Dockerfile")
      problems.push(`${name}: builds elsewhere`);
    const others = [...Object.keys(needed), ...(network === undefined ? [] : [network.slice("service:".length)])];
    for (const other of others) {
      if (services[other] === undefined) problems.push(`${name}: there is no service ${other}`);
    }
    for (const other of Object.keys(needed)) {
      if (services[other]?.healthcheck === undefined)
        problems.push(`${name}: ${other} has no health check to wait for`);
    }
  }
  const [server, client] = [services["s3"]?.environment, services["tierlog"]?.environment];
  const same =
    server?.["S3_KEY"] === client?.["AWS_ACCESS_KEY_ID"] && server?.["S3_SECRET"] === client?.["AWS_SECRET_ACCESS_KEY"];
  if (!same) problems.push("the keys of tierlog are not those of s3");
  return problems;
}
