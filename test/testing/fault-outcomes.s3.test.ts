import { describe } from "vitest";

import { S3Proxy } from "../../src/testing/s3-proxy.ts";
import { describeS3, freshPrefix, s3Settings } from "../support/s3.ts";
import type { OpenFaultyServer } from "./faulty-server.ts";
import { describeMultipartOutcomes } from "./multipart-outcomes.ts";
import { describePutOutcomes } from "./put-outcomes.ts";
import { describeRandomOutcomes } from "./random-outcomes.ts";
import { describeReadOutcomes } from "./read-outcomes.ts";

/** The proxy in front of a real server, which checks every signature. */
const open: OpenFaultyServer = async (faults) => {
  const settings = s3Settings(freshPrefix());
  const server = await S3Proxy.start({ target: settings.endpoint ?? "", faults });
  return { server, settings: { ...settings, endpoint: server.url } };
};

describeS3("the settled store behind the proxy", () => {
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
    describeRandomOutcomes(open);
  });
});
