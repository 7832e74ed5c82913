import type { Readable, Writable } from "node:stream";

import { asTierlogError, InvalidArgumentError, isTierlogError, type TierlogError } from "../errors.ts";
import type { Environment } from "../runtime/environment.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { parseArguments, type ParsedArguments } from "./arguments.ts";
import type { Command } from "./command.ts";
import { COMMANDS } from "./commands/commands.ts";
import { commandHelp, groupHelp, overviewHelp, unknownCommand } from "./commands/help.ts";
import { EXIT_OK } from "./exit-code.ts";
import type { Interruption } from "./interruption.ts";
import { BrokenPipe, Output } from "./output.ts";
import { parseSetFlags } from "./set-flags.ts";

const LISTED_MAX = 5;

/** What a command line runs in. */
export interface Surroundings {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly stderrIsTerminal: boolean;
  /** Of stdout, where it is a terminal. */
  readonly stdoutColumns?: number | undefined;
  readonly env: Environment;
  readonly cwd: string;
  readonly version: string;
  readonly runtime: Runtime;
  readonly interruption: Interruption;
}

/** Runs one command line to its end. Resolves to the exit code; never rejects. */
export async function run(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const { stdout, stderr, env, stdoutColumns: columns } = surroundings;
  const dashes = argv.indexOf("--");
  // Decided before anything can fail: the error of a bad argument is to be JSON too.
  const json = (dashes === -1 ? argv : argv.slice(0, dashes)).includes("--json");
  const { clock } = surroundings.runtime;
  const output = new Output({ stdout, stderr, terminal: surroundings.stderrIsTerminal, columns, json, clock });
  try {
    return await dispatch(argv, surroundings, output);
  } catch (error) {
    if (error instanceof BrokenPipe) return EXIT_OK;
    return fail(error, output, env);
  } finally {
    output.clearProgress();
  }
}

async function dispatch(argv: readonly string[], surroundings: Surroundings, output: Output): Promise<number> {
  const [first, second] = argv;
  if (first === undefined || first === "--help" || first === "-h" || (first === "help" && second === undefined)) {
    return print(output, overviewHelp(COMMANDS));
  }
  if (first === "--version") return print(output, `${surroundings.version}\n`);
  const group = COMMANDS.filter(({ name }) => name.startsWith(`${first === "help" ? second : first} `));
  const askedForGroup = argv.length === 2 && (first === "help" || second === "--help" || second === "-h");
  if (group.length > 0 && askedForGroup) return print(output, groupHelp(group));
  if (first === "help") return print(output, commandHelp(find(argv.slice(1)).command));

  const { command, rest } = find(argv);
  const args = parseArguments(command, rest);
  if (args.has("help")) return print(output, commandHelp(command));
  return command.run(contextOf(surroundings, output, args), args);
}

function contextOf(surroundings: Surroundings, output: Output, args: ParsedArguments): Parameters<Command["run"]>[0] {
  const { stdin, env, cwd, runtime, interruption } = surroundings;
  return {
    output,
    stdin,
    env,
    configSource: { file: args.text("config"), flags: parseSetFlags(args.texts("set")), cwd },
    runtime: { ...runtime, logger: outputLogger(output, env), environment: env },
    interruption,
  };
}

/** The command that the first one or two words name, and what follows them. */
function find(words: readonly string[]): { command: Command; rest: readonly string[] } {
  for (const count of [2, 1]) {
    const name = words.slice(0, count).join(" ");
    const command = COMMANDS.find((candidate) => candidate.name === name);
    if (command !== undefined) return { command, rest: words.slice(count) };
  }
  const [first = ""] = words;
  if (first.startsWith("-")) {
    throw new InvalidArgumentError(first, undefined, "flags follow the command, as in tierlog doctor --config FILE");
  }
  throw unknownCommand(words, COMMANDS);
}

async function print(output: Output, text: string): Promise<number> {
  await output.write(text);
  return EXIT_OK;
}

function fail(error: unknown, output: Output, env: Environment): number {
  const known: TierlogError = asTierlogError(error);
  if (known.kind === "internal") {
    output.message("This is a bug of tierlog: please report it, with the stack that TIERLOG_DEBUG=1 shows.");
  }
  const stack = isTierlogError(error) || !(error instanceof Error) ? known.stack : error.stack;
  if (isDebug(env)) output.message(stack ?? "no stack", { code: known.code });
  output.error(known);
  return known.exitCode;
}

/** What the engine has to say, beside the errors that the commands get. */
function outputLogger(output: Output, env: Environment): Logger {
  return {
    info: (message, fields) => {
      if (isDebug(env)) output.message(withFields(message, fields), fields);
    },
    warn: (message, fields) => output.message(`warning: ${withFields(message, fields)}`, fields),
  };

  function withFields(message: string, fields: Record<string, unknown> | undefined): string {
    if (output.json || fields === undefined) return message;
    const { problem, ...rest } = fields;
    const sentence = typeof problem === "string" ? `${message}: ${problem}` : message;
    const facts = Object.entries(rest).map(([name, value]) =>
      typeof value === "object" && value !== null ? `${name}: ${textOf(value)}` : `${name} ${textOf(value)}`,
    );
    return facts.length === 0 ? sentence : `${sentence} (${facts.join(", ")})`;
  }
}

/** For a person: of a long list only the beginning, for `--json` has all of it. */
function textOf(value: unknown): string {
  if (Array.isArray(value)) {
    const shown = value.slice(0, LISTED_MAX).map(textOf).join("; ");
    return value.length > LISTED_MAX ? `${shown}; … (${value.length} in all)` : shown;
  }
  if (typeof value === "object" && value !== null) {
    return Object.entries(value)
      .map(([name, inner]) => `${name} ${textOf(inner)}`)
      .join(", ");
  }
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "undefined");
}

function isDebug(env: Environment): boolean {
  const value = env["TIERLOG_DEBUG"] ?? "";
  return value !== "" && value !== "0";
}
