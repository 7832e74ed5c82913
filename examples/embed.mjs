// Appends records to a topic and reads them back. Run it twice: the log goes on where it was.
//   node examples/embed.mjs [CONFIG]         without CONFIG: the directory ./tierlog-data
import { Engine, isTierlogError, loadConfig } from "tierlog";

try {
  const { config } = await loadConfig({ file: process.argv[2], env: process.env, cwd: process.cwd() });
  await appendAndRead(await Engine.open(config));
} catch (error) {
  if (!isTierlogError(error)) throw error;
  console.error(`${error.code}: ${error.message}\n${nextStep(error)}`);
  process.exitCode = error.exitCode;
}

async function appendAndRead(engine) {
  try {
    const known = (await engine.listTopics()).some(({ name }) => name === "orders");
    if (!known) await engine.createTopic("orders", { partitions: 3, compression: "lz4" });
    const orders = await engine.topic("orders");

    // Resolves when the records are in the store: one receipt for each partition touched.
    const records = ["apples", "pears"].map((key) => ({ key: Buffer.from(key), value: Buffer.from(`2 ${key}`) }));
    for (const { partition, firstOffset, level, epoch } of await orders.append(records)) {
      console.log(`partition ${partition}: offset ${firstOffset} ${level}, epoch ${epoch}`);
    }
    for await (const { offset, value } of orders.partition(0).records({ from: "earliest" })) {
      console.log(`0/${offset} ${Buffer.from(value)}`);
    }
  } finally {
    await engine.close(); // sends what is pending and gives the shards up
  }
}

// What a server tells the producer whose append failed. "none": nothing of it is in the log, nor will be. "unknown": it may be.
function nextStep({ kind, effect }) {
  if (effect === "unknown") return "perhaps stored: read before you send it again, or it may be there twice";
  if (kind === "unavailable") return "not stored: send it again later";
  return kind === "fenced" ? "not stored: another process owns this log now" : "not stored: do not send it again";
}
