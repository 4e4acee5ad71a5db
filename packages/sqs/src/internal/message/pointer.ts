/**
 * Pointers to bodies in S3, as the Amazon SQS Extended Client Library for Java writes them; what its older versions and
 * squiss-ts write is read too.
 *
 * @see https://github.com/awslabs/payload-offloading-java-common-lib-for-aws
 */
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import type { ObjectId } from "../../ObjectStore.js"

/** Of the attribute with the size of the body in S3, which is how a consumer knows a pointer. */
export const sizeAttribute = "ExtendedPayloadSize"
export const names: ReadonlyArray<string> = [sizeAttribute, "SQSLargePayloadSize", "__SQS_S3__"]

const className = "software.amazon.payloadoffloading.PayloadS3Pointer"

export const isNamed = (attributes: LeaseQueue.Message["attributes"]): boolean =>
  names.some((name) => attributes[name] !== undefined)

export const write = ({ bucket, key }: ObjectId): string =>
  JSON.stringify([className, { s3BucketName: bucket, s3Key: key }])

const parsed = (body: string): unknown => {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

const text = (value: unknown, name: string): string | undefined => {
  const found: unknown = typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined
  return typeof found === "string" && found !== "" ? found : undefined
}

/** `undefined` where it is none. The name of the class, which has changed before, does not matter. */
export const read = (body: string): ObjectId | undefined => {
  const value = parsed(body)
  const fields: unknown = Array.isArray(value) && value.length === 2 ? value[1] : value
  const bucket = text(fields, "s3BucketName") ?? text(fields, "bucket")
  const key = text(fields, "s3Key") ?? text(fields, "key")
  return bucket === undefined || key === undefined ? undefined : { bucket, key }
}
