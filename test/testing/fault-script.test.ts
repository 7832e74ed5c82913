import { describe, expect, test } from "vitest";

import { InvalidArgumentError } from "../../src/errors.ts";
import type { FaultRule } from "../../src/testing/fault-rule.ts";
import { FaultScript, randomFaults } from "../../src/testing/fault-script.ts";
import { canStrike, FAULT_KINDS } from "../../src/testing/fault.ts";
import type { S3Call, S3Operation } from "../../src/testing/s3-call.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

function call(operation: S3Operation, key = "a"): S3Call {
  return { operation, bucket: "logs", key, query: new URLSearchParams() };
}

const put = call("PutObject");
const get = call("GetObject");

/** Which of the calls, from 1, the script strikes; the kinds by number of the call. */
function play(script: FaultScript, calls: readonly S3Call[]): [number, string][] {
  return calls.flatMap((one, index): [number, string][] => {
    const strike = script.onRequest(one, false);
    return strike === undefined ? [] : [[index + 1, strike.fault.kind]];
  });
}

function struck(rule: FaultRule["match"], calls: readonly S3Call[], seed = 1): number[] {
  const script = new FaultScript({ seed, rules: [{ fault: { kind: "lost-answer" }, match: rule ?? {} }] });
  return play(script, calls).map(([number]) => number);
}

const times = (n: number, of: S3Call): S3Call[] => Array.from({ length: n }, () => of);

describe("a rule chooses requests", () => {
  test.each<[string, FaultRule["match"], number[]]>([
    ["all of them", {}, [1, 2, 3, 4, 5, 6]],
    ["by operation", { operation: "PutObject" }, [1, 3, 5]],
    ["by operations", { operation: ["PutObject", "DeleteObject"] }, [1, 3, 4, 5]],
    ["by the beginning of the key", { key: "logs/" }, [3, 5, 6]],
    ["by a pattern of the key, whatever its flags", { key: /\.idx$/g }, [5, 6]],
    ["the nth that it counts", { operation: "PutObject", nth: 2 }, [3]],
    ["several", { operation: "PutObject", nth: [1, 3] }, [1, 5]],
    ["after some", { operation: "PutObject", after: 2 }, [5]],
    ["so many times", { times: 2 }, [1, 2]],
    ["after some, so many times", { after: 1, times: 2 }, [2, 3]],
    ["none", { probability: 0 }, []],
  ])("%s", (_, match, expected) => {
    const calls = [put, get, call("PutObject", "logs/x"), call("DeleteObject"), call("PutObject", "logs/y.idx")];
    expect(struck(match, [...calls, call("GetObject", "logs/z.idx")])).toEqual(expected);
  });

  test("by chance, the same for the same seed", () => {
    const first = struck({ probability: 0.3 }, times(1000, put), 7);
    expect(first.length).toBeGreaterThan(250);
    expect(first.length).toBeLessThan(350);
    expect(struck({ probability: 0.3 }, times(1000, put), 7)).toEqual(first);
    expect(struck({ probability: 0.3 }, times(1000, put), 8)).not.toEqual(first);
  });

  test("in a window of time, by the injected clock", async () => {
    const clock = new VirtualClock();
    clock.schedule(5_000, () => undefined);
    clock.runNext();
    const script = new FaultScript({ clock });
    script.add({ fault: { kind: "slow-down" }, match: { during: { fromMs: 1_000, toMs: 2_000 } } });
    const at: number[] = [];
    for (const ms of [0, 999, 1_000, 1_999, 2_000]) {
      clock.schedule(5_000 + ms - clock.now(), () => undefined);
      clock.runNext();
      if (script.onRequest(put, false) !== undefined) at.push(ms);
    }
    expect(at).toEqual([1_000, 1_999]);
  });

  test("a storm strikes everything of its operation and key until it is over", () => {
    const clock = new VirtualClock();
    const script = new FaultScript({ clock });
    script.add({ fault: { kind: "slow-down" }, match: { operation: "PutObject", nth: 2 }, lastsMs: 1_000 });
    expect(play(script, [put, put, put, get, put]).map(([number]) => number)).toEqual([2, 3, 5]);
    clock.schedule(1_000, () => undefined);
    clock.runNext();
    expect(play(script, [put, put])).toEqual([]);
  });

  test("the first one that strikes wins; those behind it count the request all the same", () => {
    const script = new FaultScript({
      rules: [
        { fault: { kind: "lost-answer" }, match: { nth: 2 } },
        { fault: { kind: "slow-down" }, match: { nth: [2, 3] } },
        { fault: { kind: "conflict" }, match: { after: 1, times: 1 } },
      ],
    });
    expect(play(script, times(5, put))).toEqual([
      [2, "lost-answer"],
      [3, "slow-down"],
      [4, "conflict"],
    ]);
    expect(script.fired).toEqual([
      { index: 2, operation: "PutObject", key: "a", fault: { kind: "lost-answer" }, rule: 0 },
      { index: 3, operation: "PutObject", key: "a", fault: { kind: "slow-down" }, rule: 1 },
      { index: 4, operation: "PutObject", key: "a", fault: { kind: "conflict" }, rule: 2 },
    ]);
  });

  test("only where its fault can be: there is no bit of a PUT's answer to flip", () => {
    const script = new FaultScript({ rules: [{ fault: { kind: "bit-flip" }, match: { nth: 1 } }] });
    expect(play(script, [put, get])).toEqual([[2, "bit-flip"]]);
  });
});

