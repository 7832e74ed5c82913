import { isTierlogError, type ObjectStoreError } from "../../errors.ts";
import { bad, ok, sameBytes, type CheckSpec } from "./check.ts";

const MIB = 1024 * 1024;

/** Whole objects and ranges of them: what every read and write of the engine is made of. */
export const OBJECT_CHECKS: readonly CheckSpec[] = [
  {
    name: "put, get, head, delete",
    severity: "required",
    hint: "look at the message; without this nothing can be stored",
    needs: ["s3:PutObject", "s3:GetObject"],
    async run({ store, key, random, denied }) {
      for (const size of [0, 1, MIB]) {
        const name = key(`plain-${size}`);
        const body = random.bytes(size);
        await store.put(name, body, { condition: { kind: "none" } });
        const found = await store.get(name);
        const info = await store.head(name);
        if (found === undefined) return bad(`${size} bytes were put, and could not be found right afterwards`);
        if (!sameBytes(found.body, body)) return bad(`${size} bytes were put, other bytes came back`);
        if (info?.sizeBytes !== size) return bad(`HEAD of an object of ${size} bytes says ${String(info?.sizeBytes)}`);
        if (denied.has("s3:DeleteObject")) continue;
        await store.delete([name]);
        // Without s3:ListBucket the answer would be "forbidden", which a check of its own tells.
        if (denied.has("s3:ListBucket")) continue;
        if ((await store.get(name)) !== undefined) return bad("an object could still be read after its DELETE");
        await store.delete([name]);
      }
      const deleted = denied.has("s3:DeleteObject")
        ? ", not deleted (denied)"
        : denied.has("s3:ListBucket")
          ? ""
          : " and were gone after DELETE";
      return ok(`objects of 0, 1 and 1,048,576 bytes came back the same${deleted}`);
    },
  },
  {
    name: "missing object",
    severity: "required",
    hint: "allow s3:ListBucket on the bucket: without it a missing object answers 403, and recovery cannot tell missing from forbidden",
    needs: ["s3:GetObject"],
    async run({ once, key }) {
      const name = key("never-written");
      try {
        if ((await once.get(name)) !== undefined) return bad("GET of a key that nobody wrote found an object");
        if ((await once.head(name)) !== undefined) return bad("HEAD of a key that nobody wrote found an object");
      } catch (error) {
        if (!isTierlogError(error) || (error as Partial<ObjectStoreError>).status !== 403) throw error;
        return bad("answers 403, as a forbidden one does");
      }
      return ok("GET and HEAD say that it is not there");
    },
  },
  {
    name: "ranged reads",
    severity: "required",
    hint: "this server cannot serve parts of objects as S3 does; a newer version or another store is needed",
    needs: ["s3:PutObject", "s3:GetObject"],
    async run({ store, key, random }) {
      const body = random.bytes(10_000);
      const name = key("ranges");
      await store.put(name, body, { condition: { kind: "none" } });
      const cases = [
        { what: "in the middle", range: { start: 1000, end: 2000 }, expected: body.subarray(1000, 2000) },
        { what: "first byte", range: { start: 0, end: 1 }, expected: body.subarray(0, 1) },
        { what: "open end", range: { start: 9000 }, expected: body.subarray(9000) },
        { what: "suffix", range: { suffix: 100 }, expected: body.subarray(9900) },
        { what: "over the end", range: { start: 9990, end: 20_000 }, expected: body.subarray(9990) },
        { what: "past the end", range: { start: 10_000, end: 10_010 }, expected: new Uint8Array(0) },
        { what: "whole", range: undefined, expected: body },
      ];
      for (const { what, range, expected } of cases) {
        const found = await store.get(name, range === undefined ? {} : { range });
        if (found === undefined) return bad("an object that was just put could not be found");
        if (!sameBytes(found.body, expected)) return bad(`range "${what}" came back with other bytes`);
        if (found.sizeBytes !== body.length) return bad(`range "${what}" came with a wrong size of the object`);
      }
      return ok(cases.map(({ what }) => what).join(", "));
    },
  },
];
