import { isTierlogError, type CorruptionError, type UnsupportedVersionError } from "../../errors.ts";

/** What is wrong with some bytes, without the name of their object. */
export interface DataProblem {
  /** A format that this version does not read, which need not be damage. */
  readonly unsupported: boolean;
  readonly position: number | undefined;
  /** Without a stop at its end. */
  readonly problem: string;
}

/** What an error of kind "data" says; any other error is thrown again. */
export function dataProblem(error: unknown): DataProblem {
  if (!isTierlogError(error) || error.kind !== "data") throw error;
  if (!isCorruption(error)) return { unsupported: true, position: undefined, problem: error.message };
  const before = `${error.key} at byte ${error.position}: `;
  const problem = error.message.startsWith(before) ? error.message.slice(before.length) : error.message;
  return { unsupported: false, position: error.position, problem };
}

function isCorruption(error: Error & { readonly code: string }): error is CorruptionError {
  return error.code === ("TIERLOG_CORRUPTION" satisfies (CorruptionError | UnsupportedVersionError)["code"]);
}

/** `read`, and once more where its bytes fail a check: they may have been damaged on their way. */
export async function readTwice<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!isTierlogError(error) || error.kind !== "data") throw error;
    return await read();
  }
}
