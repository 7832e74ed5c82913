import type { StoredRecord } from "../../record/record.ts";
import { dataProblem } from "../verify/data-problem.ts";

export type DumpItemType =
  | "object"
  | "json"
  | "header"
  | "link"
  | "entry"
  | "data-object"
  | "superseded"
  | "extent"
  | "batch"
  | "record"
  | "footer"
  | "state"
  | "fence"
  | "partition"
  | "journal"
  | "frame"
  | "torn-tail"
  | "damage";

/** One part of an object, in the order in which the parts lie there or refer to each other. */
export interface DumpItem {
  readonly type: DumpItemType;
  /** How deep it lies within other parts. */
  readonly depth: number;
  /** Its first byte in the object or file. */
  readonly position?: number | undefined;
  readonly fields?: Readonly<Record<string, unknown>>;
  /** Of type "record". */
  readonly record?: StoredRecord;
}

/** What an error about data says; any other is thrown again. `position`: where none is known. */
export function damageItem(error: unknown, depth: number, position?: number): DumpItem {
  const found = dataProblem(error);
  return { type: "damage", depth, position: found.position ?? position, fields: { problem: found.problem } };
}

export function damageAt(position: number, depth: number, problem: string): DumpItem {
  return { type: "damage", depth, position, fields: { problem } };
}

/** The bytes of one object or file. */
export interface ByteSource {
  /** For messages. */
  readonly name: string;
  readonly sizeBytes: number;
  /** Fewer where the object ends before. */
  read(start: number, end: number): Promise<Uint8Array>;
}
