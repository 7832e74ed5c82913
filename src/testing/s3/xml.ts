import { S3Refusal } from "./refusal.ts";

const NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/";

/** One element that holds text. */
export function tag(name: string, value: string | number | boolean): string {
  return `<${name}>${escapeXml(String(value))}</${name}>`;
}

/** One element that holds elements. */
export function node(name: string, children: readonly string[]): string {
  return `<${name}>${children.join("")}</${name}>`;
}

export function xmlDocument(root: string, children: readonly string[], namespace = true): Uint8Array {
  const attributes = namespace ? ` xmlns="${NAMESPACE}"` : "";
  return Buffer.from(
    `<?xml version="1.0" encoding="UTF-8"?>\n<${root}${attributes}>${children.join("")}</${root}>`,
    "utf8",
  );
}

// oxlint-disable-next-line no-control-regex -- control characters are what this looks for
const SPECIAL = /[&<>"'\u0000-\u001f]/g;
const ENTITIES: Readonly<Record<string, string>> = { "&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos" };

/** Control characters become references, as S3 writes them, although no XML 1.0 parser has to take most of them. */
function escapeXml(text: string): string {
  return text.replace(SPECIAL, (found) => `&${ENTITIES[found] ?? `#x${found.charCodeAt(0).toString(16)}`};`);
}

export interface XmlElement {
  readonly name: string;
  readonly children: readonly XmlElement[];
  /** The text directly inside, joined. */
  readonly text: string;
}

const DEPTH_MAX = 8;
const TOKEN = /<\?[\s\S]*?\?>|<!--[\s\S]*?-->|<(\/?)([A-Za-z_][\w.:-]*)((?:\s[^<>]*?)?)(\/?)>|([^<]+)/gy;

/**
 * Reads the body of a request: elements, text, character references. Attributes are not looked at, prefixes of names are cut
 * off. Throws `MalformedXML` for anything else, CDATA and document types too.
 */
export function readXml(body: Uint8Array): XmlElement {
  const text = Buffer.from(body).toString("utf8");
  const top = { name: "", children: [] as XmlElement[], text: "" };
  const open = [top];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    const current = open.at(-1);
    if (match === null || current === undefined) throw new S3Refusal("MalformedXML");
    const [, closing, qualified, , selfClosing, characters] = match;
    if (characters !== undefined) current.text += unescapeXml(characters);
    if (qualified === undefined) continue;
    const name = qualified.slice(qualified.indexOf(":") + 1);
    if (closing === "/") {
      if (current.name !== name || open.length === 1) throw new S3Refusal("MalformedXML");
      open.pop();
      continue;
    }
    const element = { name, children: [] as XmlElement[], text: "" };
    current.children.push(element);
    if (selfClosing !== "/") open.push(element);
    if (open.length > DEPTH_MAX) throw new S3Refusal("MalformedXML");
  }
  const [root] = top.children;
  if (open.length > 1 || top.children.length !== 1 || root === undefined || top.text.trim() !== "") {
    throw new S3Refusal("MalformedXML");
  }
  return root;
}

/** Text of the first child of that name; undefined where there is none. */
export function childText(element: XmlElement, name: string): string | undefined {
  return element.children.find((child) => child.name === name)?.text;
}

const NAMED: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function unescapeXml(text: string): string {
  return text.replace(/&([^;&]*);?/g, (whole, reference: string) => {
    const named = NAMED[reference];
    if (named !== undefined && whole.endsWith(";")) return named;
    const [, hex, decimal] = /^#(?:x([0-9a-fA-F]{1,6})|(\d{1,7}))$/.exec(reference) ?? [];
    const codePoint = hex === undefined ? Number(decimal ?? "NaN") : Number.parseInt(hex, 16);
    if (!(codePoint <= 0x10_ffff) || !whole.endsWith(";")) throw new S3Refusal("MalformedXML");
    return String.fromCodePoint(codePoint);
  });
}