test("rules come and go while the script runs; paused, it strikes and counts nothing", () => {
  const script = new FaultScript();
  expect(play(script, [put])).toEqual([]);
  const outage = script.add({ fault: { kind: "lost-request" } });
  const later = script.add({ fault: { kind: "conflict" }, match: { nth: 3 } });
  expect(play(script, [put])).toEqual([[1, "lost-request"]]);
  script.pause();
  expect(play(script, [put, put])).toEqual([]);
  script.resume();
  outage.remove();
  outage.remove();
  expect(play(script, [put, put])).toEqual([[2, "conflict"]]);
  expect([outage.struck, later.struck]).toEqual([1, 1]);
  script.add({ fault: { kind: "lost-request" } });
  script.clear();
  expect(play(script, [put])).toEqual([]);
  expect(script.fired.map(({ index }) => index)).toEqual([2, 6]);
});

test("a refusal meets connections, and requests on connections that were there before", () => {
  const script = new FaultScript({ rules: [{ fault: { kind: "refuse" }, match: { nth: [2, 3] } }] });
  expect(script.onConnection()).toBeUndefined();
  expect(script.onRequest(put, true)).toBeUndefined();
  expect(script.onRequest(put, false)?.fault.kind).toBe("refuse");
  expect(script.onConnection()?.fault.kind).toBe("refuse");
  expect(script.onConnection()).toBeUndefined();
  expect(script.fired.map(({ operation, index }) => [operation, index])).toEqual([
    ["PutObject", 2],
    ["Connect", 2],
  ]);
});

test("fired keeps the latest 10,000", () => {
  const script = new FaultScript({ rules: [{ fault: { kind: "lost-answer" } }] });
  play(script, times(10_005, put));
  expect(script.fired).toHaveLength(10_000);
  expect([script.fired[0]?.index, script.fired.at(-1)?.index]).toEqual([6, 10_005]);
  expect(script.firedCount).toBe(10_005);
});

