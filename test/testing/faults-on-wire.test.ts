import { request } from "node:http";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { FaultScript } from "../../src/testing/fault-script.ts";
import { FAULT_KINDS, FAULTS, type Fault, type FaultKind } from "../../src/testing/fault.ts";
import { HttpServer } from "../../src/testing/http-server.ts";
import { MapBackend } from "../support/map-backend.ts";
import { rawRequest, type RawAnswer, type RawRequest } from "../support/raw-http.ts";

const BODY = Buffer.from("0123456789abcdefghijklmnopqrstuvwxyz");
const TOKEN = "canary-session-token";

const PUT: RawRequest = { method: "PUT", path: "/logs/a", body: BODY };
const PUT_IF_ABSENT: RawRequest = { ...PUT, headers: { "if-none-match": "*" } };
const GET: RawRequest = { method: "GET", path: "/logs/stored" };
const HEAD: RawRequest = { method: "HEAD", path: "/logs/stored" };
const COMPLETE: RawRequest = { method: "POST", path: "/logs/a?uploadId=7", body: BODY };

let served: MapBackend;
let server: HttpServer;
let script: FaultScript;
let url: string;

beforeEach(async () => {
  served = new MapBackend();
  served.objects.set("stored", BODY);
  script = new FaultScript();
  server = new HttpServer(served.backend, { faults: script });
  url = await server.start();
});

afterEach(async () => {
  await server.close();
  if (server.openSockets > 0) throw new Error(`${server.openSockets} sockets are left after close`);
  if (server.failures.length > 0) throw new AggregateError(server.failures, "the backend failed");
});

interface Wire {
  readonly fault: Fault;
  readonly request: RawRequest;
  readonly ending: RawAnswer["ending"];
  /** undefined: no head came. */
  readonly status: number | undefined;
  /** How often the backend carried the request out, by the time of the answer. */
  readonly commits: number;
  readonly body?: string | RegExp;
  readonly headers?: Record<string, unknown>;
  readonly untilClosed?: boolean;
}

