import type { Config } from "../../config/config.ts";
import type { StoreCheck, StoreDiagnosis } from "../../engine/diagnose-store.ts";
import type { Command } from "../command.ts";
import { resolveContextConfig } from "../context.ts";
import { formatMilliseconds } from "../numbers.ts";
import { formatTable, wrapText } from "../table.ts";

/** Of the verdicts. 69 is also how an engine ends that refuses such a store; 76 is EX_PROTOCOL of sysexits. */
const EXIT_CODE = { fenced: 0, "single-writer only": 69, unusable: 76 } as const;

const MEANING: Record<StoreDiagnosis["verdict"], string> = {
  fenced: "The store keeps several writers apart. tierlog can use it as it is.",
  "single-writer only":
    "The store holds and serves data, but cannot keep two writers apart. tierlog refuses it, unless " +
    'system.storage.object.fencing = "external" says that something else does.',
  unusable: "tierlog cannot use this store.",
};

export const doctor: Command = {
  name: "doctor",
  usage: "[flags]",
  summary: "find out by trying whether the store can do what tierlog needs",
  details:
    "Races writers for the same key, reads back what was just written, lists, fetches ranges, uploads in parts, and looks at " +
    "permissions, clock and latency; all of it below a random prefix of its own, which it removes at the end, also after Ctrl-C. " +
    'Sends about 2,000 small requests and 25 MiB. Works with kind = "object" and "fs", beside running engines. ' +
    "Exit codes: 0 fenced; 69 single-writer only; 76 unusable; 78 wrong configuration; 130, 143 interrupted. " +
    "With --json: one object with verdict, checks (name, ok, which is null for a check that was not run, detail, severity, hint) " +
    "and latencyMs (p50, p99; null where not measured).",
  flags: [],
  positionals: [],
  examples: [
    "tierlog doctor --config config.toml",
    "tierlog doctor --config config.toml --set system.storage.object.prefix=logs",
    "tierlog doctor --config config.toml --json | jq -r '.checks[] | select(.ok == false) | .name'",
  ],

  async run(context) {
    const { output, interruption, runtime } = context;
    // Asked for before anything is written: from here on Ctrl-C goes through the clean-up.
    const { signal } = interruption;
    const { config } = await resolveContextConfig(context);
    const { diagnoseStore } = await import("../../engine/diagnose-store.ts");
    let diagnosis: StoreDiagnosis;
    try {
      diagnosis = await diagnoseStore(config, {
        signal,
        runtime,
        onProgress: ({ done, total, next }) => output.progress(`${done + 1} of ${total}: ${next}`),
      });
    } catch (error) {
      if (interruption.exitCode === undefined) throw error;
      return interruption.exitCode;
    }
    if (output.json) await output.writeJson(asJson(diagnosis));
    else await output.write(formatDiagnosis(diagnosis, placeOf(config), output.columns));
    return EXIT_CODE[diagnosis.verdict];
  },
};

function asJson({ verdict, checks, latencyMs }: StoreDiagnosis): unknown {
  return {
    verdict,
    checks: checks.map(({ name, ok, detail, severity, hint }) => ({
      name,
      ok: ok ?? null,
      detail,
      severity,
      ...(hint === undefined ? {} : { hint }),
    })),
    latencyMs: latencyMs ?? { p50: null, p99: null },
  };
}

function placeOf({ path, storage: { kind, object } }: Config): string {
  if (kind === "fs") return `directory ${path}`;
  const below = object.prefix === "" ? "" : `, prefix ${object.prefix}`;
  return `bucket ${object.bucket}${below} at ${object.endpoint ?? `AWS ${object.region}`}`;
}

/** Narrower than that no column is left for the details. */
const COLUMNS_MIN = 72;

/** `columns`: lines are wrapped there; undefined: every check is one line, for grep. */
export function formatDiagnosis(diagnosis: StoreDiagnosis, place: string, columns: number | undefined): string {
  const { verdict, because, checks, latencyMs } = diagnosis;
  const width = columns === undefined ? Number.POSITIVE_INFINITY : Math.max(COLUMNS_MIN, columns);
  const names = Math.max(...checks.map(({ name }) => name.length), "CHECK".length);
  const detailWidth = width - names - "  RESULT  ".length;
  const rows = shownChecks(checks).flatMap((check) =>
    wrapText(check.detail, detailWidth).map((line, i) =>
      i === 0 ? [check.name, result(check), line] : ["", "", line],
    ),
  );
  const sections = [
    `${place}\n\n${formatTable(["CHECK", "RESULT", "DETAIL"], rows)}`,
    ...adviceOf(checks, width),
    [
      ...wrapText(`Verdict: ${verdict}. ${MEANING[verdict]}`, width),
      ...(because.length === 0 ? [] : wrapText(`Because of: ${because.join("; ")}.`, width)),
      ...(latencyMs === undefined
        ? []
        : wrapText(
            `An ack takes at least one PUT: ${formatMilliseconds(latencyMs.p50)} median, ${formatMilliseconds(latencyMs.p99)} for ` +
              "the slowest 1 %, and what the records waited for their flush.",
            width,
          )),
    ].join("\n"),
  ];
  return `${sections.join("\n\n")}\n`;
}

/** More checks than these that were not run for one reason become one line. */
const SAME_REASON_MAX = 3;

function shownChecks(checks: readonly StoreCheck[]): readonly StoreCheck[] {
  const shown: StoreCheck[] = [];
  const collapsed = new Set<string>();
  for (const check of checks) {
    const same = checks.filter(({ ok, detail }) => ok === undefined && detail === check.detail).length;
    if (same <= SAME_REASON_MAX) shown.push(check);
    else if (!collapsed.has(check.detail)) shown.push({ ...check, name: `${same} more checks` });
    if (same > SAME_REASON_MAX) collapsed.add(check.detail);
  }
  return shown;
}

function result({ ok, severity }: StoreCheck): string {
  if (ok === undefined) return "skip";
  if (severity === "info") return "info";
  if (ok) return "ok";
  return severity === "advice" ? "warn" : "FAIL";
}

/** What can be done, the worst first; one advice for all the checks that share it. */
function adviceOf(checks: readonly StoreCheck[], width: number): string[] {
  const byHint = new Map<string, StoreCheck[]>();
  for (const severity of ["required", "fencing", "advice"]) {
    for (const check of checks) {
      if (check.severity !== severity || check.hint === undefined) continue;
      byHint.set(check.hint, [...(byHint.get(check.hint) ?? []), check]);
    }
  }
  if (byHint.size === 0) return [];
  const lines = [...byHint].flatMap(([hint, concerned]) => {
    const [first = "", ...rest] = wrapText(`${concerned.map(({ name }) => name).join("; ")}: ${hint}`, width - 4);
    return [`  - ${first}`, ...rest.map((line) => `    ${line}`)];
  });
  return [["What to do", ...lines].join("\n")];
}
