import { exit } from "node:process";

exit(4);
