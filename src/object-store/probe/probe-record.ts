import type { ObjectKey } from "../../domain.ts";
import { PROBE_PREFIX, isBehindProbeRecords, isProbeRecordKey, probeRecordKey } from "../object-names.ts";
import type { ObjectStore } from "../object-store.ts";
import { verdictOf, type ProbeFacts, type StoreVerdict } from "./store-probe.ts";

const FORMAT = "tierlog-probe";

/** Grows when a probe asks for more: what an older one found then no longer counts. */
export const PROBE_VERSION = 1;

/** Records are looked at from the newest; further back there is nothing worth a request each. */
const RECORDS_READ_MAX = 8;

/**
 * What a record is about. Another server behind the same objects (a copied bucket, a new endpoint) is probed anew, and so is one that
 * is asked in another way.
 */
export interface ProbedServer {
  /** URL, or "aws". */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  /** The header that says "only if absent". */
  readonly createIfAbsent: string;
}

/** `probe/<time>-<rand>.json`; its layout stands in docs/doctor.md. */
export interface ProbeRecord {
  readonly server: ProbedServer;
  readonly createdAt: string;
  readonly verdict: StoreVerdict;
  readonly facts: ProbeFacts;
}

export interface FoundRecord {
  readonly key: ObjectKey;
  readonly record: ProbeRecord;
}

/**
 * The newest record about `server` that this version understands: one LIST, and a GET for each record that does not fit. A record
 * that cannot be read is passed over: it is only a memory of what can be found out again.
 */
export async function findProbeRecord(store: ObjectStore, server: ProbedServer): Promise<FoundRecord | undefined> {
  const keys: ObjectKey[] = [];
  for await (const { key } of store.list(PROBE_PREFIX)) {
    if (isProbeRecordKey(key)) keys.push(key);
    // Behind the records come leftovers of runs, maybe thousands. Before them at most what others left, as a marker of the folder.
    else if (isBehindProbeRecords(key)) break;
  }
  for (const key of keys.slice(-RECORDS_READ_MAX).toReversed()) {
    const found = await store.get(key);
    const record = found === undefined ? undefined : parseProbeRecord(found.body);
    if (record !== undefined && sameServer(record.server, server)) return { key, record };
  }
  return undefined;
}

export interface NewRecord {
  readonly server: ProbedServer;
  readonly facts: ProbeFacts;
  readonly timeMs: number;
  /** 16 hex digits. */
  readonly random: string;
  readonly writerId: string;
}

/** Its name is used once, so that a plain put does where the store takes no condition. */
export async function writeProbeRecord(store: ObjectStore, written: NewRecord): Promise<ObjectKey> {
  const { server, facts, timeMs, writerId } = written;
  const record = {
    format: FORMAT,
    version: PROBE_VERSION,
    createdAt: new Date(timeMs).toISOString(),
    writerId,
    server,
    verdict: verdictOf(facts),
    facts,
  };
  const key = probeRecordKey(timeMs, written.random);
  await store.put(key, Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`), {
    condition: { kind: facts.createIfAbsent === "refused" ? "none" : "if-absent" },
  });
  return key;
}

/** undefined: not a record of this version, or not whole. */
export function parseProbeRecord(body: Uint8Array): ProbeRecord | undefined {
  const value = parseJson(body);
  if (value?.["format"] !== FORMAT || value["version"] !== PROBE_VERSION) return undefined;
  const { createdAt, server, facts } = value;
  if (typeof createdAt !== "string" || !isObject(server) || !isObject(facts)) return undefined;
  const { endpoint, region, bucket, createIfAbsent } = server;
  if (typeof endpoint !== "string" || typeof region !== "string" || typeof bucket !== "string") return undefined;
  if (typeof createIfAbsent !== "string") return undefined;
  const checked = checkFacts(facts);
  if (checked === undefined) return undefined;
  // Not the verdict that stands there: a later version may have learned more about the same facts.
  return {
    server: { endpoint, region, bucket, createIfAbsent },
    createdAt,
    verdict: verdictOf(checked),
    facts: checked,
  };
}

function checkFacts(facts: Record<string, unknown>): ProbeFacts | undefined {
  const { createIfAbsent, existingRefused, readAfterWrite, listsInOrder, wrongChecksumRefused, ifMatchEtag } = facts;
  const create = CREATE.find((name) => name === createIfAbsent);
  const spelling = SPELLING.find((name) => name === ifMatchEtag);
  if (create === undefined || spelling === undefined) return undefined;
  if (typeof existingRefused !== "boolean" || typeof readAfterWrite !== "boolean") return undefined;
  if (typeof listsInOrder !== "boolean") return undefined;
  if (wrongChecksumRefused !== null && typeof wrongChecksumRefused !== "boolean") return undefined;
  return {
    createIfAbsent: create,
    existingRefused,
    readAfterWrite,
    listsInOrder,
    wrongChecksumRefused,
    ifMatchEtag: spelling,
  };
}

const CREATE = ["atomic", "ignored", "racy", "refused"] as const satisfies readonly ProbeFacts["createIfAbsent"][];
const SPELLING = [
  null,
  "quoted",
  "bare",
  "either",
  "neither",
  "ignored",
  "unsupported",
] as const satisfies readonly ProbeFacts["ifMatchEtag"][];

function sameServer(a: ProbedServer, b: ProbedServer): boolean {
  const { endpoint, region, bucket, createIfAbsent } = a;
  return endpoint === b.endpoint && region === b.region && bucket === b.bucket && createIfAbsent === b.createIfAbsent;
}

function parseJson(body: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString("utf8"));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
