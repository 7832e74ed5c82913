import type { HttpAnswer } from "../http-exchange.ts";
import { emptyAnswer, xmlAnswer } from "./answer.ts";
import { mustAllow } from "./credentials.ts";
import { S3Refusal } from "./refusal.ts";
import type { S3Exchange, S3World } from "./world.ts";
import { childText, node, readXml, tag } from "./xml.ts";

export function listBuckets(world: S3World, { credential }: S3Exchange): HttpAnswer {
  mustAllow(credential, "s3:ListAllMyBuckets");
  const buckets = world
    .buckets()
    .map(({ name, createdMs }) =>
      node("Bucket", [tag("Name", name), tag("CreationDate", new Date(createdMs).toISOString())]),
    );
  return xmlAnswer("ListAllMyBucketsResult", [
    node("Owner", [tag("ID", "tierlog"), tag("DisplayName", "tierlog")]),
    node("Buckets", buckets),
  ]);
}

export function createBucket(world: S3World, { call, credential, payload }: S3Exchange): HttpAnswer {
  mustAllow(credential, "s3:CreateBucket");
  if (payload.bytes.length > 0) {
    const location = childText(readXml(payload.bytes), "LocationConstraint");
    if (location !== undefined && location !== world.region) {
      throw new S3Refusal("IllegalLocationConstraintException");
    }
  }
  if (world.findBucket(call.bucket) !== undefined) {
    // In its oldest region, and only there, S3 takes this for done.
    if (world.region !== "us-east-1") throw new S3Refusal("BucketAlreadyOwnedByYou");
  } else {
    world.createBucket(call.bucket);
  }
  return emptyAnswer(200, { location: `/${call.bucket}` });
}

export function headBucket(world: S3World, { call, credential }: S3Exchange): HttpAnswer {
  mustAllow(credential, "s3:ListBucket");
  world.bucket(call.bucket);
  return emptyAnswer(200, { "x-amz-bucket-region": world.region });
}

export function deleteBucket(world: S3World, { call, credential }: S3Exchange): HttpAnswer {
  mustAllow(credential, "s3:DeleteBucket");
  const bucket = world.bucket(call.bucket);
  if (!bucket.isEmpty) throw new S3Refusal("BucketNotEmpty");
  world.deleteBucket(bucket);
  return emptyAnswer(204);
}
