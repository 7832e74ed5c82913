import { expect, test } from "vitest";

import { billOf } from "../../src/bench/bill.ts";
import { requests } from "../../src/bench/flush-forecast.ts";
import { PRICES, type PriceList } from "../../src/bench/prices.ts";

const GIB = 1024 ** 3;

function prices(name: string): PriceList {
  const list = PRICES.find((candidate) => candidate.name === name);
  if (list === undefined) throw new Error(`no prices of ${name}`);
  return list;
}

test("S3 Express One Zone: the provider's own example comes to $2.58", () => {
  const bill = billOf(
    {
      requests: requests({ put: 1e6, get: 9e6, delete: 1e6 }),
      bytesWritten: 1e6 * 10 * 1024,
      bytesRead: 9e6 * 10 * 1024,
      storedBytes: 10 * GIB,
    },
    prices("aws-express"),
  );
  expect(bill.storage).toBeCloseTo(1.1, 2);
  expect([bill.puts, bill.gets, bill.deletes].map((dollars) => dollars.toFixed(2))).toEqual(["1.13", "0.27", "0.00"]);
  expect(bill.total.toFixed(2)).toBe("2.58");
});

test("Google Cloud Storage: the provider's own example, without its traffic", () => {
  const usage = {
    requests: requests({ put: 9000, list: 1000, get: 40_000, head: 10_000 }),
    bytesWritten: 0,
    bytesRead: 0,
  };
  const bill = billOf({ ...usage, storedBytes: 50 * GIB }, prices("gcs"));
  expect([bill.storage, bill.puts + bill.lists, bill.gets].map((dollars) => dollars.toFixed(2))).toEqual([
    "1.00",
    "0.05",
    "0.02",
  ]);
});

test("storage gets cheaper by tiers; multipart uploads count as PUTs, aborts as deletes", () => {
  const usage = {
    requests: requests({ createMultipart: 1e6, uploadPart: 2e6, completeMultipart: 1e6, abortMultipart: 5e6 }),
  };
  const bill = billOf({ ...usage, bytesWritten: 0, bytesRead: 0, storedBytes: 52_200 * GIB }, prices("aws"));
  expect(bill.storage).toBeCloseTo(51_200 * 0.023 + 1000 * 0.022, 6);
  expect([bill.puts, bill.deletes]).toEqual([20, 0]);
});
