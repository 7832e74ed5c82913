import { basename, dirname } from "node:path";

import type { DirectoryEntry, FileStat, FileSystem } from "../../src/runtime/file-system.ts";
import type { OpenFileOptions, RandomAccessFile } from "../../src/runtime/random-access-file.ts";
import type { Random } from "../../src/runtime/random.ts";

const SECTOR = 512;

export interface DiskCall {
  readonly call: keyof FileSystem | keyof RandomAccessFile;
  readonly path: string;
  /** Of a write. */
  readonly bytes?: number;
  readonly position?: number;
}

/** What a test makes of a call: an error that it throws, or a write that takes fewer bytes. */
export type Interference =
  | { readonly error: Error; readonly afterBytes?: number }
  | { readonly shortBytes: number }
  | undefined;

export function diskProblem(code: string): Error {
  return Object.assign(new Error(`${code}: simulated`), { code });
}

/** Thrown by every call after `crash()`. */
export class CrashedError extends Error {}

interface Inode {
  readonly number: number;
  /** As the page cache has it. */
  bytes: Buffer;
  /** As the disk has it. */
  durable: Buffer;
  /** Sectors written since the last sync: each may or may not be on the disk. */
  dirty: Set<number>;
  locked: boolean;
}

type DirectoryOperation =
  | { readonly kind: "set"; readonly name: string; readonly inode: Inode }
  | { readonly kind: "remove"; readonly name: string }
  | { readonly kind: "rename"; readonly from: string; readonly to: string; readonly inode: Inode };

interface Directory {
  readonly entries: Map<string, Inode>;
  readonly durable: Map<string, Inode>;
  pending: DirectoryOperation[];
}

/**
 * A disk in memory that forgets: what was not synced may be lost in a power cut, sector by sector and name by name. A failed sync
 * takes its sectors for clean, as kernels do: the next sync says OK and they are lost all the same. Directories themselves are
 * durable once made.
 */
export class SimulatedDisk implements FileSystem {
  /** Asked before every call. */
  interfere: (call: DiskCall) => Interference = () => undefined;
  /** Is O_DSYNC there? Else the caller has to sync. */
  dsync = true;
  /** Is O_DIRECT? */
  direct = true;
  /** All calls so far that change something. */
  readonly calls: DiskCall[] = [];
  openFiles = 0;
  openFilesMax = 0;

  readonly #directories = new Map<string, Directory>();
  #inodes = 0;
  #crashed = false;

  /** From now on nothing works: the process is gone. */
  crash(): void {
    this.#crashed = true;
  }

  get crashed(): boolean {
    return this.#crashed;
  }

