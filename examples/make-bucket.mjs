// Creates the bucket that a config names, if it is not there. For stores of your own; elsewhere the console asks what to set.
//   node examples/make-bucket.mjs CONFIG          keys: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { loadConfig } from "tierlog";

const { config } = await loadConfig({ file: process.argv[2], env: process.env, cwd: process.cwd() });
const { bucket, endpoint, region, forcePathStyle } = config.storage.object;
const s3 = new S3Client({ endpoint, region, forcePathStyle }); // looks for the keys in the environment itself
try {
  await s3.send(new CreateBucketCommand({ Bucket: bucket }));
  console.log(`bucket ${bucket} is created`);
} catch (error) {
  // In us-east-1, and on Ceph, a second creation by the owner is accepted; elsewhere it is this.
  if (error.name !== "BucketAlreadyOwnedByYou") throw error;
  console.log(`bucket ${bucket} is there already`);
} finally {
  s3.destroy();
}
