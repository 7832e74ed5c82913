import { billOf, type Bill, type Usage } from "../../bench/bill.ts";
import { MONTH_SECONDS, REQUEST_CAUSES, type Forecast } from "../../bench/forecast.ts";
import type { PriceList } from "../../bench/prices.ts";
import { putRequests, scaleRequests, type RequestCounts } from "../../bench/request-counts.ts";
import { formatDuration } from "../../config/duration.ts";
import { formatBytes, formatCount } from "../numbers.ts";
import { formatFields, formatTable } from "../table.ts";

/** Of one linger, or upload interval. */
export interface CostRow {
  readonly gatherMs: number;
  readonly forecast: Forecast;
}

export function usageOf(forecast: Forecast): Usage {
  return {
    requests: scaleRequests(forecast.total, MONTH_SECONDS),
    bytesWritten: forecast.bytesWritten * MONTH_SECONDS,
    bytesRead: forecast.bytesRead * MONTH_SECONDS,
    storedBytes: forecast.storedBytes,
  };
}

/** PUTs of a month if each partition with records in a flush took one of its own. */
export function putsPerPartition({ flush, shards }: Forecast): number {
  return flush.perSecond * flush.extents * shards * MONTH_SECONDS;
}

/** One forecast in full. */
export function formatForecast({ gatherMs, forecast }: CostRow, prices: readonly PriceList[]): string {
  const { flush, requests, shards, storedBytes } = forecast;
  const causes = REQUEST_CAUSES.filter((cause) => sum(requests[cause]) > 0).map((cause) =>
    requestRow(cause, scaleRequests(requests[cause], MONTH_SECONDS)),
  );
  const total = requestRow("total", scaleRequests(forecast.total, MONTH_SECONDS));
  return [
    formatFields([
      [
        "flush",
        `every ${formatMs(flush.intervalMs)} (asked for: ${formatDuration(gatherMs)}), ${formatBytes(Math.round(flush.objectBytes))}, ` +
          `${formatCount(flush.extents)} partitions, ${flush.isInline ? "one PUT" : "a data object and a link"}; ${formatCount(shards)} shards`,
      ],
      ["stored", formatBytes(Math.round(storedBytes))],
    ]),
    formatTable(["REQUESTS A MONTH", "PUT", "GET", "LIST", "DELETE"], [...causes, total]),
    formatBills(usageOf(forecast), prices),
    `One PUT per partition and flush instead: ${prices
      .map((list) => `${dollars((putsPerPartition(forecast) / 1e6) * list.putPerMillion)} (${list.name})`)
      .join(", ")} a month for those alone.`,
    ...forecast.warnings.map((warning) => `Warning: ${warning}.`),
    datesOf(prices),
  ].join("\n\n");
}

/** Several lingers side by side, at the prices of one list. */
export function formatSweep(rows: readonly CostRow[], list: PriceList): string {
  const table = formatTable(
    ["LINGER", "FLUSH EVERY", "BYTES", "PUTS/S", "REQUESTS $", "STORAGE $", "TOTAL $", "ONE PUT PER PARTITION $"],
    rows.map(({ gatherMs, forecast }) => {
      const bill = billOf(usageOf(forecast), list);
      return [
        formatDuration(gatherMs),
        formatMs(forecast.flush.intervalMs),
        formatBytes(Math.round(forecast.flush.objectBytes)),
        putRequests(forecast.total).toFixed(1),
        amount(requestDollars(bill)),
        amount(bill.storage),
        amount(bill.total),
        amount((putsPerPartition(forecast) / 1e6) * list.putPerMillion),
      ];
    }),
  );
  const warnings = [...new Set(rows.flatMap(({ forecast }) => forecast.warnings))];
  return [table, ...warnings.map((warning) => `Warning: ${warning}.`), datesOf([list])].join("\n\n");
}

export function formatBills(usage: Usage, prices: readonly PriceList[]): string {
  return formatTable(
    ["DOLLARS A MONTH", "PUT", "GET", "LIST", "TRAFFIC", "STORAGE", "TOTAL"],
    prices.map((list) => {
      const bill = billOf(usage, list);
      return [
        list.name,
        ...[bill.puts, bill.gets, bill.lists + bill.deletes, bill.traffic, bill.storage, bill.total].map(amount),
      ];
    }),
  );
}

/** Requests and what goes over the line. */
function requestDollars(bill: Bill): number {
  return bill.total - bill.storage;
}

export function requestRow(name: string, counts: RequestCounts): string[] {
  const { get, head, list, delete: deleted, abortMultipart } = counts;
  return [name, ...[putRequests(counts), get + head, list, deleted + abortMultipart].map(formatCount)];
}

/** Where the prices stood, and when. */
export function datesOf(prices: readonly PriceList[]): string {
  const lists = prices.map(({ name, title, source, date }) => `Prices of ${name}: ${title}, ${source}, ${date}.`);
  return [...lists, "A month has 30 days. Prices change, and differ by region: --prices FILE takes your own."].join(
    "\n",
  );
}

function sum(counts: RequestCounts): number {
  return Object.values(counts).reduce((all, one) => all + one, 0);
}

function amount(value: number): string {
  return value < 100 ? value.toFixed(2) : formatCount(value);
}

function dollars(value: number): string {
  return `$${amount(value)}`;
}

function formatMs(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)}ms` : ms < 10_000 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(1)}s`;
}
