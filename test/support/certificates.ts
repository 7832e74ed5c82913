import { generateKeyPairSync, randomBytes, sign, type KeyObject } from "node:crypto";

/** A certificate and its private key, both PEM. Made anew for each test run: no key is ever stored. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  readonly name: string;
  readonly privateKey: KeyObject;
}

export interface CertificateOptions {
  /** Who signs. Default: nobody else. */
  readonly issuer?: Certificate;
  /** true: may sign others. */
  readonly authority?: boolean;
  /** DNS names of a server. */
  readonly names?: readonly string[];
  /** IPv4 address of a server. */
  readonly address?: string;
}

/*
 * X.509 version 3 (RFC 5280), ECDSA with SHA-256 on P-256, in DER: just what a TLS handshake looks at. By hand, because Node can sign
 * but not write certificates, and `openssl` is not on every machine.
 */

const DAY_MS = 86_400_000;
const OID = {
  commonName: "550403",
  ecdsaWithSha256: "2a8648ce3d040302",
  basicConstraints: "551d13",
  subjectAltName: "551d11",
} as const;

export function makeCertificate(name: string, options: CertificateOptions = {}): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const now = Date.now();
  const body = sequence(
    tagged(0xa0, integer(2)),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    distinguishedName(options.issuer?.name ?? name),
    sequence(time(now - DAY_MS), time(now + DAY_MS)),
    distinguishedName(name),
    publicKey.export({ type: "spki", format: "der" }),
    tagged(0xa3, sequence(...extensions(options))),
  );
  const signature = sign("sha256", body, options.issuer?.privateKey ?? privateKey);
  const certificate = sequence(body, algorithm, der(0x03, Buffer.concat([Buffer.from([0]), signature])));
  const lines = certificate.toString("base64").replace(/.{1,64}/g, "$&\n");
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines}-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    name,
    privateKey,
  };
}

function extensions({ authority = false, names = [], address }: CertificateOptions): Buffer[] {
  const basic = sequence(...(authority ? [der(0x01, Buffer.from([0xff]))] : []));
  const found = [sequence(oid(OID.basicConstraints), der(0x01, Buffer.from([0xff])), der(0x04, basic))];
  const alternatives = [
    ...names.map((one) => der(0x82, Buffer.from(one, "ascii"))),
    ...(address === undefined ? [] : [der(0x87, Buffer.from(address.split(".").map(Number)))]),
  ];
  if (alternatives.length > 0) {
    found.push(sequence(oid(OID.subjectAltName), der(0x04, sequence(...alternatives))));
  }
  return found;
}

function distinguishedName(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid(OID.commonName), der(0x0c, Buffer.from(commonName, "utf8")))));
}

/** UTCTime. */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "");
  return der(0x17, Buffer.from(digits.slice(2), "ascii"));
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, "hex"));
}

function integer(value: number): Buffer {
  return der(0x02, Buffer.from([value]));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function tagged(tag: number, content: Buffer): Buffer {
  return der(tag, content);
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
