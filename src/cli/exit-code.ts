/** Exit codes that no error carries; those of errors are in `errors.ts`. */
export const EXIT_OK = 0;

/** Done, but acknowledged records are not in the log: as an error of kind "data", somebody has to look. */
export const EXIT_RECORDS_LEFT_OUT = 65;

/** Looked at, and found damaged: as an error of kind "data". */
export const EXIT_DAMAGE = 65;

/** Something could not be deleted: as an error of kind "unavailable", worth another try. */
export const EXIT_GARBAGE_LEFT = 75;

/** 128 + the number of the signal, as a shell reports it. */
export const EXIT_BY_SIGNAL = { SIGINT: 130, SIGTERM: 143 } as const;
