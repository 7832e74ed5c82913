import type { ObjectKey } from "../../domain.ts";
import { isTierlogError, type ObjectStoreError, type TierlogError } from "../../errors.ts";
import type { Random } from "../../runtime/random.ts";
import type { ObjectStore } from "../object-store.ts";
import { findIfMatchSpelling, type IfMatchSpelling } from "./if-match.ts";
import { runCreateRace, type CreateFinding, type RaceCreate } from "./race-create.ts";
import type { S3Wire } from "./s3-wire.ts";
import { sendWrongChecksum } from "./wrong-checksum.ts";

/** What a probe found. Stored, so the names are part of a format (docs/doctor.md). */
export interface ProbeFacts {
  readonly createIfAbsent: Exclude<CreateFinding, "unclear">;
  /** A create-if-absent of a key that exists, sent alone, is answered 412 and changes nothing. */
  readonly existingRefused: boolean;
  /** Every object was there, whole, for a read that began after its PUT was answered. */
  readonly readAfterWrite: boolean;
  /** A listing gives the keys in ascending order of their bytes. */
  readonly listsInOrder: boolean;
  /** null: no clear answer, or nobody asked. */
  readonly wrongChecksumRefused: boolean | null;
  readonly ifMatchEtag: IfMatchSpelling | null;
}

/** What the store may be used for; see docs/doctor.md. */
export type StoreVerdict = "fenced" | "single-writer only" | "unusable";

export function verdictOf(facts: ProbeFacts): StoreVerdict {
  if (!facts.readAfterWrite || !facts.listsInOrder) return "unusable";
  return facts.createIfAbsent === "atomic" && facts.existingRefused ? "fenced" : "single-writer only";
}

/** The facts that keep a store from being "fenced", in words. Empty where it is. `header`: by which it was asked to create. */
export function failedFacts(facts: ProbeFacts, header: string): readonly string[] {
  const failed: string[] = [];
  switch (facts.createIfAbsent) {
    case "ignored":
      failed.push(`it ignores ${header} on PUT: every one of several racing writers was told that it won`);
      break;
    case "racy":
      failed.push(`its ${header} on PUT is not atomic: racing writers won together`);
      break;
    case "refused":
      failed.push(`it refuses PUT with ${header}`);
      break;
    case "atomic":
      if (!facts.existingRefused) failed.push(`it overwrites an existing object in spite of ${header}`);
      break;
  }
  if (!facts.readAfterWrite) failed.push("a read right after a PUT did not find what was written");
  if (!facts.listsInOrder) failed.push("it does not list keys in the order of their bytes");
  return failed;
}

export interface StoreProbeOptions {
  /** Retries what may be repeated. */
  readonly store: ObjectStore;
  readonly race: RaceCreate;
  /** By which that asks to create, for messages. */
  readonly header: string;
  /** Where there is one, the checksum and the spelling of If-Match are looked at too. */
  readonly wire: S3Wire | undefined;
  /** Of all keys written; nobody else's. */
  readonly prefix: string;
  readonly random: Random;
}

export type StoreProbeOutcome =
  | { readonly kind: "facts"; readonly facts: ProbeFacts }
  /** The store answered too little of it: an outage, most likely. */
  | { readonly kind: "unclear"; readonly error: TierlogError | undefined; readonly detail: string };

/** With requests let go at one moment, a store that checks and then writes shows it in the first rounds. */
const WRITERS = 12;
const ROUNDS = 5;
const PLAIN_ROUNDS = 3;
const SMALL_BYTES = 64;
const LARGE_BYTES = 32 * 1024;

/**
 * The short form: can the store do what the fence stands on? 60 racing PUTs and about a dozen other requests, under a second on a
 * store nearby. What it wrote stays; `removeProbeKeys` takes it away. Rejects where the store cannot be used at all.
 */
