import { ObjectStoreError, type Effect } from "../errors.ts";
import { errorCode } from "../runtime/file-system.ts";

interface Answer {
  readonly retryable: boolean;
  readonly advice: string;
}

/** What Node's error codes mean for a store on a file system. Codes that are not listed may pass: retryable. */
const ANSWERS: Readonly<Record<string, Answer>> = {
  EACCES: { retryable: false, advice: "give this user read and write access to the directory" },
  EPERM: { retryable: false, advice: "give this user read and write access to the directory" },
  EROFS: {
    retryable: false,
    advice: "the file system is mounted read-only; after a disk error the kernel does that itself",
  },
  ENOTDIR: { retryable: false, advice: "a file that tierlog did not make lies where a directory belongs" },
  EISDIR: { retryable: false, advice: "a directory that tierlog did not make lies where a file belongs" },
  ELOOP: { retryable: false, advice: "symbolic links within the store are not followed" },
  ENAMETOOLONG: { retryable: false, advice: "the path is too long: use a shorter root directory" },
  EXDEV: { retryable: false, advice: "the root directory must lie on one file system" },
  EMLINK: { retryable: false, advice: "this file system has no hard links" },
  ENOTSUP: { retryable: false, advice: "this file system has no hard links" },
  ENOSPC: { retryable: true, advice: "the disk is full: free some space" },
  EDQUOT: { retryable: true, advice: "the disk quota is used up: free some space" },
  EIO: { retryable: true, advice: "the disk reports an error: look at the kernel log" },
  EMFILE: { retryable: true, advice: "too many open files: raise `ulimit -n`" },
  ENFILE: { retryable: true, advice: "too many open files on this machine" },
  ENOENT: { retryable: true, advice: "a file or directory vanished meanwhile" },
};

export function fsError(operation: string, key: string, error: unknown, effect: Effect = "none"): ObjectStoreError {
  const code = errorCode(error) ?? "no error code";
  const answer = ANSWERS[code] ?? { retryable: true, advice: error instanceof Error ? error.message : String(error) };
  return new ObjectStoreError(
    `${operation} ${key}: ${code}, ${answer.advice}`,
    { operation, key, retryable: answer.retryable },
    { cause: error, effect },
  );
}
