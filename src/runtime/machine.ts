import { cpus, totalmem } from "node:os";

/** What measurements depend on, for people. */
export interface Machine {
  /** As in "Intel(R) Xeon(R)"; "unknown" where the system does not say. */
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly platform: string;
  /** As in "v20.19.0". */
  readonly node: string;
}

export function describeMachine(): Machine {
  const cores = cpus();
  return {
    cpu: cores[0]?.model.trim() ?? "unknown",
    cores: cores.length,
    memoryBytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
  };
}
