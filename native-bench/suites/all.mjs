import { append } from "./append.mjs";
import { flush } from "./flush.mjs";
import { pipeline } from "./pipeline.mjs";

export const SUITES = [append, flush, pipeline];
