import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { GetObjectCommand, ListObjectsV2Command, type S3Client } from "@aws-sdk/client-s3";

/** What the checker needs of a store: objects by name, and their names. */
export interface StoreReader {
  /** undefined: there is no such object. */
  get(key: string): Promise<Buffer | undefined>;
  /** Keys that begin with `prefix`, which ends with a slash, ascending. */
  list(prefix: string): Promise<string[]>;
}

/**
 * A store of `kind = "fs"`: `root` is the directory `store` below `system.path`. The keys that the checker reads (all small
 * letters, every file with a dot and no directory with one) are paths as they stand: docs/store-layout.md.
 */
export function fsReader(root: string): StoreReader {
  return {
    get: (key) => orMissing(readFile(join(root, key)), undefined),
    async list(prefix) {
      const entries = await orMissing(readdir(join(root, prefix), { withFileTypes: true, recursive: true }), []);
      return entries
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(join(root, "/").length))
        .sort();
    },
  };
}

async function orMissing<T, M>(read: Promise<T>, missing: M): Promise<T | M> {
  try {
    return await read;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return missing;
    throw error;
  }
}

/** A bucket. `prefix` as in the configuration: without a slash at its end, may be empty. */
export function s3Reader(client: S3Client, bucket: string, prefix: string): StoreReader {
  const top = prefix === "" ? "" : `${prefix}/`;
  return {
    async get(key) {
      try {
        const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: top + key }));
        if (Body === undefined) throw new Error(`GET ${key} answered without a body`);
        return Buffer.from(await Body.transformToByteArray());
      } catch (error) {
        if (error instanceof Error && error.name === "NoSuchKey") return undefined;
        throw error;
      }
    },
    async list(prefix) {
      const keys: string[] = [];
      let token: string | undefined;
      do {
        const page = await client.send(
          new ListObjectsV2Command({ Bucket: bucket, Prefix: top + prefix, ContinuationToken: token }),
        );
        for (const { Key } of page.Contents ?? []) if (Key !== undefined) keys.push(Key.slice(top.length));
        token = page.NextContinuationToken;
      } while (token !== undefined);
      return keys.sort();
    },
  };
}
