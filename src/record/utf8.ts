import { isUtf8 } from "node:buffer";

/**
 * Header keys: short strings, nearly always ASCII, on the path of every record with headers. Text that UTF-8 cannot hold (half of
 * a surrogate pair) is refused rather than replaced.
 */

/** Bytes of `text` in UTF-8; −1 if it holds half of a surrogate pair. */
export function utf8Bytes(text: string): number {
  let size = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    if (unit < 0x800) size += 1;
    else if (unit < 0xd800 || unit > 0xdfff) size += 2;
    else {
      const next = text.charCodeAt(i + 1);
      if (unit > 0xdbff || !(next >= 0xdc00 && next <= 0xdfff)) return -1;
      // Two units, four bytes.
      size += 2;
      i++;
    }
  }
  return size;
}

/** Writes `text`, whose `utf8Bytes` are `size`; returns the position behind it. REQUIRES: there is room. */
export function writeUtf8(buffer: Buffer, at: number, text: string, size: number): number {
  if (size === text.length && size < 32) {
    for (let i = 0; i < size; i++) buffer[at + i] = text.charCodeAt(i);
  } else {
    buffer.write(text, at, size, "utf8");
  }
  return at + size;
}

/** Text of bytes [start, end) of `buffer`; undefined if they are not UTF-8. */
export function readUtf8(buffer: Buffer, start: number, end: number): string | undefined {
  if (isAscii(buffer, start, end)) return buffer.toString("latin1", start, end);
  return isUtf8(buffer.subarray(start, end)) ? buffer.toString("utf8", start, end) : undefined;
}

/** Are bytes [start, end) of `buffer` UTF-8? */
export function holdsUtf8(buffer: Buffer, start: number, end: number): boolean {
  return isAscii(buffer, start, end) || isUtf8(buffer.subarray(start, end));
}

function isAscii(buffer: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    if (buffer[i]! > 0x7f) return false;
  }
  return true;
}
