import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(import.meta.url);

/** A package of native-bench/peers, or `{ skipped }`: they are no dependencies of tierlog, and are installed for benchmarks alone. */
export async function importPeer(name) {
  let path;
  try {
    path = require.resolve(name, { paths: [import.meta.dirname] });
  } catch {
    return { skipped: `${name} is not installed: npm run bench:peers:install` };
  }
  // Not from a directory further up: there it may be another version.
  if (!path.startsWith(import.meta.dirname))
    return { skipped: `${name} is not installed: npm run bench:peers:install` };
  const module = await import(pathToFileURL(path).href);
  return { ...module.default, ...module, default: module.default };
}
