import { customerKeyProblem } from "./customer-key.ts";
import { formatDuration, parseDuration } from "./duration.ts";
import type { Parsed } from "./quantity.ts";
import { Secret } from "./secret.ts";
import { formatSize, parseSize } from "./size.ts";

export type ConfigValue = string | number | boolean | Secret;

/**
 * How the value of a key is written and what it may be. Problems are the rest of a sentence that begins with the value as it
 * was written, as in `"4 MiB" ` + `is below the minimum of 5 MiB`.
 */
export interface KeyType {
  /** As in `a size like "8 MiB"`. */
  readonly expects: string;
  readonly secret: boolean;
  /** A path: a relative one counts from the directory of whoever set it. */
  readonly path?: true;
  /** From a TOML value. */
  parse(raw: unknown): Parsed<ConfigValue>;
  /** From the environment or the command line. */
  parseText(text: string): Parsed<ConfigValue>;
  /** From a program: the value as it stands in `Config`. */
  accept(value: unknown): Parsed<ConfigValue>;
  /** The problem with a parsed value, if it has one. */
  check(value: ConfigValue): string | undefined;
  /** As it would be written in the file, without quotes. Secrets are masked. */
  show(value: ConfigValue): string;
}

/** Bounds of a number, both allowed; the notes say why, for the message. */
interface Bounds {
  readonly min: number;
  readonly minWhy?: string;
  readonly max: number;
  readonly maxWhy?: string;
}

export function size(bounds: Bounds): KeyType {
  return quantity(`a size like "8 MiB"`, "a whole number of bytes", parseSize, formatSize, bounds);
}

export function duration(bounds: Bounds): KeyType {
  return quantity(`a time like "250ms"`, "a whole number of milliseconds", parseDuration, formatDuration, bounds);
}

/** `"off"`, which is 0 in `Config`, or what `type` takes; a zero with a unit is neither. */
export function offOr(type: KeyType): KeyType {
  const expects = `"off" or ${type.expects}`;
  const off = { ok: true, value: 0 } as const;
  const notZero = (parsed: Parsed<ConfigValue>): Parsed<ConfigValue> =>
    parsed.ok && parsed.value === 0 ? { ok: false, problem: `${type.check(0) ?? "is 0"}; write "off"` } : parsed;
  return {
    ...type,
    expects,
    parse: (raw) => (raw === "off" ? off : typeof raw === "string" ? notZero(type.parse(raw)) : expected(expects)),
    parseText: (value) => (value === "off" ? off : notZero(type.parseText(value))),
    check: (value) => (value === 0 ? undefined : type.check(value)),
    show: (value) => (value === 0 ? "off" : type.show(value)),
  };
}

export function integer(bounds: Bounds): KeyType {
  const expects = `a whole number, ${bounds.min} … ${bounds.max}`;
  const accept = (value: unknown): Parsed<ConfigValue> =>
    Number.isSafeInteger(value) ? { ok: true, value: value as number } : expected(expects);
  return {
    expects,
    secret: false,
    parse: accept,
    parseText: (value) => (/^-?\d+$/.test(value) ? accept(Number(value)) : expected(expects)),
    accept,
    check: (value) => outside(value, bounds, String),
    show: String,
  };
}

export function text(check: (value: string) => string | undefined): KeyType {
  const expects = "a text in quotes";
  const accept = (value: unknown): Parsed<ConfigValue> =>
    typeof value === "string" ? { ok: true, value } : expected(expects);
  return {
    expects,
    secret: false,
    parse: accept,
    parseText: accept,
    accept,
    check: (value) => check(String(value)),
    show: String,
  };
}

export function choice(options: readonly string[]): KeyType {
  const list = options.map((option) => `"${option}"`).join(" or ");
  return {
    ...text((value) => (options.includes(value) ? undefined : `is not one of the choices: ${list}`)),
    expects: list,
  };
}

export function filePath(): KeyType {
  return { ...text(pathProblem), path: true };
}

function pathProblem(path: string): string | undefined {
  if (path === "") return "is empty";
  return path.includes("\0") ? "holds a NUL character" : undefined;
}

export function flag(check: (value: boolean) => string | undefined = () => undefined): KeyType {
  const accept = (value: unknown): Parsed<ConfigValue> =>
    typeof value === "boolean" ? { ok: true, value } : expected("true or false, without quotes");
  return {
    expects: "true or false",
    secret: false,
    parse: accept,
    parseText: (value) =>
      value === "true" || value === "false" ? { ok: true, value: value === "true" } : expected("true or false"),
    accept,
    check: (value) => check(value === true),
    show: String,
  };
}

/** A name that belongs to a secret: a plain string in `Config`, but people paste the secret here by mistake, so it is masked too. */
export function secretName(): KeyType {
  return {
    ...text(credentialProblem),
    secret: true,
    show: (value) => `****${String(value).length >= 16 ? String(value).slice(-4) : ""}`,
  };
}

/** A key of 256 bits, in base64. */
export function customerKey(): KeyType {
  return secret(customerKeyProblem);
}

export function secret(check: (value: string) => string | undefined = credentialProblem): KeyType {
  const accept = (value: unknown): Parsed<ConfigValue> => {
    if (value instanceof Secret) return { ok: true, value };
    return typeof value === "string" ? { ok: true, value: new Secret(value) } : expected("a text in quotes");
  };
  return {
    expects: "a text in quotes",
    secret: true,
    parse: accept,
    parseText: accept,
    accept,
    check: (value) => check(value instanceof Secret ? value.reveal() : ""),
    show: String,
  };
}

function credentialProblem(value: string): string | undefined {
  if (value === "") return "is empty";
  return /[\s\p{Cc}]/u.test(value) ? "holds white space or control characters" : undefined;
}

function quantity(
  expects: string,
  plain: string,
  parseText: (text: string) => Parsed<number>,
  format: (value: number) => string,
  bounds: Bounds,
): KeyType {
  return {
    expects,
    secret: false,
    parse: (raw) => (typeof raw === "string" ? parseText(raw) : expected(expects)),
    parseText,
    accept: (value) =>
      Number.isSafeInteger(value) && (value as number) >= 0 ? { ok: true, value: value as number } : expected(plain),
    check: (value) => outside(value, bounds, format),
    show: (value) => format(Number(value)),
  };
}

function outside(value: ConfigValue, bounds: Bounds, format: (value: number) => string): string | undefined {
  const number = Number(value);
  if (number < bounds.min) return `is below the minimum of ${format(bounds.min)}${why(bounds.minWhy)}`;
  if (number > bounds.max) return `is above the maximum of ${format(bounds.max)}${why(bounds.maxWhy)}`;
  return undefined;
}

function why(reason: string | undefined): string {
  return reason === undefined ? "" : ` (${reason})`;
}

function expected(what: string): Parsed<ConfigValue> {
  return { ok: false, problem: `is not ${what}` };
}
