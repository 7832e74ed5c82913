import type { MultipartUpload, ObjectStore } from "../../src/object-store/object-store.ts";

/** A store that passes everything on, and notes what parts it was sent and whether their buffers were left alone meanwhile. */
export class PartWatch {
  readonly store: ObjectStore;
  readonly uploads: MultipartUpload[] = [];
  /** Sizes of the parts, by number less one. */
  readonly sizes: number[] = [];
  /** Numbers of parts whose bytes changed while the store held them. */
  readonly changed: number[] = [];
  inFlight = 0;
  inFlightMax = 0;

  constructor(inner: ObjectStore) {
    this.store = {
      ...inner,
      createMultipart: async (key, options) => {
        const upload = await inner.createMultipart(key, options);
        this.uploads.push(upload);
        return { ...upload, putPart: (...args) => this.#putPart(upload, ...args) };
      },
    };
  }

  async #putPart(
    upload: MultipartUpload,
    ...[partNumber, body, options]: Parameters<MultipartUpload["putPart"]>
  ): ReturnType<MultipartUpload["putPart"]> {
    this.sizes[partNumber - 1] = body.length;
    this.inFlight += 1;
    this.inFlightMax = Math.max(this.inFlightMax, this.inFlight);
    const copy = Uint8Array.from(body);
    try {
      return await upload.putPart(partNumber, body, options);
    } finally {
      this.inFlight -= 1;
      if (Buffer.compare(copy, body) !== 0) this.changed.push(partNumber);
    }
  }
}
