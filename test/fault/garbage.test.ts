import { startEndpoint } from "../support/endpoint.ts";
import { describeGarbageCases } from "./garbage-cases.ts";

describeGarbageCases("the endpoint in this process", (faults) => startEndpoint({ faults }));