const CASES: readonly Wire[] = [
  { fault: { kind: "lost-answer" }, request: PUT, ending: "reset", status: undefined, commits: 1, body: "" },
  { fault: { kind: "lost-request" }, request: PUT, ending: "reset", status: undefined, commits: 0, body: "" },
  { fault: { kind: "reset-mid-body" }, request: PUT, ending: "reset", status: undefined, commits: 0 },
  { fault: { kind: "reset-mid-body", afterBytes: 99 }, request: PUT, ending: "reset", status: undefined, commits: 0 },
  { fault: { kind: "late-landing" }, request: PUT, ending: "reset", status: undefined, commits: 0 },
  {
    fault: { kind: "conflict" },
    request: PUT_IF_ABSENT,
    ending: "open",
    status: 409,
    commits: 0,
    body: /<Code>ConditionalRequestConflict<\/Code>.*<Condition>If-None-Match<\/Condition>/,
  },
  {
    fault: { kind: "precondition-failed-though-own" },
    request: PUT_IF_ABSENT,
    ending: "open",
    status: 412,
    commits: 1,
    body: /<Code>PreconditionFailed<\/Code>/,
  },
  {
    fault: { kind: "slow-down", retryAfterSeconds: 3 },
    request: PUT,
    ending: "open",
    status: 503,
    commits: 0,
    body: /<Code>SlowDown<\/Code>/,
    headers: { "retry-after": "3" },
  },
  {
    fault: { kind: "slow-down-after-commit" },
    request: PUT,
    ending: "open",
    status: 503,
    commits: 1,
    body: /SlowDown/,
  },
  { fault: { kind: "internal-error" }, request: PUT, ending: "open", status: 500, commits: 0, body: /InternalError/ },
  { fault: { kind: "internal-error" }, request: HEAD, ending: "open", status: 500, commits: 0, body: "" },
  {
    fault: { kind: "internal-error", committed: true },
    request: PUT,
    ending: "open",
    status: 500,
    commits: 1,
    body: /InternalError/,
  },
  { fault: { kind: "ok-with-error" }, request: COMPLETE, ending: "open", status: 200, commits: 0, body: /<\/Error>$/ },
  {
    fault: { kind: "ok-with-error", committed: true },
    request: COMPLETE,
    ending: "open",
    status: 200,
    commits: 1,
    body: /InternalError/,
  },
  { fault: { kind: "empty-ok" }, request: COMPLETE, ending: "open", status: 200, commits: 0, body: "" },
  {
    fault: { kind: "empty-ok", committed: true },
    request: COMPLETE,
    ending: "open",
    status: 200,
    commits: 1,
    body: "",
  },
  {
    fault: { kind: "slow-loris", bytesPerSecond: 5_000 },
    request: GET,
    ending: "closed",
    status: 200,
    commits: 1,
    body: BODY.toString(),
    untilClosed: true,
  },
  {
    fault: { kind: "truncated-answer" },
    request: GET,
    ending: "reset",
    status: 200,
    commits: 1,
    body: BODY.subarray(0, 18).toString(),
    headers: { "content-length": "36" },
  },
  { fault: { kind: "truncated-answer" }, request: PUT, ending: "reset", status: undefined, commits: 1, body: /^HTTP/ },
  {
    fault: { kind: "short-answer" },
    request: GET,
    ending: "closed",
    status: 200,
    commits: 1,
    body: BODY.subarray(0, 18).toString(),
    headers: { "content-length": "36" },
  },
  {
    fault: { kind: "missing-etag" },
    request: PUT,
    ending: "open",
    status: 200,
    commits: 1,
    headers: { etag: undefined },
  },
  { fault: { kind: "weak-etag" }, request: PUT, ending: "open", status: 200, commits: 1, headers: { etag: 'W/"tag"' } },
  { fault: { kind: "empty-etag" }, request: PUT, ending: "open", status: 200, commits: 1, headers: { etag: '""' } },
  {
    fault: { kind: "clock-skew" },
    request: PUT,
    ending: "open",
    status: 403,
    commits: 0,
    body: /<Code>RequestTimeTooSkewed<\/Code>.*<MaxAllowedSkewMilliseconds>900000</,
  },
  { fault: { kind: "clock-skew", refuse: false }, request: GET, ending: "open", status: 200, commits: 1 },
  {
    fault: { kind: "expired-token" },
    request: { ...PUT, headers: { "x-amz-security-token": TOKEN } },
    ending: "open",
    status: 400,
    commits: 0,
    body: new RegExp(`<Code>ExpiredToken</Code>.*<Token-0>${TOKEN}</Token-0>`),
  },
  { fault: { kind: "expired-token", status: 403 }, request: PUT, ending: "open", status: 403, commits: 0 },
  { fault: { kind: "access-denied" }, request: HEAD, ending: "open", status: 403, commits: 0, body: "" },
  {
    fault: { kind: "no-such-upload" },
    request: COMPLETE,
    ending: "open",
    status: 404,
    commits: 0,
    body: /<Code>NoSuchUpload<\/Code>.*<UploadId>7<\/UploadId><Resource>\/logs\/a<\/Resource>/,
  },
  { fault: { kind: "no-such-upload", committed: true }, request: COMPLETE, ending: "open", status: 404, commits: 1 },
  { fault: { kind: "duplicate-delivery" }, request: PUT_IF_ABSENT, ending: "open", status: 412, commits: 2 },
  {
    fault: { kind: "bit-flip", position: 3 },
    request: GET,
    ending: "open",
    status: 200,
    commits: 1,
    body: /^012[^3]4/,
  },
  { fault: { kind: "delay", delayMs: 5 }, request: PUT, ending: "open", status: 200, commits: 1 },
  { fault: { kind: "refuse" }, request: PUT, ending: "reset", status: undefined, commits: 0 },
  { fault: { kind: "close-idle" }, request: PUT, ending: "closed", status: 200, commits: 1, untilClosed: true },
];

test.each(CASES.map((wire) => ({ ...wire, name: JSON.stringify(wire.fault), method: wire.request.method })))(
  "$name on $method: $status, $ending, $commits times done",
  async ({ fault, request, status, ending, commits, body, headers = {}, untilClosed }) => {
    script.add({ fault, match: { times: 1 } });
    const answer = await rawRequest(url, request, untilClosed);
    expect({ status: answer.status, ending: answer.ending }).toEqual({ status, ending });
    expect(served.committed).toHaveLength(commits);
    for (const { body: arrived } of served.committed)
      expect(Buffer.compare(arrived, request.body ?? Buffer.alloc(0))).toBe(0);
    expect(answer.body.toString("latin1")).toMatch(typeof body === "string" ? exactly(body) : (body ?? /^/));
    for (const [name, value] of Object.entries(headers)) expect([name, answer.headers[name]]).toEqual([name, value]);
    expect(script.fired).toMatchObject([{ index: 1, fault, rule: 0 }]);

    // The server goes on as if nothing had been.
    await expect(rawRequest(url, GET)).resolves.toMatchObject({ status: 200, body: BODY, ending: "open" });
  },
);

