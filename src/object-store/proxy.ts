import { BlockList, isIP } from "node:net";

import { isLoopback } from "../config/s3-names.ts";
import { ConfigError } from "../errors.ts";
import type { Environment } from "../runtime/environment.ts";

/** A proxy that requests go through. */
export interface Proxy {
  /** Without user and password. */
  readonly url: URL;
  /** Value of the Proxy-Authorization header; a secret. */
  readonly authorization: string | undefined;
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { "http:": "80", "https:": "443" };

/**
 * The proxy for requests to `target`, by the variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, also in small letters, which
 * win. As curl and Go read them, where those agree: a name in NO_PROXY covers the names below it, with or without a dot or `*.` in
 * front; an address with the length of a prefix covers its network; a port restricts both; `*` is everything. This machine is never
 * asked through a proxy. Throws `ConfigError` for a proxy that cannot be used.
 *
 * Not by `proxy-from-env`: it reads `process.env` alone, and takes "example.com" in NO_PROXY for that one host.
 */
export function proxyFor(target: string, environment: Environment): Proxy | undefined {
  const { protocol, hostname, port } = new URL(target);
  if (isLoopback(hostname) || isExcepted(hostname, port || DEFAULT_PORTS[protocol] || "", environment))
    return undefined;
  for (const name of [`${protocol.slice(0, -1)}_proxy`, "all_proxy"]) {
    for (const variable of [name, name.toUpperCase()]) {
      const text = environment[variable]?.trim() ?? "";
      if (text !== "") return parseProxy(text, variable);
    }
  }
  return undefined;
}

function isExcepted(hostname: string, port: string, environment: Environment): boolean {
  const host = bare(hostname);
  const list = environment["no_proxy"] || environment["NO_PROXY"] || "";
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .some((entry) => {
      if (entry === "*") return true;
      const [, name = "", onlyPort] = /^(\[[^\]]*\]|[^:]*|.*:.*:[^:]*?)(?::(\d+))?$/.exec(entry) ?? [];
      if (onlyPort !== undefined && onlyPort !== port) return false;
      if (name.includes("/")) return isInNetwork(host, bare(name));
      const excepted = bare(name).replace(/^\*?\./, "");
      return excepted !== "" && (host === excepted || host.endsWith(`.${excepted}`));
    });
}

/** `network` as in "10.0.0.0/8" or "fd00::/8". A host that is a name is in none: it is not looked up. */
function isInNetwork(host: string, network: string): boolean {
  const [, address = "", bits = ""] = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(network) ?? [];
  const [family, length] = [isIP(address), Number(bits)];
  if (family === 0 || isIP(host) !== family || length > (family === 4 ? 32 : 128)) return false;
  const kind = family === 4 ? "ipv4" : "ipv6";
  const list = new BlockList();
  list.addSubnet(address, length, kind);
  return list.check(host, kind);
}

/** Without the brackets of an IPv6 address. */
function bare(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, "$1");
}

function parseProxy(text: string, variable: string): Proxy {
  const withScheme = text.includes("://") ? text : `http://${text}`;
  const refused = (problem: string): ConfigError => new ConfigError([{ path: `env ${variable}`, problem }]);
  // The text itself is not shown: it may hold a password.
  if (!URL.canParse(withScheme)) throw refused('is not the address of a proxy, as in "http://proxy.example.com:3128"');
  const url = new URL(withScheme);
  if (DEFAULT_PORTS[url.protocol] === undefined) {
    throw refused(`names a proxy of kind ${url.protocol.slice(0, -1)}; only http and https are known`);
  }
  const { username, password } = url;
  url.username = "";
  url.password = "";
  if (username === "" && password === "") return { url, authorization: undefined };
  try {
    const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    return { url, authorization: `Basic ${Buffer.from(user, "utf8").toString("base64")}` };
  } catch {
    throw refused("has a user or password that is not escaped as in a URL");
  }
}
