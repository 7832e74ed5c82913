/** What a producing process was told, in the order in which it was told. */
export interface Ack {
  readonly id: string;
  readonly topicId: string;
  readonly partition: number;
  readonly level: "buffered" | "journaled" | "uploaded";
  readonly offset: number;
  readonly epoch: number;
}

/**
 * The log of all producing processes of a store, kept outside of them. An id is `process.number`: it is sent once, in one
 * append, whatever becomes of that; numbers of one process grow with its calls.
 */
export class AckLog {
  /** Id → `topicId/partition` it was sent to. */
  readonly sent = new Map<string, string>();
  /** The strongest ack of each id. */
  readonly acks = new Map<string, Ack>();
  /** Appends that failed with effect "none": nothing of them may be anywhere. */
  readonly refused = new Set<string>();
  readonly problems: string[] = [];

  send(id: string, topicId: string, partition: number): void {
    if (this.sent.has(id)) this.problems.push(`the id ${id} was sent twice`);
    this.sent.set(id, `${topicId}/${partition}`);
  }

  ack(ack: Ack): void {
    if (this.sent.get(ack.id) !== `${ack.topicId}/${ack.partition}`) {
      this.problems.push(`${ack.id} was acknowledged at ${ack.topicId}/${ack.partition}, not where it was sent to`);
    }
    if (this.acks.has(ack.id)) this.problems.push(`${ack.id} was acknowledged twice`);
    this.acks.set(ack.id, ack);
  }

  refuse(id: string): void {
    this.refused.add(id);
  }
}

/** Producer of an id and its place in the order of that producer's calls. */
export function parseId(id: string): { readonly process: string; readonly number: number } {
  const dot = id.lastIndexOf(".");
  return { process: id.slice(0, dot), number: Number(id.slice(dot + 1)) };
}
