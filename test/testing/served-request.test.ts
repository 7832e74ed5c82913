import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

import { afterEach, expect, test } from "vitest";

import { resetSocket } from "../../src/testing/served-request.ts";

const server = createServer({ allowHalfOpen: true });

afterEach(() => {
  server.close();
});

/** Both ends of one connection. */
async function pair(): Promise<{ client: Socket; served: Socket }> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [served] = (await once(server, "connection")) as [Socket];
  // What is meant to happen to them.
  for (const socket of [client, served]) socket.on("error", () => undefined);
  return { client, served };
}

test("the other side sees a reset, not an end", async () => {
  const { client, served } = await pair();
  const error = once(client, "error");
  resetSocket(served);
  // `once` on "close" alone would reject with the error.
  const closed = new Promise((resolve) => client.once("close", resolve));
  await expect(error).resolves.toMatchObject([{ code: "ECONNRESET" }]);
  await expect(closed).resolves.toBe(true);
});

test("a connection that is being ended is closed: nobody waits for its end for ever", async () => {
  const { client, served } = await pair();
  const closed = new Promise((resolve) => served.once("close", resolve));
  served.end();
  resetSocket(served);
  await expect(closed).resolves.toBe(false);
  client.destroy();
});