  /** The disk as the next process finds it after the death of this one. What was not synced is still not: a power cut may follow. */
  afterKill(): SimulatedDisk {
    const next = this.#sibling();
    const copies = new Map<Inode, Inode>();
    const copyOf = (inode: Inode): Inode => {
      const known = copies.get(inode);
      if (known !== undefined) return known;
      const copy: Inode = {
        number: inode.number,
        bytes: Buffer.from(inode.bytes),
        durable: Buffer.from(inode.durable),
        dirty: new Set(inode.dirty),
        locked: false,
      };
      copies.set(inode, copy);
      return copy;
    };
    const namesOf = (names: ReadonlyMap<string, Inode>): Map<string, Inode> =>
      new Map([...names].map(([name, inode]) => [name, copyOf(inode)]));
    for (const [path, { entries, durable, pending }] of this.#directories) {
      next.#directories.set(path, {
        entries: namesOf(entries),
        durable: namesOf(durable),
        pending: pending.map((operation) =>
          operation.kind === "remove" ? operation : { ...operation, inode: copyOf(operation.inode) },
        ),
      });
    }
    next.#inodes = this.#inodes;
    return next;
  }

  /** The disk as it is after a power cut. */
  afterPowerCut(random: Random): SimulatedDisk {
    const next = this.#sibling();
    const contentOf = (inode: Inode): Buffer => {
      const bytes = Buffer.alloc(random.float() < 0.5 ? inode.durable.length : inode.bytes.length);
      inode.durable.copy(bytes);
      for (const sector of inode.dirty) {
        if (random.float() < 0.5) inode.bytes.copy(bytes, sector * SECTOR, sector * SECTOR, (sector + 1) * SECTOR);
      }
      return bytes;
    };
    for (const [path, directory] of this.#directories) {
      const names = new Map(directory.durable);
      for (const operation of directory.pending) if (random.float() < 0.5) apply(names, operation);
      const entries = new Map<string, Inode>();
      for (const [name, inode] of names) {
        const bytes = contentOf(inode);
        const durable = Buffer.from(bytes);
        entries.set(name, { number: ++next.#inodes, bytes, durable, dirty: new Set(), locked: false });
      }
      next.#directories.set(path, { entries, durable: new Map(entries), pending: [] });
    }
    return next;
  }

  /** The content of a file as a process sees it, to be looked at or changed in place. */
  bytesOf(path: string): Buffer {
    return this.#inode(path).bytes;
  }

  /** A bit flips, on the disk as well. */
  flip(path: string, position: number): void {
    const { bytes, durable } = this.#inode(path);
    for (const content of [bytes, durable]) content[position]! ^= 1;
  }

  #sibling(): SimulatedDisk {
    const next = new SimulatedDisk();
    next.dsync = this.dsync;
    next.direct = this.direct;
    return next;
  }

  async read(path: string, range?: (sizeBytes: number) => { start: number; end: number }) {
    await this.#enter({ call: "read", path });
    const { bytes, number } = this.#inode(path);
    const { start, end } = range?.(bytes.length) ?? { start: 0, end: bytes.length };
    return { bytes: Buffer.from(bytes.subarray(start, end)), sizeBytes: bytes.length, identity: String(number) };
  }

  async stat(path: string): Promise<FileStat> {
    await this.#enter({ call: "stat", path });
    const { bytes, number } = this.#inode(path);
    return { sizeBytes: bytes.length, identity: String(number), modifiedAtMs: 0 };
  }

  async writeNew(path: string, bytes: Uint8Array, options?: { readonly durable: boolean }): Promise<void> {
    const file = await this.open(path, { access: "write", create: "new" });
    try {
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at), at);
      if (options?.durable !== false) await file.sync();
      await file.close();
    } catch (error) {
      await file.close();
      // What is left behind by a crash stays.
      if (!this.#crashed) this.#directories.get(dirname(path))?.entries.delete(basename(path));
      throw error;
    }
  }

  concatenate(): Promise<void> {
    throw new Error("not simulated");
  }

  link(): Promise<void> {
    throw new Error("not simulated");
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#change({ call: "rename", path: to }, () => {
      const inode = this.#inode(from);
      const directory = this.#directory(to);
      const operation: DirectoryOperation = { kind: "rename", from: basename(from), to: basename(to), inode };
      apply(directory.entries, operation);
      directory.pending.push(operation);
    });
  }

  async remove(path: string): Promise<void> {
    if (this.#directories.get(dirname(path))?.entries.has(basename(path)) !== true) {
      await this.#enter({ call: "stat", path });
      return;
    }
    await this.#change({ call: "remove", path }, () => {
      const directory = this.#directory(path);
      const operation: DirectoryOperation = { kind: "remove", name: basename(path) };
      apply(directory.entries, operation);
      directory.pending.push(operation);
    });
  }

  async makeDirectory(path: string): Promise<void> {
    await this.#change({ call: "makeDirectory", path }, () => {
      for (let at = path; !this.#directories.has(at); at = dirname(at)) {
        this.#directories.set(at, { entries: new Map(), durable: new Map(), pending: [] });
      }
    });
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#change({ call: "syncDirectory", path }, () => {
      const directory = this.#directories.get(path);
      if (directory === undefined) throw diskProblem("ENOENT");
      for (const operation of directory.pending) apply(directory.durable, operation);
      directory.pending = [];
    });
  }

  async list(path: string): Promise<readonly DirectoryEntry[]> {
    await this.#enter({ call: "list", path });
    const files = [...(this.#directories.get(path)?.entries.keys() ?? [])].map((name) => ({
      name,
      kind: "file" as const,
    }));
    const directories = [...this.#directories.keys()]
      .filter((other) => dirname(other) === path && other !== path)
      .map((other) => ({ name: basename(other), kind: "directory" as const }));
    return [...files, ...directories];
  }

  async kind(path: string): Promise<DirectoryEntry["kind"] | undefined> {
    await this.#enter({ call: "kind", path });
    if (this.#directories.has(path)) return "directory";
    return this.#directories.get(dirname(path))?.entries.has(basename(path)) === true ? "file" : undefined;
  }

  async open(path: string, options: OpenFileOptions): Promise<RandomAccessFile> {
    if (options.direct === true && !this.direct) throw diskProblem("EINVAL");
    const directory = this.#directory(path);
    let inode = directory.entries.get(basename(path));
    if (inode === undefined && options.create !== undefined) {
      await this.#change({ call: "open", path }, () => {
        const made: Inode = {
          number: ++this.#inodes,
          bytes: Buffer.alloc(0),
          durable: Buffer.alloc(0),
          dirty: new Set(),
          locked: false,
        };
        const operation: DirectoryOperation = { kind: "set", name: basename(path), inode: made };
        apply(directory.entries, operation);
        directory.pending.push(operation);
        inode = made;
      });
    } else {
      await this.#enter({ call: "open", path });
      if (inode !== undefined && options.create === "new") throw diskProblem("EEXIST");
    }
    if (inode === undefined) throw diskProblem("ENOENT");
    this.openFiles++;
    this.openFilesMax = Math.max(this.openFilesMax, this.openFiles);
    return this.#handle(path, inode, options);
  }

  #handle(path: string, inode: Inode, options: OpenFileOptions): RandomAccessFile {
    const dsync = options.dsync === true && this.dsync;
    let locked = false;
    let closed = false;
    const sync = (call: "sync" | "datasync") => async (): Promise<void> => {
      try {
        await this.#change({ call, path }, () => makeDurable(inode, inode.dirty));
      } catch (error) {
        // The kernel takes the pages for clean.
        if (!this.#crashed) inode.dirty.clear();
        throw error;
      }
    };
    return {
      dsync,
      read: async (target, position) => {
        await this.#enter({ call: "read", path, position });
        return inode.bytes.copy(target, 0, position, position + target.length);
      },
      write: async (bytes, position) => {
        if (closed) throw diskProblem("EBADF");
        if (options.direct === true && (bytes.byteOffset % 4096 !== 0 || bytes.length % 4096 !== 0))
          throw diskProblem("EINVAL");
        const call: DiskCall = { call: "write", path, bytes: bytes.length, position };
        this.calls.push(call);
        const answer = this.#ask(call);
        const taken =
          answer === undefined ? bytes.length : "error" in answer ? (answer.afterBytes ?? 0) : answer.shortBytes;
        const sectors = writeInto(inode, bytes.subarray(0, taken), position);
        await Promise.resolve();
        if (this.#crashed) throw new CrashedError();
        if (answer !== undefined && "error" in answer) throw answer.error;
        if (dsync) makeDurable(inode, sectors);
        return taken;
      },
      datasync: sync("datasync"),
      sync: sync("sync"),
      sizeBytes: async () => {
        await this.#enter({ call: "sizeBytes", path });
        return inode.bytes.length;
      },
      tryLock: async () => {
        await this.#enter({ call: "tryLock", path });
        if (inode.locked) return false;
        inode.locked = true;
        locked = true;
        return true;
      },
      close: async () => {
        if (closed) throw diskProblem("EBADF");
        closed = true;
        this.openFiles--;
        if (locked) inode.locked = false;
        await Promise.resolve();
      },
    };
  }

  #directory(path: string): Directory {
    const directory = this.#directories.get(dirname(path));
    if (directory === undefined) throw diskProblem("ENOENT");
    return directory;
  }

  #inode(path: string): Inode {
    const inode = this.#directories.get(dirname(path))?.entries.get(basename(path));
    if (inode === undefined) throw diskProblem("ENOENT");
    return inode;
  }

  #ask(call: DiskCall): Interference {
    if (this.#crashed) throw new CrashedError();
    const answer = this.interfere(call);
    // The test may have crashed it in this very call.
    if (this.#crashed && call.call !== "write") throw new CrashedError();
    return answer;
  }

  async #enter(call: DiskCall): Promise<void> {
    const answer = this.#ask(call);
    await Promise.resolve();
    if (answer !== undefined && "error" in answer) throw answer.error;
  }

  /** Calls that a crash may come before: counted. */
  async #change(call: DiskCall, change: () => void): Promise<void> {
    this.calls.push(call);
    await this.#enter(call);
    change();
  }
}

