/** One holder per name at a time, first come first served. Names in use only, so it does not grow. */
export class KeyMutex {
  readonly #tails = new Map<string, Promise<void>>();

  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(name);
    let release = (): void => undefined;
    const tail = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#tails.set(name, tail);
    await before;
    try {
      return await work();
    } finally {
      if (this.#tails.get(name) === tail) this.#tails.delete(name);
      release();
    }
  }
}
