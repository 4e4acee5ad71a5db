/** How traces speak of an SQS queue. */

/** By the name of the conventions until 1.44. */
export const system = "aws_sqs"

/** What else spans say of a queue: its system by the conventions' name of today, and which queue it is. */
export const spanAttributesOf = (url: string): Readonly<Record<string, string | number>> => ({
  "messaging.system.name": "aws.sqs",
  "aws.sqs.queue.url": url,
  ...serverOf(url)
})

/** The port only where it is not that of the protocol, as the conventions have it. */
const serverOf = (url: string): Readonly<Record<string, string | number>> => {
  if (!URL.canParse(url)) return {}
  const { hostname, port } = new URL(url)
  return { "server.address": hostname, ...(port === "" ? {} : { "server.port": Number(port) }) }
}
