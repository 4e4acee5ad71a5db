/** How traces speak of an SQS queue. */

/** By the name of the conventions until 1.44. */
export const system = "aws_sqs"

/** What else spans say of a queue: its system by the conventions' name of today, and which queue it is. */
export const spanAttributesOf = (url: string): Readonly<Record<string, string>> => ({
  "messaging.system.name": "aws.sqs",
  "aws.sqs.queue.url": url
})
