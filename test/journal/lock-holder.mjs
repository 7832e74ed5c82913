// Holds the lock over the directory given as argument until it is killed. Says "held" when it has it.
import { JournalDirectory } from "../../dist/journal/journal-directory.js";
import { nodeFileSystem } from "../../dist/runtime/file-system.js";

const directory = await JournalDirectory.open({
  path: process.argv[2],
  storeId: "store-1",
  fileSystem: nodeFileSystem,
  create: true,
});
process.stdout.write("held\n");
setInterval(() => directory?.shards(), 1000);
