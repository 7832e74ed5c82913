import { execFileSync, spawnSync } from "node:child_process";
import { appendFile, mkdir, mkdtemp, readFile, rm, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What this machine lets a test do. In CI both must be there: a suite that looks away is no proof. */
export interface Powers {
  /** `strace` can trace our own children: faults of single system calls. */
  readonly strace: boolean;
  /** We may mount a tmpfs. */
  readonly mount: boolean;
}

/** Says loudly what is missing; throws in CI. */
export async function findPowers(): Promise<Powers> {
  const directory = await mkdtemp(join(tmpdir(), "tierlog-mount-"));
  const strace = spawnSync("strace", ["-qq", "-o", "/dev/null", "-e", "trace=none", "true"]);
  const mount = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tierlog-crash", directory]);
  if (mount.status === 0) execFileSync("umount", [directory]);
  await rmdir(directory);
  const powers = { strace: strace.status === 0, mount: mount.status === 0 };
  const missing = [
    ...(powers.strace
      ? []
      : [`strace cannot trace (${strace.error?.message ?? strace.stderr.toString().trim()}): no failing syncs`]),
    ...(powers.mount
      ? []
      : [`no tmpfs can be mounted (${mount.error?.message ?? mount.stderr.toString().trim()}): no full disks`]),
  ];
  for (const line of missing) console.error(`\n*** SKIPPED: ${line} ***\n`);
  if (missing.length > 0 && process.env["CI"] !== undefined) throw new Error(missing.join("; "));
  return powers;
}

export interface SyscallFault {
  readonly call: "pwrite64" | "fdatasync" | "fsync" | "write" | "rename";
  readonly what: "error=EIO" | "signal=SIGKILL";
  /** Counted for each thread of its own. */
  readonly nth: number;
  /** Every one from the nth on, else the nth alone. */
  readonly onwards: boolean;
}

/** A command under which the system calls of a process on `files` fail. `log` tells afterwards whether one did. */
export function underStrace(fault: SyscallFault, files: readonly string[], log: string): string[] {
  const inject = `inject=${fault.call}:${fault.what}:when=${fault.nth}${fault.onwards ? "+" : ""}`;
  const paths = files.flatMap((file) => ["-P", file]);
  // Stopping at no other calls is faster, but strace 6.1 then loses the signals that it is to send.
  const fast = fault.what === "error=EIO" ? ["--seccomp-bpf"] : [];
  return ["strace", "-f", "-qq", "-o", log, ...fast, ...paths, "-e", `trace=${fault.call}`, "-e", inject];
}

/** Whether a call was answered with an error that was not the kernel's. */
export async function injected(log: string): Promise<boolean> {
  const text = await readFile(log, "utf8").catch(() => "");
  return text.includes("(INJECTED)");
}

/** A file system of its own, `mebibytes` large. */
export class TinyDisk {
  readonly path: string;

  static async mount(path: string, mebibytes: number): Promise<TinyDisk> {
    await mkdir(path, { recursive: true });
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "tierlog-crash", path]);
    return new TinyDisk(path);
  }

  private constructor(path: string) {
    this.path = path;
  }

  /** Takes all but `leave` MiB of what is free. */
  async fill(leave: number): Promise<void> {
    const chunk = Buffer.alloc(64 * 1024);
    const free = Number(execFileSync("df", ["--output=avail", "-k", this.path], { encoding: "utf8" }).split("\n")[1]);
    for (let left = free - leave * 1024; left >= 64; left -= 64) await appendFile(join(this.path, "ballast"), chunk);
  }

  async free(): Promise<void> {
    await rm(join(this.path, "ballast"), { force: true });
  }

  unmount(): void {
    execFileSync("umount", ["-l", this.path]);
  }
}
