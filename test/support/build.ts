import { execFileSync } from "node:child_process";

/** End-to-end tests run the built CLI: a stale dist would test yesterday's code. */
export default function build(): void {
  execFileSync("npm", ["run", "--silent", "build"], { stdio: "inherit" });
}
