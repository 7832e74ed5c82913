import { request } from "node:http";
import { fileURLToPath } from "node:url";

/** Starts the null S3 server; it ends with the workspace. Its bucket is "bench"; buckets "null-…" take and forget everything. */
export async function startSink(workspace) {
  const child = workspace.spawn(process.execPath, [fileURLToPath(new URL("null-s3.mjs", import.meta.url))]);
  const line = await firstLine(child);
  const { port, region, accessKeyId, secretAccessKey } = JSON.parse(line);
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    port,
    region,
    credentials: { accessKeyId, secretAccessKey },
    /** As the configuration of tierlog takes it. */
    flags: {
      "system.storage.kind": "object",
      "system.storage.object.endpoint": url,
      "system.storage.object.bucket": "bench",
      "system.storage.object.access_key_id": accessKeyId,
      "system.storage.object.secret_access_key": secretAccessKey,
    },
    stats: async () => JSON.parse(await control("GET", `${url}/_bench/stats`)),
    setDelay: (ms) => control("POST", `${url}/_bench/delay?ms=${ms}`),
  };
}

/** Resolves to the first line that a child prints; rejects where it ends before. */
export function firstLine(child) {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (chunk) => {
      text += chunk;
      if (text.includes("\n")) resolve(text.slice(0, text.indexOf("\n")));
    });
    child.once("error", reject);
    child.once("exit", (code, signal) => reject(new Error(`${child.spawnfile} ended with ${signal ?? code}`)));
  });
}

function control(method, url) {
  return new Promise((resolve, reject) => {
    request(url, { method, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve(text));
      response.on("error", reject);
    })
      .on("error", reject)
      .end();
  });
}
