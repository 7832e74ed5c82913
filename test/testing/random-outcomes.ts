import { expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { isTierlogError, type Effect } from "../../src/errors.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { randomFaults } from "../../src/testing/fault-script.ts";
import { FAULT_KINDS } from "../../src/testing/fault.ts";
import { filled } from "../support/filled.ts";
import { FaultyStores, type OpenFaultyServer } from "./faulty-server.ts";

const STEPS = 60;

/** All but the flipped bit: the store does not know the bytes, so it cannot see one. */
const KINDS = FAULT_KINDS.filter((kind) => kind !== "bit-flip");

/** What a write that has ended says of its object. */
type Claim = "written" | Effect;

/**
 * Under faults of every kind, one seed after the other: what was said to be written is there, byte by byte; what was said to have
 * no effect never comes; nothing is read that was not written. With `TIERLOG_TEST_SEED` only that one.
 */
export function describeRandomOutcomes(open: OpenFaultyServer, count = 4): void {
  const only = process.env["TIERLOG_TEST_SEED"];
  const seeds = only === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [Number(only)];

  test.each(seeds)("seed %i", async (seed) => {
    const faulty = await FaultyStores.open(open, randomFaults({ seed, rate: 0.4, kinds: KINDS }));
    const store = faulty.store();
    const claims = new Map<ObjectKey, Claim>();
    const body = (key: ObjectKey): Buffer => Buffer.from(filled(5_000, Number(key.slice(-3))));
    const wrong: string[] = [];

    for (let step = 0; step < STEPS; step++) {
      const key = `random/${String(step).padStart(3, "0")}` as ObjectKey;
      claims.set(key, await claimOf(step % 5 === 4 ? upload(store, key, body(key)) : create(store, key, body(key))));

      const read = `random/${String(Math.floor(step / 2)).padStart(3, "0")}` as ObjectKey;
      const found = await store.get(read).catch(expectStoreError);
      if (found === undefined && claims.get(read) === "written") wrong.push(`${read} is written and was not found`);
      if (found !== undefined && found !== "failed" && Buffer.compare(found.body, body(read)) !== 0) {
        wrong.push(`${read} was read with other bytes`);
      }
    }

    await faulty.server.landLate();
    for (const [key, claim] of claims) {
      const stored = await faulty.stored(key);
      if (stored === undefined && claim === "written") wrong.push(`${key} is written and is not there`);
      if (stored !== undefined && claim === "none") wrong.push(`${key} should have no effect and is there`);
      if (stored !== undefined && Buffer.compare(stored, body(key)) !== 0) wrong.push(`${key} holds other bytes`);
    }
    const script = faulty.script.describe();
    expect({ script, wrong }).toEqual({ script, wrong: [] });
    expect(faulty.script.firedCount).toBeGreaterThan(STEPS / 2);
    expect([...claims.values()].filter((claim) => claim === "written").length).toBeGreaterThan(STEPS / 2);
    await faulty.close();
  });
}

async function create(store: ObjectStore, key: ObjectKey, body: Uint8Array): Promise<void> {
  // Nobody else uses the key: "condition-failed" would be a lie.
  const outcome = await store.put(key, body, { condition: { kind: "if-absent" } });
  expect(outcome.kind).toBe("written");
}

async function upload(store: ObjectStore, key: ObjectKey, body: Uint8Array): Promise<void> {
  const upload = await store.createMultipart(key);
  await upload.complete([await upload.putPart(1, body)]);
}

async function claimOf(write: Promise<void>): Promise<Claim> {
  try {
    await write;
    return "written";
  } catch (error) {
    if (!isTierlogError(error)) throw error;
    return error.effect;
  }
}

/** Some faults no retry mends: an expired token, a ban. */
function expectStoreError(error: unknown): "failed" {
  if (!isTierlogError(error) || error.code !== "TIERLOG_OBJECT_STORE") throw error;
  return "failed";
}
