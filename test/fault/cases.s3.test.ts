import { S3Proxy } from "../../src/testing/s3-proxy.ts";
import { describeS3, freshPrefix, s3Settings } from "../support/s3.ts";
import type { OpenFaultyServer } from "../testing/faulty-server.ts";
import { describeFaultCases } from "./cases.ts";
import { describeGarbageCases } from "./garbage-cases.ts";

describeS3("through the proxy", () => {
  const openServer: OpenFaultyServer = async (faults) => {
    const settings = s3Settings(freshPrefix());
    const server = await S3Proxy.start({ target: settings.endpoint ?? "", faults });
    return { server, settings: { ...settings, endpoint: server.url } };
  };
  describeFaultCases("a real server", openServer);
  describeGarbageCases("a real server", openServer);
});
