import { execFileSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { connect, createServer } from "node:net";

import { importPeer } from "./import-peer.mjs";

/** Servers on this machine: started in the workspace, on loopback alone, and ended with the peer. */

const KEPT = 100_000;

/** `fsync`: redis's appendfsync. */
export const redis =
  (fsync) =>
  async ({ workspace, values }) => {
    const started = await server(workspace, "redis-server", "redis-server", (port, directory) => [
      "--port",
      port,
      "--bind",
      "127.0.0.1",
      "--dir",
      directory,
      "--save",
      "",
      "--appendonly",
      "yes",
      "--appendfsync",
      fsync,
      "--loglevel",
      "warning",
    ]);
    if (started.skipped !== undefined) return started;
    const peer = await importPeer("ioredis");
    if (peer.skipped !== undefined) {
      await started.stop();
      return peer;
    }
    const client = new peer.Redis({ host: "127.0.0.1", port: started.port, enableAutoPipelining: true });
    let n = 0;
    return {
      append: () => client.xadd("bench", "MAXLEN", "~", KEPT, "*", "v", values[n++ % values.length]),
      async close() {
        client.disconnect();
        await started.stop();
      },
    };
  };

/** A stream in files; the server does not sync before it acknowledges. */
export const nats = async ({ workspace, values }) => {
  const started = await server(workspace, "nats-server", "nats-server", (port, directory) => [
    "--addr",
    "127.0.0.1",
    "--port",
    port,
    "--jetstream",
    "--store_dir",
    directory,
  ]);
  if (started.skipped !== undefined) return started;
  const [transport, stream] = [await importPeer("@nats-io/transport-node"), await importPeer("@nats-io/jetstream")];
  if (transport.skipped !== undefined || stream.skipped !== undefined) {
    await started.stop();
    return transport.skipped === undefined ? stream : transport;
  }
  const connection = await transport.connect({ servers: `127.0.0.1:${started.port}` });
  const manager = await stream.jetstreamManager(connection);
  await manager.streams.add({ name: "bench", subjects: ["bench"], storage: "file", max_msgs: KEPT, discard: "old" });
  const client = stream.jetstream(connection);
  let n = 0;
  return {
    append: () => client.publish("bench", values[n++ % values.length], { timeout: 30_000 }),
    async close() {
      await connection.close();
      await started.stop();
    },
  };
};

/** Not measured: its clients (0.6, 1.0) ask RabbitMQ 3.10, which Debian 12 has, something that it does not know, and it hangs up. */
export const rabbitmq = async () => ({
  skipped: "rabbitmq-stream-js-client does not speak with RabbitMQ 3.10, the one that Debian 12 has",
});

function has(command) {
  try {
    execFileSync("which", [command], { stdio: "pipe" });
    return true;
  } catch {
    return false;
  }
}

async function server(workspace, command, debianPackage, flags) {
  if (!has(command)) return { skipped: `${command} is not installed: apt-get install ${debianPackage}` };
  const directory = workspace.path(command);
  await mkdir(directory);
  const port = await freePort();
  const child = workspace.spawn(command, flags(String(port), directory).map(String), {
    stdio: ["ignore", "ignore", "ignore"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  await answering(port, child);
  return {
    port,
    async stop() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** Until something listens on `port`, 10 s at most. */
async function answering(port, child) {
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with ${child.exitCode}`);
    const open = await new Promise((resolve) => {
      const socket = connect(port, "127.0.0.1", () => resolve(true)).once("error", () => resolve(false));
      socket.once("close", () => resolve(false)).setTimeout(1000, () => socket.destroy());
      socket.once("connect", () => socket.end());
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${child.spawnfile} does not answer on port ${port}`);
}
