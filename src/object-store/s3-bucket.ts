import {
  CreateBucketCommand,
  HeadBucketCommand,
  type BucketLocationConstraint,
  type CreateBucketCommandInput,
} from "@aws-sdk/client-s3";

import { isTierlogError } from "../errors.ts";
import { RetriedCall, retried, type RetrySettings } from "./retry.ts";
import { readAnswer } from "./s3-answer.ts";
import { createS3Client, type S3ClientSettings } from "./s3-client.ts";
import { s3Outcome } from "./s3-outcome.ts";

/** Amazon's oldest region, which a bucket is in that names none; naming it is an error. */
const NO_CONSTRAINT = "us-east-1";

/**
 * Makes the bucket where there is none; resolves to whether it did. Who may not look (403) is believed that it is there: what is
 * asked of it next says more. `ObjectStoreError`.
 */
export async function ensureBucket(
  settings: S3ClientSettings & { readonly bucket: string },
  retries: RetrySettings,
): Promise<boolean> {
  const { bucket } = settings;
  const client = createS3Client(settings);
  client.middlewareStack.add(
    (next, context) => (args) =>
      next(context["commandName"] === "CreateBucketCommand" ? { ...args, input: createBucketInput(settings) } : args),
    // Behind the SDK's own, which puts the region into every such request, and into the command itself.
    { step: "serialize", priority: "high", name: "locationAsMeant" },
  );
  const send = <T>(request: (signal: AbortSignal) => Promise<T>): Promise<T> =>
    retried(new RetriedCall(retries, "createBucket", bucket, undefined), async (signal) => {
      try {
        return await request(signal);
      } catch (error) {
        // Of the credentials: nothing was sent.
        if (isTierlogError(error)) throw error;
        const outcome = s3Outcome(error, { operation: "createBucket", key: bucket, bucket });
        throw outcome.kind === "error" ? outcome.error : error;
      }
    });
  const isThere = async (signal: AbortSignal): Promise<boolean> => {
    try {
      await client.send(new HeadBucketCommand({ Bucket: bucket }), { abortSignal: signal });
      return true;
    } catch (error) {
      const { status } = readAnswer(error);
      if (status === 404) return false;
      // Without a body: nothing more can be learned from it.
      if (status !== undefined && status < 500 && status !== 429) return true;
      throw error;
    }
  };
  const create = async (signal: AbortSignal): Promise<boolean> => {
    try {
      const command = new CreateBucketCommand(createBucketInput(settings));
      await client.send(command, { abortSignal: signal });
      return true;
    } catch (error) {
      // Another process was first, or our own answer was lost.
      if (readAnswer(error).code === "BucketAlreadyOwnedByYou") return false;
      throw error;
    }
  };
  try {
    return (await send(isThere)) ? false : await send(create);
  } finally {
    client.destroy();
  }
}

/** With the region on Amazon only: elsewhere the endpoint says where, and a region is a name for signatures that no place may have. */
export function createBucketInput({
  bucket,
  region,
  endpoint,
}: Pick<S3ClientSettings, "region" | "endpoint"> & { readonly bucket: string }): CreateBucketCommandInput {
  const amazon = endpoint === undefined || /\.amazonaws\.com(\.cn)?$/.test(new URL(endpoint).hostname);
  if (!amazon || region === NO_CONSTRAINT) return { Bucket: bucket };
  return { Bucket: bucket, CreateBucketConfiguration: { LocationConstraint: region as BucketLocationConstraint } };
}
