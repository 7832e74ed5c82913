export interface FlagSpec {
  /** Without dashes. */
  readonly name: string;
  /** What stands for the value in the help, as in "FILE"; a flag without one is on or off. */
  readonly value?: string;
  /** May be given more than once. */
  readonly multiple?: boolean;
  readonly help: string;
}

/** What a command takes. */
export interface Signature {
  /** One word, or two as in "topics create". */
  readonly name: string;
  /** What follows the name, as in "NAME --partitions N [flags]". */
  readonly usage: string;
  readonly flags: readonly FlagSpec[];
  /** Names of the arguments that must stand there, for messages. */
  readonly positionals: readonly string[];
  /** More arguments may follow those. */
  readonly rest?: boolean;
}

/** Flags that every command has. */
export const COMMON_FLAGS: readonly FlagSpec[] = [
  { name: "config", value: "FILE", help: "read the configuration from this TOML file (default: built-in values)" },
  {
    name: "set",
    value: "KEY=VALUE",
    multiple: true,
    help: "set one key of the configuration, as in system.flush.linger=50ms; may be repeated; overrides file and environment",
  },
  { name: "json", help: "write data as JSON to stdout, and messages as JSON lines to stderr" },
  { name: "help", help: "show this help" },
];
