import { append } from "./append.mjs";

export const SUITES = [append];
