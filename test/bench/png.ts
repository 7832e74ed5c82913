import { inflateSync } from "node:zlib";

/** How often each colour occurs in a PNG of 8 bits a channel, RGB or RGBA, not interlaced (as Chromium writes it), by "#rrggbb". */
export function coloursOf(png: Buffer): Map<string, number> {
  const width = png.readUInt32BE(16);
  const channels = png[25] === 6 ? 4 : 3;
  const rows = unfiltered(inflateSync(dataOf(png)), width * channels, channels);
  const counts = new Map<number, number>();
  for (let at = 0; at < rows.length; at += channels) {
    const colour = rows.readUIntBE(at, 3);
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  return new Map(Array.from(counts, ([colour, count]) => [`#${colour.toString(16).padStart(6, "0")}`, count]));
}

/** All IDAT chunks: length 4 │ type 4 │ data │ CRC 4, behind the signature of 8 bytes. */
function dataOf(png: Buffer): Buffer {
  const data: Buffer[] = [];
  for (let at = 8; at < png.length;) {
    const length = png.readUInt32BE(at);
    if (png.toString("latin1", at + 4, at + 8) === "IDAT") data.push(png.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  return Buffer.concat(data);
}

/** Undoes the filters of the PNG specification, section 9; each row begins with the number of its filter. */
function unfiltered(data: Buffer, rowBytes: number, channels: number): Buffer {
  const height = data.length / (rowBytes + 1);
  const out = Buffer.alloc(height * rowBytes);
  for (let y = 0; y < height; y++) {
    const filter = data[y * (rowBytes + 1)];
    for (let x = 0; x < rowBytes; x++) {
      const left = x < channels ? 0 : out[y * rowBytes + x - channels]!;
      const up = y === 0 ? 0 : out[(y - 1) * rowBytes + x]!;
      const corner = x < channels || y === 0 ? 0 : out[(y - 1) * rowBytes + x - channels]!;
      const predicted = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter ?? 0] ?? 0;
      out[y * rowBytes + x] = (data[y * (rowBytes + 1) + 1 + x]! + predicted) & 0xff;
    }
  }
  return out;
}

function paeth(left: number, up: number, corner: number): number {
  const sum = left + up - corner;
  const [a, b, c] = [Math.abs(sum - left), Math.abs(sum - up), Math.abs(sum - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}
