/** `tierlog/testing`: parts for tests of code that talks to S3. See docs/testing.md. */
export { FAULTS, FAULT_KINDS, type Fault, type FaultDescription, type FaultKind } from "./fault.ts";
export type { FaultMatch, FaultRule } from "./fault-rule.ts";
export {
  FaultScript,
  randomFaults,
  type AddedRule,
  type FaultScriptOptions,
  type FiredFault,
  type RandomFaults,
} from "./fault-script.ts";
export type { HttpAnswer, HttpBackend, HttpRequest } from "./http-exchange.ts";
export { HttpServer, type HttpServerOptions } from "./http-server.ts";
export type { RequestCounts } from "./request-counts.ts";
export type { S3Call, S3Operation } from "./s3-call.ts";
export { S3Proxy, type S3ProxyOptions } from "./s3-proxy.ts";
