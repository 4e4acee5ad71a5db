/**
 * A queue's attributes: what may be set, within which bounds and in which company, and as what it is kept.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
 */
import * as AccessPolicy from "./AccessPolicy.js"
import * as RedrivePolicies from "./RedrivePolicies.js"
import { invalid, Refusal, unknownAttribute } from "./Refusal.js"

export type Attributes = Readonly<Record<string, string>>

const invalidAttribute = (name: string, reason?: string): Refusal =>
  new Refusal(
    "InvalidAttributeValue",
    `Invalid value for the parameter ${name}.${reason === undefined ? "" : ` Reason: ${reason}`}`
  )

/** Reads one attribute's value and gives it as the queue keeps it. */
type Read = (value: string, name: string) => string

const range =
  (least: number, most: number): Read =>
  (value, name) => {
    const number = /^-?\d{1,10}$/.test(value) ? Number(value) : Number.NaN
    if (!(number >= least && number <= most)) throw invalidAttribute(name)
    return String(number)
  }

const choice =
  (...values: ReadonlyArray<string>): Read =>
  (value, name) => {
    if (!values.includes(value)) throw invalidAttribute(name)
    return value
  }

/** In any case: Python's `str(True)` is `True`. */
const boolean: Read = (value, name) => choice("true", "false")(value.toLowerCase(), name)

/** An empty text removes the attribute. */
const unlessEmpty =
  (read: Read): Read =>
  (value, name) =>
    value === "" ? value : read(value, name)

const settable: ReadonlyMap<string, Read> = new Map<string, Read>([
  ["VisibilityTimeout", range(0, 43_200)],
  ["MessageRetentionPeriod", range(60, 1_209_600)],
  ["DelaySeconds", range(0, 900)],
  ["MaximumMessageSize", range(1_024, 1_048_576)],
  ["ReceiveMessageWaitTimeSeconds", range(0, 20)],
  ["KmsMasterKeyId", (value) => value],
  ["KmsDataKeyReusePeriodSeconds", range(60, 86_400)],
  ["SqsManagedSseEnabled", boolean],
  ["FifoQueue", boolean],
  ["ContentBasedDeduplication", boolean],
  ["DeduplicationScope", choice("queue", "messageGroup")],
  ["FifoThroughputLimit", choice("perQueue", "perMessageGroupId")],
  [
    "Policy",
    unlessEmpty((text) => {
      AccessPolicy.check(text)
      return text
    })
  ],
  ["RedrivePolicy", unlessEmpty((text) => RedrivePolicies.redrivePolicy(text).text)],
  ["RedriveAllowPolicy", unlessEmpty((text) => RedrivePolicies.redriveAllowPolicy(text).text)]
])

/** Of a queue that is not FIFO these are refused, each in its own words. */
const fifoOnly: ReadonlyMap<string, (name: string) => Refusal> = new Map([
  ["FifoQueue", unknownAttribute],
  ["ContentBasedDeduplication", unknownAttribute],
  ...["DeduplicationScope", "FifoThroughputLimit"].map(
    (name) =>
      [
        name,
        () => new Refusal("InvalidAttributeName", `You can specify the ${name} only when FifoQueue is set to true.`)
      ] as const
  )
])

/** What GetQueueAttributes tells and nobody sets. */
const computed: ReadonlySet<string> = new Set([
  "QueueArn",
  "ApproximateNumberOfMessages",
  "ApproximateNumberOfMessagesNotVisible",
  "ApproximateNumberOfMessagesDelayed",
  "CreatedTimestamp",
  "LastModifiedTimestamp"
])

/** Throws where GetQueueAttributes cannot be asked for this. */
export const checkAsked = (name: string): void => {
  if (name !== "All" && !settable.has(name) && !computed.has(name)) throw unknownAttribute(name)
}

export const defaults = (fifo: boolean): Attributes => ({
  VisibilityTimeout: "30",
  MessageRetentionPeriod: "345600",
  DelaySeconds: "0",
  MaximumMessageSize: "1048576",
  ReceiveMessageWaitTimeSeconds: "0",
  SqsManagedSseEnabled: "true",
  KmsDataKeyReusePeriodSeconds: "300",
  ...(fifo
    ? {
        FifoQueue: "true",
        ContentBasedDeduplication: "false",
        DeduplicationScope: "queue",
        FifoThroughputLimit: "perQueue"
      }
    : {})
})

/** Whether a queue is created as a FIFO queue. */
export const asksForFifo = (attributes: Attributes): boolean => attributes["FifoQueue"]?.toLowerCase() === "true"

/**
 * Checks what is to be set on a queue that has the attributes `present`, and gives it as the queue keeps it, with what
 * changes along with it.
 */
export const checked = (attributes: Attributes, present: Attributes): Attributes => {
  const fifo = present["FifoQueue"] === "true"
  const changed: Record<string, string> = {}
  for (const [name, value] of Object.entries(attributes)) {
    const read = settable.get(name)
    if (read === undefined) throw unknownAttribute(name)
    const refusal = fifo ? undefined : fifoOnly.get(name)
    if (refusal !== undefined) throw refusal(name)
    changed[name] = read(value, name)
  }
  if (changed["FifoQueue"] === "false") {
    throw invalidAttribute("FifoQueue", "Modifying queue type is not supported.")
  }
  checkThroughput({ ...present, ...changed })
  return withEncryption(changed)
}

const checkThroughput = (all: Attributes): void => {
  if (all["FifoThroughputLimit"] === "perMessageGroupId" && all["DeduplicationScope"] !== "messageGroup") {
    throw invalidAttribute(
      "FifoThroughputLimit",
      "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup."
    )
  }
}

/** A queue is encrypted by a key of KMS, or by SQS itself, or not at all. */
const withEncryption = (changed: Attributes): Attributes => {
  const key = changed["KmsMasterKeyId"] ?? ""
  const managed = changed["SqsManagedSseEnabled"] === "true"
  if (key !== "" && managed) {
    throw new Refusal(
      "InvalidAttributeName",
      "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE."
    )
  }
  if (key !== "") return { ...changed, SqsManagedSseEnabled: "false" }
  return managed ? { ...changed, KmsMasterKeyId: "" } : changed
}

/** Without a key of KMS nobody is told how long its data keys are used. */
export const shown = ({ KmsDataKeyReusePeriodSeconds, ...rest }: Attributes): Attributes =>
  KmsDataKeyReusePeriodSeconds === undefined || rest["KmsMasterKeyId"] === undefined
    ? rest
    : { ...rest, KmsDataKeyReusePeriodSeconds }

/** The name of an attribute by which a queue that is there differs from what is asked for. */
export const difference = (asked: Attributes, present: Attributes): string | undefined =>
  Object.entries(asked).find(([name, value]) => {
    const has = present[name] ?? ""
    if (has === value) return false
    return !(name === "Policy" && has !== "" && value !== "" && AccessPolicy.same(has, value))
  })?.[0]

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
