import { exit } from "node:process";

/** Twice `value`; ends its thread, throws or never ends where it is told to. `bytes`: set to 1, where they are shared. */
export default function run({ value, end, bytes }) {
  if (end === "exit") exit(1);
  if (end === "throw") throw new Error("no");
  if (end === "never") for (;;);
  bytes?.fill(1);
  return { doubled: value * 2 };
}
