// Appends records to a topic and reads them back. Run it twice: the log goes on where it was.
//   node examples/embed.mjs [DIRECTORY]
import { Engine, defaultConfig, isTierlogError } from "tierlog";

const config = defaultConfig({
  path: process.argv[2] ?? "./tierlog-data",
  storage: { kind: "fs" }, // for S3: kind: "object", object: { bucket: "my-bucket", region: "eu-central-1" }
  flush: { lingerMs: 20 },
});

const engine = await Engine.open(config);
try {
  const topics = await engine.listTopics();
  if (!topics.some(({ name }) => name === "orders")) {
    await engine.createTopic("orders", { partitions: 3, compression: "lz4" });
  }
  const orders = await engine.topic("orders");

  // Resolves when the records are in the store: one receipt for each partition touched.
  const receipts = await orders.append([
    { key: Buffer.from("customer-1"), value: Buffer.from("2 apples") },
    {
      key: Buffer.from("customer-2"),
      value: Buffer.from("1 pear"),
      headers: [{ key: "trace", value: Buffer.from("7f") }],
    },
  ]);
  for (const { partition, firstOffset, nextOffset, level, epoch } of receipts) {
    console.log(`partition ${partition}: offsets ${firstOffset} … ${nextOffset - 1} ${level}, epoch ${epoch}`);
  }

  for (let number = 0; number < orders.description.partitions; number++) {
    for await (const { offset, key, value } of orders.partition(number).records({ from: "earliest" })) {
      console.log(`${number}/${offset} ${Buffer.from(key ?? [])}: ${Buffer.from(value ?? [])}`);
    }
  }
} catch (error) {
  if (!isTierlogError(error)) throw error;
  // `kind` says what to do next, `effect` whether the append may be stored all the same.
  console.error(`${error.code} (${error.kind}, effect ${error.effect}): ${error.message}`);
  process.exitCode = error.exitCode;
} finally {
  await engine.close();
}
