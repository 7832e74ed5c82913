import type { ParsedArguments } from "./arguments.ts";
import type { CommandContext } from "./context.ts";
import type { Signature } from "./signature.ts";

export interface Command extends Signature {
  readonly summary: string;
  /** Of the help. */
  readonly details: string;
  readonly examples: readonly string[];
  /** Resolves to the exit code; errors are told by the caller. */
  run(context: CommandContext, args: ParsedArguments): Promise<number>;
}