export async function probeStore(options: StoreProbeOptions): Promise<StoreProbeOutcome> {
  const { store, race, wire, random } = options;
  const key = (name: string): ObjectKey => `${options.prefix}${name}` as ObjectKey;
  const read = async (of: ObjectKey): Promise<Uint8Array | undefined> => (await store.get(of))?.body;

  const report = await runCreateRace({
    race,
    header: options.header,
    read,
    key: (round) => key(`race-${round}`),
    random,
    writers: WRITERS,
    rounds: ROUNDS,
    bodyBytes: (round) => (round % 2 === 0 ? SMALL_BYTES : LARGE_BYTES),
  });
  if (report.finding === "unclear") return { kind: "unclear", error: report.error, detail: report.detail };

  let missed = report.unread;
  // A PUT that no store can refuse, on a key that was just missing: a cache that keeps "missing" shows.
  for (let round = 0; round < PLAIN_ROUNDS; round++) {
    const of = key(`plain-${round}`);
    if ((await read(of)) !== undefined) missed += 1;
    const body = random.bytes(SMALL_BYTES);
    await store.put(of, body, { condition: { kind: "none" } });
    const found = await read(of);
    if (found === undefined || Buffer.compare(found, body) !== 0) missed += 1;
  }

  const listing = await listBack(store, options.prefix);
  const plain = Array.from({ length: PLAIN_ROUNDS }, (_, round) => `plain-${round}`);
  if (listing.ordered && !plain.every((name) => listing.names.has(name))) missed += 1;

  const refused = report.finding === "refused";
  const existingRefused = !refused && (await refusesExisting(race, read, key("plain-0"), random));
  const facts: ProbeFacts = {
    // Alone it is minded, so that all won only because all looked before anybody wrote.
    createIfAbsent: report.finding === "ignored" && existingRefused ? "racy" : report.finding,
    existingRefused,
    readAfterWrite: missed === 0,
    listsInOrder: listing.ordered,
    wrongChecksumRefused: wire === undefined ? null : await refusesWrongChecksum(wire, key("checksum")),
    ifMatchEtag: wire === undefined ? null : ((await findIfMatchSpelling(wire, key("if-match"))) ?? null),
  };
  return { kind: "facts", facts };
}

async function listBack(
  store: ObjectStore,
  prefix: string,
): Promise<{ readonly ordered: boolean; readonly names: ReadonlySet<string> }> {
  const names = new Set<string>();
  try {
    for await (const { key } of store.list(prefix)) names.add(key.slice(prefix.length));
    return { ordered: true, names };
  } catch (error) {
    // What is neither an outage nor a refusal is a listing that the store itself found to be out of order.
    const { retryable, status } = error as Partial<ObjectStoreError>;
    if (!isTierlogError(error) || retryable !== false || status !== undefined) throw error;
    return { ordered: false, names };
  }
}

/** Alone, so that no race excuses the answer. */
async function refusesExisting(
  race: RaceCreate,
  read: (key: ObjectKey) => Promise<Uint8Array | undefined>,
  key: ObjectKey,
  random: Random,
): Promise<boolean> {
  const before = await read(key);
  let [answer] = await race(key, [random.bytes(SMALL_BYTES)]);
  for (let again = 0; answer?.kind === "unclear" && again < 3; again++) {
    [answer] = await race(key, [random.bytes(SMALL_BYTES)]);
  }
  const after = await read(key);
  // What cannot be read was not seen to change: that reads are stale is found elsewhere.
  const changed = before !== undefined && after !== undefined && Buffer.compare(before, after) !== 0;
  return answer?.kind === "refused" && !changed;
}

async function refusesWrongChecksum(wire: S3Wire, key: ObjectKey): Promise<boolean | null> {
  const { finding } = await sendWrongChecksum(wire, key, "x-amz-checksum-crc32c");
  return finding === "unclear" ? null : finding === "refused";
}

/** Every key that `probeStore` may have written. Deletes one by one: not every store takes a multi-delete. */
export async function removeProbeKeys(store: ObjectStore, prefix: string): Promise<void> {
  const names = [
    ...Array.from({ length: ROUNDS }, (_, round) => `race-${round}`),
    ...Array.from({ length: PLAIN_ROUNDS }, (_, round) => `plain-${round}`),
    "checksum",
    "if-match",
  ];
  await Promise.all(names.map((name) => store.delete([`${prefix}${name}` as ObjectKey])));
}
