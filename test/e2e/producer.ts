import { expect } from "vitest";

import { jsonLines, type Finished, type Running, type Workplace } from "./tierlog.ts";

export interface Ack {
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly epoch: number;
}

/** A process that appends lines named after it, one record each, until it is stopped or ends by itself. */
export class Producer {
  readonly running: Running;
  readonly name: string;
  #lines = 0;
  #feeding = true;

  constructor(place: Workplace, env: Record<string, string>, name: string, topic: string) {
    this.name = name;
    const argv = ["produce", topic, "--partition", "0", "--batch-lines", "1", "--print-acks", "--json"];
    this.running = place.start(argv, env);
    void this.running.finished.finally(() => {
      this.#feeding = false;
    });
    void this.#feed();
  }

  get acks(): Ack[] {
    return jsonLines(this.running.stdout.toString().replace(/[^\n]*$/, "")) as unknown as Ack[];
  }

  /** Ends its input: it drains and exits. */
  async stop(): Promise<Finished> {
    this.#feeding = false;
    this.running.child.stdin?.end();
    return this.running.finished;
  }

  async #feed(): Promise<void> {
    while (this.#feeding) {
      this.running.child.stdin?.write(`${this.name}${this.#lines++}\n`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

/** The lines of the topic, by offset: each is there once, and every acked one of `producers` at the offset of its ack (I1, I2). */
export async function checkedLog(
  place: Workplace,
  env: Record<string, string>,
  topic: string,
  producers: readonly Producer[],
): Promise<string[]> {
  const { stdout } = await place.run(["consume", topic, "--json"], "", env);
  const log = jsonLines(stdout).map(({ value }) => String(value));
  expect(new Set(log).size).toBe(log.length);
  for (const { name, acks } of producers) {
    let line = 0;
    for (const { firstOffset, nextOffset } of acks) {
      for (let offset = firstOffset; offset < nextOffset; offset++) expect(log[offset]).toBe(`${name}${line++}`);
    }
  }
  return log;
}
