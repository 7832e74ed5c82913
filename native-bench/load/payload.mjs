/**
 * Values that look like logs, and compress about as far (LZ4: 2.4). The same for every run: no randomness.
 *
 * @returns `count` buffers of exactly `bytes`
 */
export function payloads(bytes, count = 256) {
  let state = 12_345;
  const next = (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  const hex = (digits) => Array.from({ length: digits }, () => next(16).toString(16)).join("");
  const levels = ["info", "info", "info", "warn", "debug", "error"];
  const paths = ["/api/v1/orders", "/api/v1/carts", "/health", "/api/v2/search", "/login"];
  const line = (i) =>
    `{"ts":"2026-11-20T10:${String(i % 60).padStart(2, "0")}:${String(next(60)).padStart(2, "0")}.${hex(3)}Z","level":"${levels[next(6)]}",` +
    `"path":"${paths[next(5)]}","status":${200 + next(4) * 100},"took_ms":${next(2000)},"trace":"${hex(16)}","user":${next(1e6)}}\n`;
  return Array.from({ length: count }, (_, i) => {
    let text = "";
    while (text.length < bytes) text += line(i);
    return Buffer.from(text.slice(0, bytes), "latin1");
  });
}
