import { parseArgs } from "node:util";

import { nearest } from "../config/nearest.ts";
import { InvalidArgumentError } from "../errors.ts";
import { COMMON_FLAGS, type Signature } from "./signature.ts";

/** The arguments of one command, after its name. */
export class ParsedArguments {
  readonly positionals: readonly string[];
  readonly #values: ReadonlyMap<string, readonly string[]>;

  constructor(positionals: readonly string[], values: ReadonlyMap<string, readonly string[]>) {
    this.positionals = positionals;
    this.#values = values;
  }

  has(flag: string): boolean {
    return this.#values.has(flag);
  }

  /** The value of a flag that is given at most once. */
  text(flag: string): string | undefined {
    return this.#values.get(flag)?.[0];
  }

  texts(flag: string): readonly string[] {
    return this.#values.get(flag) ?? [];
  }

  /** A whole number within bounds, both allowed. */
  integer(flag: string, min: number, max: number): number | undefined {
    const text = this.text(flag);
    return text === undefined ? undefined : parseInteger(`--${flag}`, text, min, max);
  }

  choice<T extends string>(flag: string, options: readonly T[]): T | undefined {
    const text = this.text(flag);
    if (text === undefined) return undefined;
    const found = options.find((option) => option === text);
    if (found === undefined) {
      throw new InvalidArgumentError(`--${flag}`, text, `"${text}" is none of ${options.join(", ")}`);
    }
    return found;
  }

  /** An argument that the command's `positionals` name. */
  positional(index: number): string {
    return this.positionals[index] ?? "";
  }
}

export function parseInteger(argument: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) {
    const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `${min} … ${max}`;
    throw new InvalidArgumentError(argument, text, `"${text}" is not a whole number ${range}`);
  }
  return value;
}

/** Checks the arguments against what the command takes. `InvalidArgumentError`, with a hint where a slip is likely. */
export function parseArguments(command: Signature, argv: readonly string[]): ParsedArguments {
  const flags = [...COMMON_FLAGS, ...command.flags];
  const { tokens } = parseArgs({
    args: [...argv],
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: {
      help: { type: "boolean", short: "h" },
      ...Object.fromEntries(
        flags
          .filter(({ name }) => name !== "help")
          .map(({ name, value }) => [name, { type: value === undefined ? ("boolean" as const) : ("string" as const) }]),
      ),
    },
  });

  const positionals: string[] = [];
  const values = new Map<string, string[]>();
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const flag = flags.find(({ name }) => name === token.name);
    if (flag === undefined) throw unknownFlag(command, token.rawName, flags);
    const given = values.get(flag.name) ?? [];
    if (given.length > 0 && flag.multiple !== true && flag.value !== undefined) {
      throw new InvalidArgumentError(token.rawName, token.value, "may be given only once");
    }
    values.set(flag.name, [...given, valueOf(flag.value, token)]);
  }
  // Who asks for help need not get the rest right first.
  if (!values.has("help")) checkPositionals(command, positionals);
  return new ParsedArguments(positionals, values);
}

interface OptionToken {
  readonly rawName: string;
  readonly value: string | undefined;
  readonly inlineValue: boolean | undefined;
}

function valueOf(placeholder: string | undefined, { rawName, value, inlineValue }: OptionToken): string {
  if (placeholder === undefined) {
    if (inlineValue === true) throw new InvalidArgumentError(rawName, value, "takes no value");
    return "";
  }
  if (value === undefined) throw new InvalidArgumentError(rawName, value, `needs a value: ${rawName} ${placeholder}`);
  if (inlineValue !== true && value.startsWith("--")) {
    throw new InvalidArgumentError(
      rawName,
      value,
      `needs a value, but ${value} follows (if that is meant: ${rawName}=${value})`,
    );
  }
  return value;
}

function unknownFlag(command: Signature, rawName: string, flags: readonly { readonly name: string }[]): Error {
  const found = nearest(
    rawName,
    flags.map(({ name }) => `--${name}`),
  );
  const hint = found === undefined ? "" : `did you mean ${found}? `;
  return new InvalidArgumentError(
    rawName,
    undefined,
    `unknown flag of tierlog ${command.name}; ${hint}See tierlog ${command.name} --help`,
  );
}

function checkPositionals(command: Signature, positionals: readonly string[]): void {
  const missing = command.positionals[positionals.length];
  if (missing !== undefined) {
    throw new InvalidArgumentError(missing, undefined, `is missing: tierlog ${command.name} ${command.usage}`);
  }
  const extra = positionals[command.positionals.length];
  if (extra !== undefined && command.rest !== true) {
    throw new InvalidArgumentError(extra, undefined, `one argument too many: tierlog ${command.name} ${command.usage}`);
  }
}
