import type { ConfigIssue } from "../errors.ts";

/** A value that somebody gave for a key, not yet checked. */
export interface Setting {
  /** As in `system.flush.linger`. */
  readonly path: string;
  readonly raw: unknown;
  /** "toml": a value of the file. "text": from the environment or the command line. "value": from a program, as in `Config`. */
  readonly form: "toml" | "text" | "value";
  /** As in `file /etc/tierlog.toml`, `env AWS_REGION`, `flag --set`. */
  readonly source: string;
  /** Where a relative `system.path` counts from. */
  readonly directory: string;
}

/** What one place of the configuration said, with what could not be understood. */
export interface Settings {
  readonly settings: readonly Setting[];
  readonly issues: readonly ConfigIssue[];
}
