import { TierlogError, type Effect, type ErrorKind } from "../../errors.ts";
import type { ConfigSource } from "../context.ts";
import type { ReadResult } from "./read-demo.ts";

/** What the demo writes to the stdin of its child. There and not in the arguments, because flags may hold secrets. */
export interface ReadJob {
  readonly source: ConfigSource;
  readonly topic: string;
}

/** What the child answers on stdout. */
export type ReadAnswer =
  | { readonly ok: true; readonly result: ReadResult }
  | { readonly ok: false; readonly error: Record<string, unknown> };

/** An error of the child, with its kind, code and data. */
export class ReaderError extends TierlogError {
  readonly kind: ErrorKind;
  readonly code: `TIERLOG_${string}`;
  readonly #data: Record<string, unknown>;

  constructor(json: Record<string, unknown>) {
    const { kind, code, effect, message, ...data } = json;
    super(`reading back: ${String(message)}`, { effect: effect as Effect });
    this.kind = kind as ErrorKind;
    this.code = code as `TIERLOG_${string}`;
    this.#data = data;
  }

  override data(): Record<string, unknown> {
    return this.#data;
  }
}
