import {
  ConfigError,
  DiskFullError,
  StorageIoError,
  isTierlogError,
  type Effect,
  type TierlogError,
} from "../errors.ts";
import { errorCode } from "../runtime/file-system.ts";

const DENIED = ["EACCES", "EPERM", "EROFS", "ELOOP", "ENOTDIR", "EISDIR"];
const FULL = ["ENOSPC", "EDQUOT"];

/** Is there no room on the disk? */
export function isDiskFull(error: unknown): boolean {
  return FULL.includes(errorCode(error) ?? "");
}

/** One of Node's errors of a file, as one of ours. Ours pass as they are. */
export function diskError(operation: string, path: string, error: unknown, effect: Effect = "none"): TierlogError {
  if (isTierlogError(error)) return error.withEffect(effect);
  if (isDiskFull(error)) return new DiskFullError(path, `no room for it (${operation})`, { cause: error, effect });
  return new StorageIoError(operation, path, { cause: error, effect });
}

/** As `diskError`, while opening: what the user's permissions or a wrong path forbid is a matter of the config. */
export function openError(operation: string, path: string, error: unknown): TierlogError {
  const code = errorCode(error) ?? "";
  if (!DENIED.includes(code)) return diskError(operation, path, error);
  const problem = `${operation} of ${path} is not possible (${code}); tierlog needs a directory of its own with read and write access, reached without symbolic links`;
  return new ConfigError([{ path: "system.journal.path", problem }], { cause: error });
}
