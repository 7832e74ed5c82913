export { filled } from "../../src/testing/conformance/sample-bytes.ts";
