import { execFile } from "node:child_process";
import { open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const SIZE_BYTES = 50 * 1024 * 1024;

/** Writes a real text of at least 50 MiB: the package descriptions of this system, else the type declarations of our tools. */
export async function writeRealText(path: string): Promise<{ readonly source: string; readonly sizeBytes: number }> {
  const { source, text } = await packageDescriptions().catch(typeDeclarations);
  const file = await open(path, "w");
  let sizeBytes = 0;
  // Repeated if need be: the demo compares byte for byte, not for variety.
  while (sizeBytes < SIZE_BYTES) sizeBytes += (await file.write(text)).bytesWritten;
  await file.close();
  return { source, sizeBytes };
}

async function packageDescriptions(): Promise<{ source: string; text: Buffer }> {
  const { stdout } = await promisify(execFile)("apt-cache", ["dumpavail"], {
    encoding: "buffer",
    maxBuffer: 512 * 1024 * 1024,
  });
  if (stdout.length < 1024 * 1024) throw new Error("apt-get update was not run");
  return { source: "apt-cache dumpavail", text: stdout };
}

async function typeDeclarations(): Promise<{ source: string; text: Buffer }> {
  const directory = "node_modules/@types/node";
  const names = (await readdir(directory)).filter((name) => name.endsWith(".d.ts"));
  const texts = await Promise.all(names.map((name) => readFile(join(directory, name))));
  return { source: "@types/node", text: Buffer.concat(texts) };
}
