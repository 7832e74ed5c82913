// Values that any process can check without having seen them before: all of one follows from its id.
import { seeded } from "../crash/rounds/child-lines.mjs";

const NOISE_BYTES = 1 << 20;
const next = seeded(1);
const noise = Buffer.from(Uint32Array.from({ length: NOISE_BYTES / 4 }, () => next() * 2 ** 32).buffer);

/** FNV-1a. */
function hash(text) {
  let sum = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return sum;
}

/** `id length noise`, `length` bytes of it. */
export function valueOf(id, length) {
  const at = hash(id) % (NOISE_BYTES - length);
  return Buffer.concat([Buffer.from(`${id} ${length} `), noise.subarray(at, at + length)]);
}

/** The id of a value; throws unless every byte is as `valueOf` made it. */
export function idOf(view) {
  const value = Buffer.from(view.buffer, view.byteOffset, view.length);
  const head = value.subarray(0, 40).toString("latin1").split(" ", 2);
  const [id, length] = [head[0] ?? "", Number(head[1])];
  if (!Number.isInteger(length) || length >= NOISE_BYTES || Buffer.compare(value, valueOf(id, length)) !== 0)
    throw new Error(`a value of ${value.length} bytes that begins with ${JSON.stringify(head)} is not as it was sent`);
  return id;
}
