/** tierlog/testing: an S3 server inside the process, and the contract of `ObjectStore` as a test suite. See docs/testing.md. */
export { S3Endpoint } from "./s3-endpoint.ts";
export { createS3Backend, type S3Backend, type S3BackendOptions } from "./s3/backend.ts";
export { S3_PROVIDERS, S3_TRAITS, type S3Character, type S3Provider, type S3Trait } from "./s3/character.ts";
export type { S3Action, S3Credential } from "./s3/credentials.ts";
export type { HttpAnswer, HttpBackend, HttpRequest } from "./http-exchange.ts";
export type { ConformanceCase, MakeStore, StoreUnderTest } from "./conformance/conformance-case.ts";
export { multipartConformance } from "./conformance/multipart.ts";
export { objectStoreConformance } from "./conformance/object-store.ts";
