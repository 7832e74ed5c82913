import { InvalidArgumentError } from "../errors.ts";

/** A prefix as people write it; the store at the top has no other name than "/". */
export function parsePrefix(text: string): string {
  // As from an unset variable of a shell: it must not mean the store at the top.
  if (text === "")
    throw new InvalidArgumentError("PREFIX", text, "is empty; write / for the top of the bucket or directory");
  return text === "/" ? "" : text.replace(/\/$/, "");
}

export function showPrefix(prefix: string): string {
  return prefix === "" ? "/" : prefix;
}
