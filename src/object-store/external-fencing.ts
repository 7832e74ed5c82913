import type { ObjectStore } from "./object-store.ts";
import { answerOf } from "./probe/race-create.ts";

/**
 * For a store whose conditional writes cannot be relied on, and whose only writer is kept alone by other means: "if-absent" looks
 * first, then sends the condition along, or leaves it out once the store has refused to take one. NOT atomic: of two writers at once
 * both may win, and a request that was given up may land late and overwrite. Costs a HEAD for each such put. Sits beneath the
 * settling wrapper, above `metered`.
 */
export function externallyFenced(inner: ObjectStore): ObjectStore {
  let takesConditions = true;
  return {
    ...inner,
    async put(key, body, options) {
      if (options.condition.kind !== "if-absent") return inner.put(key, body, options);
      const calls = options.signal === undefined ? {} : { signal: options.signal };
      if ((await inner.head(key, calls)) !== undefined) return { kind: "condition-failed" };
      if (takesConditions) {
        try {
          return await inner.put(key, body, options);
        } catch (error) {
          // Anything else than "no such request" comes out of it.
          const answer = answerOf(error);
          if (answer.kind !== "unsupported") throw error;
          takesConditions = false;
        }
      }
      return inner.put(key, body, { ...calls, condition: { kind: "none" } });
    },
  };
}
