/**
 * The two policies of dead-letter queues: which one a queue has (`RedrivePolicy`), and which queues may have this one
 * (`RedriveAllowPolicy`). Both are JSON in an attribute; `text` is how a queue keeps and shows it.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
 */
import { invalidValue, type Refusal } from "./Refusal.js"

export interface RedrivePolicy {
  readonly deadLetterTargetArn: string
  readonly maxReceiveCount: number
  readonly text: string
}

export interface RedriveAllowPolicy {
  readonly redrivePermission: "allowAll" | "denyAll" | "byQueue"
  readonly sourceQueueArns: ReadonlyArray<string>
  readonly text: string
}

const parse = (text: string, refuse: (reason: string) => Refusal, what: string): ReadonlyMap<string, unknown> => {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return new Map(Object.entries(value))
  } catch {
    // It is no JSON, as below.
  }
  throw refuse(`${what} is not a valid JSON map.`)
}

const arnOfQueue = /^arn:aws[a-z-]*:sqs:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]+(\.fifo)?$/

/** The count is a whole number, or a text that is one; a queue keeps the number. */
const counted = (value: unknown): number =>
  typeof value === "number" ? value : typeof value === "string" && /^\d+$/.test(value) ? Number(value) : Number.NaN

export const redrivePolicy = (text: string): RedrivePolicy => {
  const refuse = (reason: string) => invalidValue("RedrivePolicy", text, reason)
  const policy = parse(text, refuse, "Redrive policy")
  for (const name of ["maxReceiveCount", "deadLetterTargetArn"]) {
    const value = policy.get(name)
    if (value === undefined || value === null || value === "") {
      throw refuse(`Redrive policy does not contain mandatory attribute: ${name}.`)
    }
  }
  const given = policy.get("maxReceiveCount")
  const maxReceiveCount = counted(given)
  if (!(Number.isInteger(maxReceiveCount) && maxReceiveCount >= 1 && maxReceiveCount <= 1_000)) {
    const shown = typeof given === "string" ? given : JSON.stringify(given)
    throw refuse(`Invalid value for maxReceiveCount: ${shown}, valid values are from 1 to 1000 both inclusive.`)
  }
  const deadLetterTargetArn = policy.get("deadLetterTargetArn")
  if (typeof deadLetterTargetArn !== "string" || !arnOfQueue.test(deadLetterTargetArn)) {
    throw refuse("Invalid value for deadLetterTargetArn.")
  }
  return { deadLetterTargetArn, maxReceiveCount, text: JSON.stringify({ deadLetterTargetArn, maxReceiveCount }) }
}

export const redriveAllowPolicy = (text: string): RedriveAllowPolicy => {
  const refuse = (reason: string) => invalidValue("RedriveAllowPolicy", text, reason)
  const policy = parse(text, refuse, "Redrive allow policy")
  const redrivePermission = policy.get("redrivePermission")
  if (redrivePermission !== "allowAll" && redrivePermission !== "denyAll" && redrivePermission !== "byQueue") {
    throw refuse("Redrive allow policy must contain redrivePermission: one of allowAll, denyAll, byQueue.")
  }
  const sources = policy.get("sourceQueueArns")
  if (redrivePermission !== "byQueue") {
    if (sources !== undefined) {
      throw refuse(`Redrive allow policy must contain no sourceQueueArns with ${redrivePermission}.`)
    }
    return { redrivePermission, sourceQueueArns: [], text: JSON.stringify({ redrivePermission }) }
  }
  const sourceQueueArns: ReadonlyArray<unknown> = Array.isArray(sources) ? sources : []
  const isArn = (arn: unknown): arn is string => typeof arn === "string" && arnOfQueue.test(arn)
  if (sourceQueueArns.length < 1 || sourceQueueArns.length > 10 || !sourceQueueArns.every(isArn)) {
    throw refuse("Redrive allow policy must contain 1 to 10 sourceQueueArns, each the ARN of a queue, with byQueue.")
  }
  return { redrivePermission, sourceQueueArns, text: JSON.stringify({ redrivePermission, sourceQueueArns }) }
}

/** Whether a dead-letter queue with this policy takes messages of that source. */
export const redriveAllowed = (policy: string | undefined, sourceArn: string): boolean => {
  if (policy === undefined) return true
  const { redrivePermission, sourceQueueArns } = redriveAllowPolicy(policy)
  return redrivePermission === "allowAll" || sourceQueueArns.includes(sourceArn)
}
