import * as fs from "node:fs";

/**
 * An open file with positional reads and writes, injected through `FileSystem.open` so that tests can fail any call. Errors are
 * Node's own. Underneath are the callback functions of node:fs: a `FileHandle` costs measurably more per call.
 */
export interface RandomAccessFile {
  /** Writes are on the disk when `write` resolves (O_DSYNC): no `datasync` is needed behind them. */
  readonly dsync: boolean;
  /** Reads at `position` into `target`; resolves to the bytes read, which may be fewer; 0 only at the end of the file. */
  read(target: Uint8Array, position: number): Promise<number>;
  /** Writes at `position`; resolves to the bytes written, which may be fewer: a full disk shows in the next call. */
  write(bytes: Uint8Array, position: number): Promise<number>;
  /** fdatasync. After a failure the kernel may say OK without having the bytes on the disk: never to be tried again. */
  datasync(): Promise<void>;
  /** fsync. */
  sync(): Promise<void>;
  sizeBytes(): Promise<number>;
  /**
   * An exclusive lock on the whole file, held until it is closed or the process ends, however it ends; false when another open
   * file holds it, in this process or in another. Advisory.
   */
  tryLock(): Promise<boolean>;
  close(): Promise<void>;
}

export interface OpenFileOptions {
  readonly access: "read" | "write";
  /** "new": EEXIST where there is one; "missing": made unless there is one. Default: ENOENT where there is none. */
  readonly create?: "new" | "missing" | undefined;
  /** O_DIRECT: positions, lengths and memory must be aligned to 4 KiB (`alignedMemory`). EINVAL where the file system refuses. */
  readonly direct?: boolean;
  /** O_DSYNC, where it is as good as fdatasync; see `RandomAccessFile.dsync`. */
  readonly dsync?: boolean;
}

/** Symbolic links are refused (ELOOP). */
export async function openFile(path: string, options: OpenFileOptions): Promise<RandomAccessFile> {
  const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW, O_DSYNC } = fs.constants;
  const direct: number | undefined = fs.constants.O_DIRECT;
  if (options.direct === true && direct === undefined) {
    throw Object.assign(new Error(`EINVAL: no O_DIRECT here, open '${path}'`), { code: "EINVAL" });
  }
  // On macOS O_DSYNC leaves the bytes in the drive's cache; fdatasync, as libuv does it there, does not.
  const dsync = options.dsync === true && process.platform === "linux";
  let flags = (options.access === "read" ? O_RDONLY : O_RDWR) | O_NOFOLLOW;
  if (options.create !== undefined) flags |= O_CREAT;
  if (options.create === "new") flags |= O_EXCL;
  if (options.direct === true) flags |= direct;
  if (dsync) flags |= O_DSYNC;
  const fd = await new Promise<number>((resolve, reject) => {
    fs.open(path, flags, 0o600, (error, opened) => (error === null ? resolve(opened) : reject(error)));
  });
  return new NodeFile(fd, dsync);
}

class NodeFile implements RandomAccessFile {
  readonly dsync: boolean;
  readonly #fd: number;

  constructor(fd: number, dsync: boolean) {
    this.#fd = fd;
    this.dsync = dsync;
  }

  read(target: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.#fd, target, 0, target.length, position, (error, bytesRead) =>
        error === null ? resolve(bytesRead) : reject(error),
      );
    });
  }

  write(bytes: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.write(this.#fd, bytes, 0, bytes.length, position, (error, written) =>
        error === null ? resolve(written) : reject(error),
      );
    });
  }

  datasync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.#fd, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fsync(this.#fd, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  sizeBytes(): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.#fd, (error, stat) => (error === null ? resolve(stat.size) : reject(error)));
    });
  }

  async tryLock(): Promise<boolean> {
    // Loaded only here: where the library has no binary, all but the journal still works.
    const { tryLock } = await import("fs-native-extensions");
    return tryLock(this.#fd);
  }

  close(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.close(this.#fd, (error) => (error === null || error === undefined ? resolve() : reject(error)));
    });
  }
}
