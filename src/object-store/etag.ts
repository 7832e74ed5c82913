import type { ETag } from "../domain.ts";
import { InvalidArgumentError } from "../errors.ts";
import type { PutCondition } from "./object-store.ts";

/**
 * The one place where an entity tag loses its quotes and its `W/`: servers answer `"abc"`, `abc`, `W/"abc"` or nothing for the
 * same object, and two spellings of one tag must compare equal. A missing or empty tag becomes "", which names nothing and is
 * refused by "if-match".
 */
export function bareETag(header: string | undefined): ETag {
  if (header === undefined) return "" as ETag;
  const strong = /^w\//i.test(header) ? header.slice(2) : header;
  const quoted = strong.length >= 2 && strong.startsWith('"') && strong.endsWith('"');
  return (quoted ? strong.slice(1, -1) : strong) as ETag;
}

/** The tag as HTTP writes it. */
export function quotedETag(etag: ETag): string {
  return `"${etag}"`;
}

/** Throws `InvalidArgumentError` for an "if-match" without a tag: the header would be empty and match nothing, or anything. */
export function checkCondition(condition: PutCondition): void {
  if (condition.kind === "if-match" && condition.etag === "") {
    throw new InvalidArgumentError(
      "condition.etag",
      condition.etag,
      "is empty: the store gave no ETag for this object",
    );
  }
}
