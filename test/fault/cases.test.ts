import { startEndpoint } from "../support/endpoint.ts";
import { describeFaultCases } from "./cases.ts";

describeFaultCases("the endpoint in this process", (faults) => startEndpoint({ faults }));
