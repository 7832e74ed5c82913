import type { Command } from "../command.ts";
import { benchFlush } from "./bench-flush.ts";
import { configCheck } from "./config-check.ts";
import { consume } from "./consume.ts";
import { cost } from "./cost.ts";
import { demo } from "./demo.ts";
import { doctor } from "./doctor.ts";
import { dump } from "./dump.ts";
import { gc } from "./gc.ts";
import { inspect } from "./inspect.ts";
import { journalInspect } from "./journal-inspect.ts";
import { journalSalvage } from "./journal-salvage.ts";
import { produce } from "./produce.ts";
import { recover } from "./recover.ts";
import { storesCreate } from "./stores-create.ts";
import { storesDelete } from "./stores-delete.ts";
import { storesDescribe } from "./stores-describe.ts";
import { storesList } from "./stores-list.ts";
import { topicsAlter } from "./topics-alter.ts";
import { topicsCreate } from "./topics-create.ts";
import { topicsDelete } from "./topics-delete.ts";
import { topicsDescribe } from "./topics-describe.ts";
import { topicsList } from "./topics-list.ts";
import { trim } from "./trim.ts";
import { verify } from "./verify.ts";

/** In the order of the help. */
export const COMMANDS: readonly Command[] = [
  demo,
  topicsCreate,
  topicsList,
  topicsDescribe,
  topicsAlter,
  topicsDelete,
  produce,
  consume,
  inspect,
  trim,
  gc,
  recover,
  journalInspect,
  journalSalvage,
  storesList,
  storesCreate,
  storesDescribe,
  storesDelete,
  configCheck,
  doctor,
  verify,
  dump,
  benchFlush,
  cost,
];