function apply(names: Map<string, Inode>, operation: DirectoryOperation): void {
  if (operation.kind === "set") names.set(operation.name, operation.inode);
  else if (operation.kind === "remove") names.delete(operation.name);
  else {
    names.delete(operation.from);
    names.set(operation.to, operation.inode);
  }
}

function writeInto(inode: Inode, bytes: Uint8Array, position: number): Set<number> {
  const end = position + bytes.length;
  if (end > inode.bytes.length) inode.bytes = Buffer.concat([inode.bytes, Buffer.alloc(end - inode.bytes.length)]);
  inode.bytes.set(bytes, position);
  const sectors = new Set<number>();
  for (let sector = Math.floor(position / SECTOR); sector * SECTOR < end; sector++) {
    sectors.add(sector);
    inode.dirty.add(sector);
  }
  return sectors;
}

function makeDurable(inode: Inode, sectors: Set<number>): void {
  let { durable } = inode;
  if (durable.length < inode.bytes.length) {
    durable = Buffer.alloc(inode.bytes.length);
    inode.durable.copy(durable);
  }
  for (const sector of sectors) {
    inode.bytes.copy(durable, sector * SECTOR, sector * SECTOR, (sector + 1) * SECTOR);
    inode.dirty.delete(sector);
  }
  inode.durable = durable;
}
