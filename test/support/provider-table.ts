import { PROVIDER_PRESETS, type ProviderPreset } from "../../src/config/provider-presets.ts";

const HEAD = [
  "provider",
  "`provider =`",
  "address",
  "region",
  "create-if-absent",
  "fencing",
  "known from",
  "If-Match",
  "wrong checksum",
  "parts",
  "versioning",
];

/** The table of docs/providers.md, each line with its end. */
export function providerTable(): string {
  const rows = [HEAD, HEAD.map(() => "---"), ...PROVIDER_PRESETS.map(row)];
  return rows.map((cells) => `| ${cells.join(" | ")} |\n`).join("");
}

function row(preset: ProviderPreset): string[] {
  const { title, name, facts } = preset;
  return [
    `[${title}](#${anchorOf(title)})`,
    `\`${name}\``,
    address(preset),
    preset.region === undefined ? `given, as in \`${preset.exampleRegion}\`` : `\`${preset.region}\``,
    `\`${preset.createIfAbsent}\``,
    facts.fencing,
    facts.evidence,
    facts.ifMatch,
    facts.checksums,
    facts.parts,
    facts.versioning,
  ];
}

function address({ endpoint, pathStyle }: ProviderPreset): string {
  if (endpoint === "aws") return "AWS";
  const style = pathStyle ? "" : ", host style";
  return `${endpoint === undefined ? "given" : `\`${endpoint}\``}${style}`;
}

/** As GitHub makes them. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
    .replaceAll(" ", "-");
}
