/** Plain data as an expression of JavaScript that makes it again. Fields that are undefined are left out. */
export function sourceOf(value: unknown): string {
  if (value instanceof RegExp) return String(value);
  if (Array.isArray(value)) return `[${value.map(sourceOf).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const fields = Object.entries(value).filter(([, field]) => field !== undefined);
    return fields.length === 0
      ? "{}"
      : `{ ${fields.map(([name, field]) => `${name}: ${sourceOf(field)}`).join(", ")} }`;
  }
  return typeof value === "number" ? String(value) : JSON.stringify(value);
}
