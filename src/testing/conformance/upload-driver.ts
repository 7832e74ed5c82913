import type { MultipartUpload, ObjectStore, UploadedPart } from "../../object-store/object-store.ts";
import { settlingUpload } from "../../object-store/settling-multipart.ts";
import { systemClock } from "../../runtime/clock.ts";
import { seededRandom } from "../../runtime/random.ts";
import type { StoreUnderTest } from "./conformance-case.ts";
import { k } from "./sample-bytes.ts";

export const UPLOAD_KEY = k("objects/ab/0000-0000000001-0000000000-ff.log");

/** An upload just started on the store under test, in the words of the checks. */
export class UploadDriver {
  readonly target: StoreUnderTest;
  readonly store: ObjectStore;
  readonly upload: MultipartUpload;

  private constructor(target: StoreUnderTest, upload: MultipartUpload) {
    this.target = target;
    this.store = target.store;
    this.upload = upload;
  }

  static async start(target: StoreUnderTest): Promise<UploadDriver> {
    return new UploadDriver(target, await target.store.createMultipart(UPLOAD_KEY));
  }

  /** Numbered from 1, sent in parallel. */
  putParts(...bodies: Uint8Array[]): Promise<UploadedPart[]> {
    return Promise.all(bodies.map((body, i) => this.upload.putPart(i + 1, body)));
  }

  /** Is the object just these bytes? */
  async holds(...bodies: Uint8Array[]): Promise<boolean> {
    const object = await this.target.other.get(UPLOAD_KEY);
    return object !== undefined && Buffer.compare(object.body, Buffer.concat(bodies)) === 0;
  }

  async listed(): Promise<string[]> {
    const keys: string[] = [];
    for await (const info of this.target.other.list("")) keys.push(info.key);
    return keys;
  }

  /** The upload behind the settling wrapper, as the engine uses it. */
  settled(upload: MultipartUpload = this.upload): MultipartUpload {
    return settlingUpload(this.store, upload, { clock: systemClock, random: seededRandom(1), deadlineMs: 60_000 });
  }
}
