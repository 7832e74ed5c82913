/**
 * A plugin for vitest: what the sources start as a program of its own (`new URL("./x.js", import.meta.url)`) is the built file, as it is
 * once they are built themselves. Node loads no TypeScript in a thread.
 */
export const builtModules = {
  name: "built-modules",
  transform(code: string, id: string): string | undefined {
    const from = /^(.*\/)src(\/.*\.ts)$/.exec(id);
    if (from === null) return undefined;
    return code.replace(/new URL\("(\.[^"]+\.js)", import\.meta\.url\)/g, (_, path: string) => {
      return `new URL(${JSON.stringify(new URL(path, `file://${from[1]}dist${from[2]}`).href)})`;
    });
  },
};
