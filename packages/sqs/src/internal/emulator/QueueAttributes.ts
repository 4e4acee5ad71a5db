/**
 * A queue's attributes: what may be set, within which bounds, and what they mean.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
 */
import { invalid, invalidValue, Refusal } from "./Refusal.js"

export type Attributes = Readonly<Record<string, string>>

const ranges: Readonly<Record<string, readonly [least: number, most: number]>> = {
  VisibilityTimeout: [0, 43_200],
  MessageRetentionPeriod: [60, 1_209_600],
  DelaySeconds: [0, 900],
  MaximumMessageSize: [1_024, 1_048_576],
  ReceiveMessageWaitTimeSeconds: [0, 20],
  KmsDataKeyReusePeriodSeconds: [60, 86_400]
}
const choices: Readonly<Record<string, ReadonlyArray<string>>> = {
  SqsManagedSseEnabled: ["true", "false"],
  ContentBasedDeduplication: ["true", "false"],
  DeduplicationScope: ["queue", "messageGroup"],
  FifoThroughputLimit: ["perQueue", "perMessageGroupId"]
}
const fifoOnly: ReadonlySet<string> = new Set([
  "ContentBasedDeduplication",
  "DeduplicationScope",
  "FifoThroughputLimit"
])
const free: ReadonlySet<string> = new Set(["Policy", "KmsMasterKeyId", "RedrivePolicy", "RedriveAllowPolicy"])

/** What GetQueueAttributes tells and nobody sets. */
export const computed: ReadonlyArray<string> = [
  "QueueArn",
  "ApproximateNumberOfMessages",
  "ApproximateNumberOfMessagesNotVisible",
  "ApproximateNumberOfMessagesDelayed",
  "CreatedTimestamp",
  "LastModifiedTimestamp"
]

export const known = (name: string): boolean =>
  name in ranges || name in choices || free.has(name) || name === "FifoQueue" || computed.includes(name)

export const unknown = (name: string): Refusal => new Refusal("InvalidAttributeName", `Unknown Attribute ${name}.`)

export const defaults = (fifo: boolean): Attributes => ({
  VisibilityTimeout: "30",
  MessageRetentionPeriod: "345600",
  DelaySeconds: "0",
  MaximumMessageSize: "1048576",
  ReceiveMessageWaitTimeSeconds: "0",
  SqsManagedSseEnabled: "true",
  ...(fifo
    ? {
        FifoQueue: "true",
        ContentBasedDeduplication: "false",
        DeduplicationScope: "queue",
        FifoThroughputLimit: "perQueue"
      }
    : {})
})

const whole = (value: string): number => (/^-?\d+$/.test(value) ? Number(value) : Number.NaN)

export const check = (attributes: Attributes, fifo: boolean): void => {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "FifoQueue") {
      if (!fifo) throw unknown(name)
      if (value !== "true") throw invalidAttribute(name)
      continue
    }
    if (!fifo && fifoOnly.has(name)) throw unknown(name)
    const range = ranges[name]
    if (range !== undefined) {
      const number = whole(value)
      if (!(number >= range[0] && number <= range[1])) throw invalidAttribute(name)
      continue
    }
    const choice = choices[name]
    if (choice !== undefined) {
      if (!choice.includes(value)) throw invalidAttribute(name)
      continue
    }
    if (!free.has(name)) throw unknown(name)
  }
}

const invalidAttribute = (name: string): Refusal =>
  new Refusal("InvalidAttributeValue", `Invalid value for the parameter ${name}.`)

/** What a queue may be called. */
export const checkName = (name: string, fifo: boolean): void => {
  if (fifo) {
    if (!/^[A-Za-z0-9_-]{1,75}\.fifo$/.test(name)) {
      throw invalid(
        "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length."
      )
    }
  } else if (!/^[A-Za-z0-9_-]{1,80}$/.test(name)) {
    throw invalid("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
  }
}

export interface RedrivePolicy {
  readonly deadLetterTargetArn: string
  readonly maxReceiveCount: number
}

const parseObject = (parameter: string, text: string): Readonly<Record<string, unknown>> => {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value }
  } catch {}
  throw invalidValue(
    parameter,
    text,
    `${parameter === "RedrivePolicy" ? "Redrive policy" : "Redrive allow policy"} is not a valid JSON map.`
  )
}

export const redrivePolicy = (text: string): RedrivePolicy => {
  const policy = parseObject("RedrivePolicy", text)
  const { deadLetterTargetArn, maxReceiveCount } = policy
  for (const [name, value] of Object.entries({ deadLetterTargetArn, maxReceiveCount })) {
    if (value === undefined || value === "") {
      throw invalidValue("RedrivePolicy", text, `Redrive policy does not contain mandatory attribute: ${name}.`)
    }
  }
  const count = Number(maxReceiveCount)
  if (!Number.isInteger(count) || count < 1 || count > 1_000) {
    throw invalidValue(
      "RedrivePolicy",
      text,
      `Invalid value for maxReceiveCount: ${maxReceiveCount}, valid values are from 1 to 1000 both inclusive.`
    )
  }
  return { deadLetterTargetArn: String(deadLetterTargetArn), maxReceiveCount: count }
}

/** Whether a dead-letter queue with this policy takes messages of that source. */
export const redriveAllowed = (policy: string | undefined, sourceArn: string): boolean => {
  if (policy === undefined) return true
  const { redrivePermission, sourceQueueArns } = redriveAllowPolicy(policy)
  return redrivePermission === "allowAll" || (redrivePermission === "byQueue" && sourceQueueArns.includes(sourceArn))
}

export const redriveAllowPolicy = (
  text: string
): { readonly redrivePermission: string; readonly sourceQueueArns: ReadonlyArray<unknown> } => {
  const policy = parseObject("RedriveAllowPolicy", text)
  const permission = policy["redrivePermission"]
  const sources = policy["sourceQueueArns"]
  const list: ReadonlyArray<unknown> = Array.isArray(sources) ? sources : []
  if (permission !== "allowAll" && permission !== "denyAll" && permission !== "byQueue") {
    throw invalidValue(
      "RedriveAllowPolicy",
      text,
      "Redrive allow policy must contain redrivePermission: one of allowAll, denyAll, byQueue."
    )
  }
  if (permission === "byQueue" ? list.length < 1 || list.length > 10 : sources !== undefined) {
    throw invalidValue(
      "RedriveAllowPolicy",
      text,
      "Redrive allow policy must contain 1 to 10 sourceQueueArns with byQueue, and none otherwise."
    )
  }
  return { redrivePermission: permission, sourceQueueArns: list }
}
