import { sleep, type Clock } from "../runtime/clock.ts";
import type { Strike } from "./fault-script.ts";
import type { Fault } from "./fault.ts";
import { withHeader, type HttpAnswer, type HttpRequest } from "./http-exchange.ts";
import { S3Refusal } from "./s3/refusal.ts";
import type { ServedRequest } from "./served-request.ts";

/** What the server lends to a fault. */
export interface Stage {
  readonly clock: Clock;
  /** Fires when the server closes. */
  readonly closing: AbortSignal;
  read(): Promise<HttpRequest>;
  commit(request: HttpRequest): Promise<HttpAnswer>;
  commitLater(request: HttpRequest, delayMs: number): void;
}

const SKEW_MS = 20 * 60_000;
const LATE_MS = 1_000;
const LORIS_BYTES_PER_SECOND = 1_024;

/**
 * Plays one fault on one request. Errors that a fault answers after the commit hide only a success: where the backend itself
 * refuses the request, its refusal is passed on.
 */
export async function playFault(strike: Strike, served: ServedRequest, stage: Stage): Promise<void> {
  const { fault } = strike;
  const error = (refusal: S3Refusal): HttpAnswer =>
    served.refusal(refusal, strike.index.toString(16).toUpperCase().padStart(16, "0"));
  const commit = async (): Promise<HttpAnswer> => stage.commit(await stage.read());
  /** Answers `told`, after the request was carried out or instead of that. */
  const tell = async (committed: boolean, told: HttpAnswer): Promise<void> => {
    const request = await stage.read();
    const answer = committed ? await stage.commit(request) : undefined;
    await served.answer(answer !== undefined && answer.status >= 300 ? answer : told);
  };

  switch (fault.kind) {
    case "lost-answer":
      await commit();
      return served.reset();
    case "lost-request":
    case "refuse":
      return served.reset();
    case "reset-mid-body":
      return served.resetWithin(fault.afterBytes);
    case "late-landing":
      stage.commitLater(await stage.read(), fault.delayMs ?? LATE_MS);
      return fault.answer === "silence" ? undefined : served.reset();
    case "conflict":
      return tell(false, error(conflict(served)));
    case "precondition-failed-though-own":
      return tell(true, error(preconditionFailed(served)));
    case "slow-down":
      return tell(false, error(slowDown(fault.retryAfterSeconds)));
    case "slow-down-after-commit":
      return tell(true, error(slowDown(undefined)));
    case "internal-error":
      return tell(fault.committed === true, error(new S3Refusal("InternalError")));
    case "ok-with-error":
      return tell(fault.committed === true, error(new S3Refusal("InternalError", { status: 200 })));
    case "empty-ok":
      return tell(fault.committed === true, { status: 200, headers: {}, body: Buffer.alloc(0) });
    case "slow-loris":
      return served.answerSlowly(await commit(), fault.bytesPerSecond ?? LORIS_BYTES_PER_SECOND, stage.clock);
    case "silence": {
      const request = await stage.read();
      if (fault.committed === true) await stage.commit(request);
      return undefined;
    }
    case "truncated-answer":
      return served.answerHalf(await commit(), "reset", stage.clock);
    case "short-answer":
      return served.answerHalf(await commit(), "close", stage.clock);
    case "missing-etag":
      return served.answer(withHeader(await commit(), "etag", undefined));
    case "weak-etag":
      return served.answer(weakened(await commit()));
    case "empty-etag":
      return served.answer(withHeader(await commit(), "etag", '""'));
    case "clock-skew": {
      const serverMs = stage.clock.now() + (fault.offsetMs ?? SKEW_MS);
      const dated = (answer: HttpAnswer): HttpAnswer => withHeader(answer, "date", new Date(serverMs).toUTCString());
      if (fault.refuse === false) return served.answer(dated(await commit()));
      return tell(false, dated(error(timeTooSkewed(served, serverMs))));
    }
    case "expired-token":
      return tell(false, error(expiredToken(served, fault.status ?? 400)));
    case "access-denied":
      return tell(false, error(new S3Refusal("AccessDenied")));
    case "no-such-upload":
      return tell(fault.committed === true, error(noSuchUpload(served)));
    case "duplicate-delivery": {
      const request = await stage.read();
      await stage.commit(request);
      return served.answer(await stage.commit(request));
    }
    case "bit-flip":
      return served.answer(flipped(await commit(), fault, strike));
    case "delay": {
      const request = await stage.read();
      await sleep(stage.clock, fault.delayMs, stage.closing);
      return served.answer(await stage.commit(request));
    }
    case "close-idle":
      await served.answer(await commit());
      return served.end();
  }
}

function slowDown(retryAfterSeconds: number | undefined): S3Refusal {
  return new S3Refusal("SlowDown", {
    headers: retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) },
  });
}

function conflict(served: ServedRequest): S3Refusal {
  const elements = { Condition: conditionOf(served), Key: served.call.key };
  return new S3Refusal("ConditionalRequestConflict", { elements });
}

function preconditionFailed(served: ServedRequest): S3Refusal {
  return new S3Refusal("PreconditionFailed", { elements: { Condition: conditionOf(served) } });
}

function conditionOf({ headers }: ServedRequest): string {
  return headers["if-match"] === undefined ? "If-None-Match" : "If-Match";
}

function timeTooSkewed({ headers }: ServedRequest, serverMs: number): S3Refusal {
  return new S3Refusal("RequestTimeTooSkewed", {
    elements: {
      RequestTime: headers["x-amz-date"] ?? headers["date"] ?? "",
      ServerTime: new Date(serverMs).toISOString(),
      MaxAllowedSkewMilliseconds: "900000",
    },
  });
}

function expiredToken({ headers }: ServedRequest, status: 400 | 403): S3Refusal {
  const token = headers["x-amz-security-token"];
  // As Amazon does: an error that is logged with its answer gives the token away.
  return new S3Refusal("ExpiredToken", { status, elements: token === undefined ? {} : { "Token-0": token } });
}

function noSuchUpload({ call }: ServedRequest): S3Refusal {
  return new S3Refusal("NoSuchUpload", { elements: { UploadId: call.query.get("uploadId") ?? "" } });
}

function weakened(answer: HttpAnswer): HttpAnswer {
  const etag = Object.entries(answer.headers).find(([name]) => name.toLowerCase() === "etag")?.[1];
  return etag === undefined || etag.startsWith("W/") ? answer : withHeader(answer, "etag", `W/${etag}`);
}

/** An answer without a body, and a refusal, stay as they are. */
function flipped(answer: HttpAnswer, fault: Extract<Fault, { kind: "bit-flip" }>, { random }: Strike): HttpAnswer {
  const { status, body } = answer;
  if (status >= 300 || body.length === 0) return answer;
  const position = Math.min(fault.position ?? Math.floor(random.float() * body.length), body.length - 1);
  const changed = Uint8Array.from(body);
  changed[position] = (changed[position] ?? 0) ^ (1 << Math.floor(random.float() * 8));
  return { ...answer, body: changed };
}
