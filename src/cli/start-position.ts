import { DURATION } from "../config/duration.ts";
import { parseQuantity, type QuantityKind } from "../config/quantity.ts";
import { InvalidArgumentError } from "../errors.ts";
import { parseInteger } from "./arguments.ts";

/** Where to begin in a partition. */
export type StartPosition =
  | "earliest"
  | "latest"
  | { readonly offset: number }
  /** At the first record of this time, in milliseconds since 1970, or later. */
  | { readonly timestampMs: number };

const EXAMPLES =
  "earliest, latest, 1000 (an offset), 2026-11-20, 2026-11-20T10:00:00Z, 2026-11-20T10:00:00+02:00, -15m";

const AGO: QuantityKind = { ...DURATION, noun: "a time ago", example: "-15m" };

const DATE = /^(\d{4})-(\d{2})-(\d{2})(?:[Tt](.*))?$/;
const TIME = /^(\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(Z|z|[+-]\d{2}:?\d{2})?$/;

/**
 * Reads a position as people write it: earliest, latest, an offset, a date (midnight UTC), an ISO 8601 time with its distance from
 * UTC, or a time ago (`-15m`) counted from `nowMs`. `InvalidArgumentError` with examples.
 */
export function parseStartPosition(argument: string, text: string, nowMs: number): StartPosition {
  if (text === "earliest" || text === "latest") return text;
  if (/^\d+$/.test(text)) return { offset: parseInteger(argument, text, 0, Number.MAX_SAFE_INTEGER) };
  if (text.startsWith("-")) {
    const ago = parseQuantity(AGO, text.slice(1));
    if (!ago.ok) throw refusal(argument, text, ago.problem);
    return { timestampMs: Math.floor(nowMs) - ago.value };
  }
  return { timestampMs: parseTime(argument, text) };
}

function parseTime(argument: string, text: string): number {
  const [, year = "", month = "", day = "", timeText] = DATE.exec(text) ?? [];
  if (year === "") throw refusal(argument, text, "is no position");
  const midnight = Date.UTC(Number(year), Number(month) - 1, Number(day));
  // Date.UTC goes on counting: it takes the 30th of February for the 2nd of March.
  if (!new Date(midnight).toISOString().startsWith(`${year}-${month}-${day}`)) {
    throw refusal(argument, text, "has a date that is in no calendar");
  }
  if (timeText === undefined) return midnight;

  const [, hours, minutes, seconds = "00", fraction = "", zone] = TIME.exec(timeText) ?? [];
  if (hours === undefined || minutes === undefined) throw refusal(argument, text, "has no time of day behind its T");
  if (hours > "23" || minutes > "59" || seconds > "59") throw refusal(argument, text, "has a time that is on no clock");
  if (zone === undefined) {
    throw refusal(argument, text, "does not say in which time zone; add Z for UTC, or a distance such as +02:00");
  }
  // Up to the next whole millisecond: no record before the time that was asked for is meant.
  const fractionMs = Math.ceil(Number(fraction.padEnd(9, "0")) / 1_000_000);
  const localMs = midnight + (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1000 + fractionMs;
  return localMs - zoneMs(argument, text, zone);
}

/** How far the clocks of a zone are ahead of UTC. */
function zoneMs(argument: string, text: string, zone: string): number {
  if (zone === "Z" || zone === "z") return 0;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(-2));
  if (hours > 23 || minutes > 59) throw refusal(argument, text, `has ${zone}, which is no distance from UTC`);
  return (zone.startsWith("-") ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

function refusal(argument: string, text: string, problem: string): InvalidArgumentError {
  return new InvalidArgumentError(argument, text, `"${text}" ${problem}. Examples: ${EXAMPLES}`);
}
