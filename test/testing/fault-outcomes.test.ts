import { describe } from "vitest";

import { startEndpoint } from "../support/endpoint.ts";
import type { OpenFaultyServer } from "./faulty-server.ts";
import { describeMultipartOutcomes } from "./multipart-outcomes.ts";
import { describePutOutcomes } from "./put-outcomes.ts";
import { describeRandomOutcomes } from "./random-outcomes.ts";
import { describeReadOutcomes } from "./read-outcomes.ts";

const open: OpenFaultyServer = (faults) => startEndpoint({ faults });

/** The same behind the proxy, on a real server: fault-outcomes.s3.test.ts. */
describe("the settled store on the endpoint", () => {
  describe("put", () => {
    describePutOutcomes(open);
  });
  describe("read and delete", () => {
    describeReadOutcomes(open);
  });
  describe("multipart", () => {
    describeMultipartOutcomes(open);
  });
  describe("random faults", () => {
    describeRandomOutcomes(open, 2);
  });
});