describe("random faults", () => {
  const operations: readonly S3Operation[] = [
    "PutObject",
    "GetObject",
    "CompleteMultipartUpload",
    "UploadPart",
    "ListObjectsV2",
    "HeadObject",
  ];
  const calls = times(6_000, put).map((_, n) => call(operations[n % operations.length] ?? "PutObject", `k${n}`));

  test("the same for the same seed and order, others for another", () => {
    const run = (seed: number): unknown => {
      const script = randomFaults({ seed, rate: 0.5 });
      return [play(script, calls), script.fired];
    };
    expect(run(3)).toEqual(run(3));
    expect(run(3)).not.toEqual(run(4));
  });

  test("of every kind, as often as asked, and only where they can be", () => {
    const script = randomFaults({ seed: 11, rate: 0.25 });
    play(script, calls);
    for (let i = 0; i < 1_000; i++) script.onConnection();
    const requests = script.fired.filter(({ operation }) => operation !== "Connect");
    expect(requests.length / calls.length).toBeCloseTo(0.25, 1);
    expect(new Set(script.fired.map(({ fault }) => fault.kind))).toEqual(new Set(FAULT_KINDS));
    const wrong = requests.filter(({ fault, operation }) => !canStrike(fault.kind, operation as S3Operation));
    expect(wrong).toEqual([]);
  });

  test("of the kinds asked for", () => {
    const script = randomFaults({ seed: 11, rate: 1, kinds: ["conflict", "bit-flip"] });
    expect(play(script, [put, get, call("HeadObject")])).toEqual([
      [1, "conflict"],
      [2, "bit-flip"],
    ]);
    expect(script.onConnection()).toBeUndefined();
  });

  test("what a request draws does not depend on connections", () => {
    const [quiet, busy] = [randomFaults({ seed: 5, rate: 0.5 }), randomFaults({ seed: 5, rate: 0.5 })];
    for (let i = 0; i < 10; i++) busy.onConnection();
    const ofRequests = (script: FaultScript): unknown =>
      script.fired.filter(({ operation }) => operation !== "Connect");
    play(quiet, calls.slice(0, 50));
    play(busy, calls.slice(0, 50));
    expect(ofRequests(busy)).toEqual(ofRequests(quiet));
  });
});

describe("describe() gives an expression that makes the same script", () => {
  const again = (script: FaultScript): FaultScript =>
    // The text is the script's own: what a person pastes into a test.
    // oxlint-disable-next-line typescript/no-implied-eval, no-new-func
    new Function("FaultScript", "randomFaults", `return ${script.describe()}`)(
      FaultScript,
      randomFaults,
    ) as FaultScript;

  test("of random faults", () => {
    const script = randomFaults({ seed: 42, rate: 0.25, kinds: ["lost-answer", "conflict"] });
    expect(script.describe()).toBe('randomFaults({ seed: 42, rate: 0.25, kinds: ["lost-answer", "conflict"] })');
    expect(play(again(script), times(100, put))).toEqual(play(script, times(100, put)));
  });

  test("of rules", () => {
    const script = new FaultScript({
      seed: 9,
      rules: [
        { match: { operation: "PutObject", key: /^a|"b/i, probability: 0.5 }, fault: { kind: "lost-answer" } },
        { fault: { kind: "late-landing", delayMs: Number.POSITIVE_INFINITY }, match: { nth: [2, 3] }, lastsMs: 60_000 },
      ],
    });
    expect(again(script).describe()).toBe(script.describe());
    expect(play(again(script), times(100, put))).toEqual(play(script, times(100, put)));
  });
});

test.each<[string, () => unknown]>([
  [
    "match.operation",
    () => new FaultScript({ rules: [{ fault: { kind: "bit-flip" }, match: { operation: "PutObject" } }] }),
  ],
  ["match", () => new FaultScript({ rules: [{ fault: { kind: "refuse" }, match: { key: "a" } }] })],
  ["match.nth", () => new FaultScript({ rules: [{ fault: { kind: "conflict" }, match: { nth: 0 } }] })],
  ["match.after", () => new FaultScript({ rules: [{ fault: { kind: "conflict" }, match: { after: -1 } }] })],
  ["match.times", () => new FaultScript({ rules: [{ fault: { kind: "conflict" }, match: { times: 1.5 } }] })],
  ["match.probability", () => new FaultScript({ rules: [{ fault: { kind: "conflict" }, match: { probability: 2 } }] })],
  ["lastsMs", () => new FaultScript({ rules: [{ fault: { kind: "conflict" }, lastsMs: 0 }] })],
  ["fault.kind", () => new FaultScript({ rules: [{ fault: { kind: "no-such-kind" as "conflict" } }] })],
  ["fault.bytesPerSecond", () => new FaultScript({ rules: [{ fault: { kind: "slow-loris", bytesPerSecond: 0 } }] })],
  ["rate", () => randomFaults({ seed: 1, rate: 1.1 })],
  ["kinds", () => randomFaults({ seed: 1, rate: 1, kinds: [] })],
  ["seed", () => randomFaults({ seed: 0.5, rate: 1 })],
])("a script that cannot do what it says is refused: %s", (argument, make) => {
  expect(make).toThrow(InvalidArgumentError);
  expect(make).toThrow(`${argument}: `);
});
