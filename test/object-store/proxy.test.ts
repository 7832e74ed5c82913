import { describe, expect, test } from "vitest";

import { ConfigError } from "../../src/errors.ts";
import { proxyFor } from "../../src/object-store/proxy.ts";

const PROXY = "http://proxy.test:3128";
const S3 = "https://s3.eu-central-1.amazonaws.com";

describe("which proxy", () => {
  test.each<[string, Record<string, string>, string | undefined]>([
    [S3, {}, undefined],
    [S3, { HTTPS_PROXY: PROXY }, `${PROXY}/`],
    [S3, { https_proxy: PROXY, HTTPS_PROXY: "http://other.test" }, `${PROXY}/`],
    [S3, { HTTP_PROXY: PROXY }, undefined],
    [S3, { HTTPS_PROXY: "", ALL_PROXY: PROXY }, `${PROXY}/`],
    ["http://store.test", { HTTP_PROXY: PROXY, HTTPS_PROXY: "http://other.test" }, `${PROXY}/`],
    [S3, { HTTPS_PROXY: "proxy.test:3128" }, `${PROXY}/`],
    [S3, { HTTPS_PROXY: "https://proxy.test" }, "https://proxy.test/"],
    ["http://127.0.0.1:9000", { HTTP_PROXY: PROXY }, undefined],
    ["http://localhost:9000", { HTTP_PROXY: PROXY }, undefined],
    ["https://[::1]:9000", { HTTPS_PROXY: PROXY }, undefined],
  ])("%s %o", (target, environment, url) => {
    expect(proxyFor(target, environment)?.url.href).toBe(url);
  });

  test.each([
    ["s3.eu-central-1.amazonaws.com", true],
    ["amazonaws.com", true],
    [".amazonaws.com", true],
    ["*.amazonaws.com", true],
    ["AMAZONAWS.com", true],
    ["naws.com", false],
    ["other.test, amazonaws.com", true],
    ["other.test amazonaws.com", true],
    ["amazonaws.com:443", true],
    ["amazonaws.com:8443", false],
    ["*", true],
    ["", false],
    [".", false],
  ])("NO_PROXY=%s", (NO_PROXY, excepted) => {
    expect(proxyFor(S3, { HTTPS_PROXY: PROXY, NO_PROXY }) === undefined).toBe(excepted);
    expect(proxyFor(S3, { HTTPS_PROXY: PROXY, no_proxy: NO_PROXY }) === undefined).toBe(excepted);
  });

  test.each([
    ["https://[fd00::1]:9000", "fd00::1"],
    ["https://[fd00::1]:9000", "[fd00::1]"],
    ["https://[fd00::1]:9000", "[fd00::1]:9000"],
    ["https://10.1.2.3", "10.1.2.3"],
    ["https://10.1.2.3", "other.test,10.0.0.0/8"],
    ["https://10.1.2.3:9000", "10.1.2.0/24:9000"],
    ["https://[fd00::1]:9000", "fd00::/8"],
    ["https://[fd00::1]:9000", "[fd00::/8]:9000"],
    ["https://10.1.2.3", "0.0.0.0/0"],
  ])("%s, NO_PROXY=%s: straight", (target, NO_PROXY) => {
    expect(proxyFor(target, { HTTPS_PROXY: PROXY, NO_PROXY })).toBeUndefined();
  });

  test.each([
    ["https://11.1.2.3", "10.0.0.0/8"],
    ["https://10.1.2.3", "10.0.0.0/33"],
    ["https://10.1.2.3", "10.0.0/8"],
    ["https://10.1.2.3", "fd00::/8"],
    ["https://10.1.2.3:9000", "10.1.2.0/24:9001"],
    ["https://[fd00::1]", "10.0.0.0/8"],
    ["https://[fe80::1]", "fd00::/8"],
    ["https://10.example.test", "10.0.0.0/8"],
  ])("%s, NO_PROXY=%s: through the proxy", (target, NO_PROXY) => {
    expect(proxyFor(target, { HTTPS_PROXY: PROXY, NO_PROXY })?.url.href).toBe(`${PROXY}/`);
  });
});

test("user and password go into a header, and out of the address", () => {
  const proxy = proxyFor(S3, { HTTPS_PROXY: "http://me:p%40ss@proxy.test:3128" });
  expect(proxy?.url.href).toBe(`${PROXY}/`);
  expect(proxy?.authorization).toBe(`Basic ${Buffer.from("me:p@ss").toString("base64")}`);
});

test.each(["socks5://me:CANARY@proxy.test", "http://me:CANARY@a b", "http://me:CANARY%zz@proxy.test", "http://"])(
  "%s: refused, by the name of the variable alone",
  (HTTPS_PROXY) => {
    const refused = (): unknown => proxyFor(S3, { HTTPS_PROXY });
    expect(refused).toThrow(ConfigError);
    expect(refused).toThrow("env HTTPS_PROXY");
    expect(refused).not.toThrow("CANARY");
  },
);
