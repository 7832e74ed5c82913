import { append } from "./append.mjs";
import { flush } from "./flush.mjs";
import { limits } from "./limits.mjs";
import { load } from "./load.mjs";
import { loop } from "./loop.mjs";
import { merge } from "./merge.mjs";
import { micro } from "./micro.mjs";
import { partitions } from "./partitions.mjs";
import { peers } from "./peers.mjs";
import { pipeline } from "./pipeline.mjs";
import { read } from "./read.mjs";
import { soak } from "./soak.mjs";
import { uploaded } from "./uploaded.mjs";
import { verify } from "./verify.mjs";

/** In the order in which they run: each gets the machine as the ones before left it. */
export const SUITES = [
  limits,
  micro,
  append,
  flush,
  pipeline,
  uploaded,
  load,
  partitions,
  read,
  loop,
  merge,
  verify,
  peers,
  soak,
];
