import { execFileSync } from "node:child_process";
import { readFileSync, statfsSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, cpus, loadavg, platform, release, totalmem } from "node:os";

const FILE_SYSTEMS = {
  0xef53: "ext4",
  0x58465342: "xfs",
  0x9123683e: "btrfs",
  0x01021994: "tmpfs",
  0x794c7630: "overlayfs",
};
const PEERS = ["@aws-sdk/client-s3", "@aws-sdk/lib-storage", "undici", "lmdb", "classic-level", "hypercore", "ioredis"];
const SERVERS = { "redis-server": ["--version"], "nats-server": ["--version"] };

/** What the figures were measured on: everything that is known without asking anybody. */
export function describeMachine(directory) {
  return {
    cpu: `${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown"} (${arch()})`,
    memory: `${(totalmem() / 2 ** 30).toFixed(1)} GiB`,
    disk: disk(directory),
    system: `${platform()} ${release()}`,
    load: `${loadavg()[0].toFixed(2)} before the run`,
    node: process.version,
    versions: versions(),
  };
}

function disk(directory) {
  const type = FILE_SYSTEMS[statfsSync(directory).type] ?? "unknown file system";
  try {
    // The last mount whose path the directory begins with, by the length of the path.
    const mounts = readFileSync("/proc/self/mounts", "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split(" "));
    const [device] = mounts
      .filter(([, path]) => `${directory}/`.startsWith(path.endsWith("/") ? path : `${path}/`))
      .sort((a, b) => b[1].length - a[1].length)[0];
    const name = device.replace(/^\/dev\//, "");
    const spins = readFileSync(`/sys/block/${name.replace(/p?\d+$/, "")}/queue/rotational`, "utf8").trim() === "1";
    // A virtual disk is said to rotate, whatever it is.
    return `${type} on ${name}${spins ? "" : ", solid state"}`;
  } catch {
    return type;
  }
}

function versions() {
  const found = { tierlog: JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version };
  const own = createRequire(import.meta.url);
  const peers = createRequire(new URL("../peers/package.json", import.meta.url));
  for (const name of ["lz4-napi", "@node-rs/crc32"]) found[name] = versionOf(own, name) ?? "?";
  for (const name of PEERS) found[name] = versionOf(peers, name) ?? "not installed";
  for (const [server, flags] of Object.entries(SERVERS)) found[server] = serverVersion(server, flags);
  return found;
}

/** Not by `require("x/package.json")`: many packages do not export it. */
function versionOf(require, name) {
  for (const directory of require.resolve.paths(name) ?? []) {
    try {
      return JSON.parse(readFileSync(`${directory}/${name}/package.json`, "utf8")).version;
    } catch {
      // Not in this one.
    }
  }
  return undefined;
}

function serverVersion(command, flags) {
  try {
    return /\d+\.\d+\.\d+/.exec(execFileSync(command, flags, { encoding: "utf8", stdio: "pipe" }))?.[0] ?? "?";
  } catch {
    return "not installed";
  }
}
