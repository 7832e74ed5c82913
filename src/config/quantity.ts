/** What a value turned out to be, or the rest of a sentence that begins with the value: `"4 MB" ` + `has …`. */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };

/** Units of one kind of quantity, smallest first. */
export interface QuantityKind {
  /** As in "a size". */
  readonly noun: string;
  /** As in "8 MiB". */
  readonly example: string;
  readonly units: readonly { readonly name: string; readonly factor: number }[];
  /** Between number and unit when written for people. */
  readonly separator: "" | " ";
  /** Units that people write and that mean something else here, with what to say. */
  readonly refused?: ReadonlyMap<string, string>;
}

/** Reads a whole number with a unit; white space between the two is free. */
export function parseQuantity(kind: QuantityKind, text: string): Parsed<number> {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-zµ]*)$/.exec(text);
  const [, digits, unitName] = match ?? [];
  if (digits === undefined || unitName === undefined) {
    return problem(`is not ${kind.noun}; write a whole number with a unit, as in "${kind.example}"`);
  }
  const names = kind.units.map((unit) => unit.name).join(", ");
  if (unitName === "") return problem(`has no unit; write ${kind.noun} as in "${kind.example}" (units: ${names})`);
  const unit = kind.units.find((candidate) => candidate.name === unitName);
  if (unit === undefined) {
    return problem(kind.refused?.get(unitName) ?? `has the unknown unit "${unitName}" (units: ${names})`);
  }
  if (digits.includes(".")) return problem("is not a whole number; use the next smaller unit");
  const value = Number(digits) * unit.factor;
  if (!Number.isSafeInteger(value)) return problem("is too large");
  return { ok: true, value };
}

/** Writes a quantity in the largest unit that divides it; `parseQuantity` reads it back unchanged. */
export function formatQuantity(kind: QuantityKind, value: number): string {
  const [smallest] = kind.units;
  let best = smallest;
  for (const unit of kind.units) if (value % unit.factor === 0 && value >= unit.factor) best = unit;
  return best === undefined ? String(value) : `${value / best.factor}${kind.separator}${best.name}`;
}

function problem(text: string): Parsed<number> {
  return { ok: false, problem: text };
}
