import { InvariantError } from "../errors.ts";
import type { Frame, FrameInput } from "./frame.ts";
import type { JournalOptions } from "./options.ts";
import type { AsideReport, JournalMetrics, OpenReport } from "./reports.ts";

/** The local write-ahead log of one shard. */
export class Journal {
  /** What opening found. */
  readonly opened: OpenReport;

  private constructor(opened: OpenReport) {
    this.opened = opened;
  }

  static open(options: JournalOptions, mode: "create"): Promise<Journal>;
  static open(options: JournalOptions, mode: "existing"): Promise<Journal | undefined>;
  static open(_options: JournalOptions, _mode: "create" | "existing"): Promise<Journal | undefined> {
    throw new InvariantError("the journal has no body yet");
  }

  get journalId(): string {
    throw new InvariantError("the journal has no body yet");
  }

  knowsFence(_writeId: string): boolean {
    throw new InvariantError("the journal has no body yet");
  }

  recordFence(_writeId: string): Promise<void> {
    throw new InvariantError("the journal has no body yet");
  }

  fenceLive(_writeId: string): void {
    throw new InvariantError("the journal has no body yet");
  }

  renewId(): Promise<void> {
    throw new InvariantError("the journal has no body yet");
  }

  frames(): AsyncIterable<Frame> {
    throw new InvariantError("the journal has no body yet");
  }

  frameBytes(_extents: number, _payloadBytes: number): number {
    throw new InvariantError("the journal has no body yet");
  }

  payloadBytesMax(_extents: number): number {
    throw new InvariantError("the journal has no body yet");
  }

  hasRoom(_extents: number, _payloadBytes: number): boolean {
    throw new InvariantError("the journal has no body yet");
  }

  append(_frame: FrameInput): Promise<number> {
    throw new InvariantError("the journal has no body yet");
  }

  readPayload(_sequence: number): Promise<Uint8Array> {
    throw new InvariantError("the journal has no body yet");
  }

  readPiece(_sequence: number, _position: number, _lengthBytes: number): Promise<Uint8Array> {
    throw new InvariantError("the journal has no body yet");
  }

  free(_through: number): void {
    throw new InvariantError("the journal has no body yet");
  }

  setAside(_through: number): Promise<AsideReport> {
    throw new InvariantError("the journal has no body yet");
  }

  metrics(): JournalMetrics {
    throw new InvariantError("the journal has no body yet");
  }

  close(): Promise<void> {
    throw new InvariantError("the journal has no body yet");
  }
}
