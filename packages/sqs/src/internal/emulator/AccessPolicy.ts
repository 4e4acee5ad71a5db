/**
 * A queue's access policy: the document in its attribute `Policy`, and the statements that AddPermission adds to it.
 * It is kept and shown; nothing enforces it.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_AddPermission.html
 */
import type { Operation } from "../../emulator/Fault.js"
import { invalidValue, missing, Refusal } from "./Refusal.js"

const mostStatements = 20
const mostActions = 7
const mostBytes = 8_192

type Statement = Readonly<Record<string, unknown>>
interface Document {
  readonly [name: string]: unknown
  readonly Statement: ReadonlyArray<Statement>
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const listed = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [value])

/** Of each pair a statement has one. */
const parts = [
  ["Principal", "NotPrincipal"],
  ["Action", "NotAction"],
  ["Resource", "NotResource"]
] as const

const isStatement = (value: unknown): value is Statement =>
  isRecord(value) &&
  (value["Effect"] === "Allow" || value["Effect"] === "Deny") &&
  parts.every((names) => names.some((name) => Object.hasOwn(value, name)))

const read = (text: string): Document | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    if (!isRecord(value)) return undefined
    const statements = listed(value["Statement"])
    return statements.length > 0 && statements.every(isStatement) ? { ...value, Statement: statements } : undefined
  } catch {
    return undefined
  }
}

const overLimit = (message: string) => new Refusal("OverLimit", message)

/** Throws where AWS would not take the policy. */
export const check = (text: string): void => {
  const policy = read(text)
  if (policy === undefined) throw new Refusal("InvalidAttributeValue", "Invalid value for the parameter Policy.")
  checkSize(policy)
  if (Buffer.byteLength(text) > mostBytes) throw overLimit("Submitted policy is over max allowed size.")
}

const checkSize = ({ Statement: statements }: Document): void => {
  if (statements.length > mostStatements) {
    throw overLimit(
      `${statements.length} statements were found in the submitted policy, max allowed is ${mostStatements}`
    )
  }
  for (const { Action } of statements) {
    const { length } = listed(Action)
    if (length > mostActions) {
      throw overLimit(
        `${length} actions were found in a statement from the submitted policy, max allowed is ${mostActions}`
      )
    }
  }
}

/** Two texts of the same document. */
export const same = (one: string, other: string): boolean => {
  const canonical = (text: string) =>
    JSON.stringify(JSON.parse(text), (_, value: unknown) =>
      isRecord(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value
    )
  return canonical(one) === canonical(other)
}

const grantable: ReadonlySet<string> = new Set<Operation | "*">([
  "*",
  "ChangeMessageVisibility",
  "DeleteMessage",
  "GetQueueAttributes",
  "GetQueueUrl",
  "ListDeadLetterSourceQueues",
  "PurgeQueue",
  "ReceiveMessage",
  "SendMessage"
])
const ownersOnly: ReadonlySet<string> = new Set<Operation>([
  "AddPermission",
  "CancelMessageMoveTask",
  "CreateQueue",
  "DeleteQueue",
  "ListMessageMoveTasks",
  "ListQueueTags",
  "ListQueues",
  "RemovePermission",
  "SetQueueAttributes",
  "StartMessageMoveTask",
  "TagQueue",
  "UntagQueue"
])

const checkLabel = (label: string | undefined): void => {
  if (label === undefined || label === "") throw missing("Label")
  if (!/^[A-Za-z0-9_-]{1,80}$/.test(label)) {
    throw invalidValue(
      "Label",
      label,
      "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length."
    )
  }
}

const one = (list: ReadonlyArray<string>) => (list.length === 1 ? list[0] : list)

/** The policy of the queue with a statement more, as text. */
export const added = (
  text: string | undefined,
  queueArn: string,
  request: {
    readonly Label: string
    readonly AWSAccountIds: ReadonlyArray<string>
    readonly Actions: ReadonlyArray<string>
  }
): string => {
  const { Label: label, AWSAccountIds: accounts, Actions: actions } = request
  checkLabel(label)
  if (actions.length === 0) throw missing("Actions")
  if (accounts.length === 0) throw invalidValue("PrincipalId", "[]", "Unable to verify.")
  if (actions.length > mostActions) {
    throw overLimit(`${actions.length} Actions were found, maximum allowed is ${mostActions}.`)
  }
  for (const action of actions) {
    if (grantable.has(action)) continue
    throw invalidValue(
      "ActionName",
      `SQS:${action}`,
      ownersOnly.has(action)
        ? "Only the queue owner is allowed to invoke this action."
        : "Please refer to the appropriate WSDL for a list of valid actions."
    )
  }
  if (!accounts.every((account) => /^\d{12}$/.test(account))) {
    throw invalidValue("PrincipalId", `[${accounts.join(", ")}]`, "Unable to verify principal.")
  }
  const policy = (text === undefined ? undefined : read(text)) ?? {
    Version: "2008-10-17",
    Id: `${queueArn}/SQSDefaultPolicy`,
    Statement: []
  }
  if (policy.Statement.some(({ Sid }) => Sid === label)) throw invalidValue("Label", label, "Already exists.")
  const statement = {
    Sid: label,
    Effect: "Allow",
    Principal: { AWS: one(accounts.map((id) => `arn:aws:iam::${id}:root`)) },
    Action: one(actions.map((action) => `SQS:${action}`)),
    Resource: queueArn
  }
  const next = { ...policy, Statement: [...policy.Statement, statement] }
  checkSize(next)
  return JSON.stringify(next)
}

/** The policy without the statement of that label, as text; empty when it was the last. */
export const removed = (text: string | undefined, label: string): string => {
  checkLabel(label)
  const policy = text === undefined ? undefined : read(text)
  if (policy === undefined) throw invalidValue("Label", label, "can't find label.")
  const kept = policy.Statement.filter(({ Sid }) => Sid !== label)
  if (kept.length === policy.Statement.length) {
    throw invalidValue("Label", label, "can't find label on existing policy.")
  }
  return kept.length === 0 ? "" : JSON.stringify({ ...policy, Statement: kept })
}
