/**
 * The MD5s by which a client checks what SQS understood.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
 */
import { hash } from "node:crypto"
import type { MessageAttributes } from "../../SqsClient.js"

export const ofBody = (body: string): string => hash("md5", body)

export const ofAttributes = (attributes: MessageAttributes): string => {
  const parts: Array<Uint8Array> = []
  const part = (bytes: Uint8Array) => {
    const length = Buffer.allocUnsafe(4)
    length.writeUInt32BE(bytes.length)
    parts.push(length, bytes)
  }
  for (const name of Object.keys(attributes).sort()) {
    const attribute = attributes[name]
    if (attribute === undefined) continue
    part(Buffer.from(name))
    part(Buffer.from(attribute.DataType))
    if (attribute.BinaryValue === undefined) {
      parts.push(Buffer.of(1))
      part(Buffer.from(attribute.StringValue ?? ""))
    } else {
      parts.push(Buffer.of(2))
      part(attribute.BinaryValue)
    }
  }
  return hash("md5", Buffer.concat(parts))
}
