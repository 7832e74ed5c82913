import { errorCode } from "../runtime/file-system.ts";

/** Why a file cannot be read, from what reading it threw; the rest of a sentence that begins with its path. */
export function fileProblem(error: unknown): string {
  const code = errorCode(error) ?? "";
  if (code === "ENOENT" || code === "ENOTDIR") return "there is no such file";
  if (code === "EISDIR") return "is a directory, not a file";
  if (code === "EACCES" || code === "EPERM") return "may not be read by this user";
  // Only the decoder of text throws without a code.
  if (error instanceof TypeError) return "is not UTF-8 text";
  return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
}
