/**
 * tierlog/testing: an S3 server inside the process, faults before and after the commit of its requests (or of a real server's),
 * and the contract of `ObjectStore` as a test suite. See docs/testing.md.
 */
export { S3Endpoint, type S3EndpointOptions } from "./s3-endpoint.ts";
export { createS3Backend, type S3Backend, type S3BackendOptions } from "./s3/backend.ts";
export { S3_PROVIDERS, S3_TRAITS, type S3Character, type S3Provider, type S3Trait } from "./s3/character.ts";
export type { S3Action, S3Credential } from "./s3/credentials.ts";
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
export type { ConformanceCase, MakeStore, StoreUnderTest } from "./conformance/conformance-case.ts";
export { multipartConformance } from "./conformance/multipart.ts";
export { objectStoreConformance } from "./conformance/object-store.ts";
