import { append } from "./append.mjs";
import { flush } from "./flush.mjs";
import { load } from "./load.mjs";
import { partitions } from "./partitions.mjs";
import { peers } from "./peers.mjs";
import { pipeline } from "./pipeline.mjs";
import { soak } from "./soak.mjs";
import { uploaded } from "./uploaded.mjs";

export const SUITES = [append, flush, pipeline, uploaded, load, partitions, soak, peers];