function exactly(text: string): RegExp {
  return new RegExp(`^${text}$`);
}

test("every kind has a case here", () => {
  const elsewhere: FaultKind[] = ["silence"];
  expect(new Set([...CASES.map(({ fault }) => fault.kind), ...elsewhere])).toEqual(new Set(FAULT_KINDS));
});

test("each kind commits as its description says", () => {
  const counts = { yes: 1, no: 0, "as said": 0, later: 0, twice: 2 };
  for (const { fault, commits } of CASES) {
    const said = "committed" in fault || (fault.kind === "clock-skew" && fault.refuse === false);
    expect([fault, commits]).toEqual([fault, said ? 1 : counts[FAULTS[fault.kind].commits]]);
  }
});

describe.each([true, false])("silence, committed %s", (committed) => {
  test("never answers, and lets go when the client does", async () => {
    script.add({ fault: { kind: "silence", committed }, match: { operation: "PutObject" } });
    const client = request(`${url}/logs/a`, { method: "PUT", agent: false });
    const failed = new Promise((resolve) => client.once("error", resolve));
    client.end(BODY);
    await until(() => script.firedCount === 1 && served.committed.length === (committed ? 1 : 0));
    expect(server.openSockets).toBe(1);
    client.destroy(new Error("enough"));
    await failed;
    await until(() => server.openSockets === 0);
    expect(served.objects.has("a")).toBe(committed);
    expect(server.requests.count("PutObject", "none")).toBe(1);
  });
});

test("late landing: a HEAD says 404, and then it lands", async () => {
  script.add({ fault: { kind: "late-landing", delayMs: Number.POSITIVE_INFINITY }, match: { operation: "PutObject" } });
  await rawRequest(url, PUT);
  await expect(rawRequest(url, { method: "HEAD", path: "/logs/a" })).resolves.toMatchObject({ status: 404 });
  expect(server.lateLandings).toBe(1);
  await server.landLate();
  expect(server.lateLandings).toBe(0);
  await expect(rawRequest(url, { method: "GET", path: "/logs/a" })).resolves.toMatchObject({ status: 200, body: BODY });
});

test("late landing by itself, after its delay", async () => {
  script.add({ fault: { kind: "late-landing", delayMs: 1, answer: "reset" } });
  await rawRequest(url, PUT);
  await until(() => served.objects.has("a"));
  expect(server.lateLandings).toBe(0);
});

test("what has not landed at close never lands", async () => {
  script.add({ fault: { kind: "late-landing", delayMs: 60_000 } });
  await rawRequest(url, PUT);
  expect(server.lateLandings).toBe(1);
  await server.close();
  expect(server.lateLandings).toBe(0);
  await server.landLate();
  expect(served.committed).toEqual([]);
});

test("a refusal of the backend is passed on where a fault would hide a success", async () => {
  served.objects.set("a", Buffer.from("theirs"));
  script.add({ fault: { kind: "internal-error", committed: true }, match: { operation: "PutObject" } });
  const answer = await rawRequest(url, PUT_IF_ABSENT);
  expect([answer.status, answer.body.toString()]).toEqual([412, "<Error/>"]);
});

test("a skewed clock is off by as much as asked", async () => {
  script.add({ fault: { kind: "clock-skew", offsetMs: -600_000, refuse: false } });
  const { headers } = await rawRequest(url, GET);
  const offsetMs = Date.parse(headers["date"] ?? "") - script.clock.now();
  expect(Math.round(offsetMs / 60_000)).toBe(-10);
});

test("an outage refuses new connections and cuts those that are open; it ends when its rule goes", async () => {
  const put = async (): Promise<number> => (await fetch(`${url}/logs/a`, { method: "PUT", body: BODY })).status;
  // fetch keeps the connection: the next request goes over it.
  expect(await put()).toBe(200);
  const outage = script.add({ fault: { kind: "refuse" } });
  await expect(put()).rejects.toThrow("fetch failed");
  await expect(put()).rejects.toThrow("fetch failed");
  expect(script.fired.map(({ operation }) => operation)).toEqual(expect.arrayContaining(["PutObject", "Connect"]));
  outage.remove();
  expect(await put()).toBe(200);
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}
