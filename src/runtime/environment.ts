/** Environment variables, injected: a test sets one without touching those of its process. */
export type Environment = Readonly<Record<string, string | undefined>>;
