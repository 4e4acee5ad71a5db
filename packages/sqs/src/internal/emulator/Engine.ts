/** All queues of one emulator and the operations on them, by the rules of SQS. Told the time, like `Queue`. */
import type {
  BatchFailure,
  BatchRequest,
  BatchResult,
  ReceiptEntry,
  SendFields,
  VisibilityEntry
} from "../../SqsClient.js"
import { MoveTasks } from "./MoveTasks.js"
import { Queue, type Sent, type Surroundings } from "./Queue.js"
import type { Attributes } from "./QueueAttributes.js"
import * as QueueAttributes from "./QueueAttributes.js"
import { invalid, invalidValue, missing, Refusal } from "./Refusal.js"
import { maximumBytes, size } from "./StoredMessage.js"

const deletedInterval = 60_000

export interface Settings {
  readonly region: string
  readonly accountId: string
  /** Without a slash at its end. */
  readonly url: string
  readonly keepDeleted: number
  readonly inFlightLimit: number
  /** Two numbers below 2^32 that tell this emulator's ids from another's. */
  readonly seed: readonly [number, number]
}

interface Page {
  readonly MaxResults?: number | undefined
  readonly NextToken?: string | undefined
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0").slice(-digits)

export class Engine {
  readonly moveTasks: MoveTasks
  private readonly queues = new Map<string, Queue>()
  private readonly deletedAt = new Map<string, number>()
  private readonly surroundings: Surroundings
  private readonly settings: Settings
  private number = 0
  private created = 0

  constructor(settings: Settings) {
    this.settings = settings
    const [a, b] = settings.seed
    const prefix = `${hex(a, 8)}-${hex(b, 4)}-4${hex(b >>> 16, 3)}-8${hex(a ^ b, 3)}-`
    this.surroundings = {
      inFlightLimit: settings.inFlightLimit,
      nextNumber: () => ++this.number,
      messageId: (no) => prefix + hex(no, 12),
      queueByArn: (arn) => this.byArn(arn)
    }
    this.moveTasks = new MoveTasks({
      byArn: (arn) => this.byArn(arn),
      isDeadLetterQueue: ({ arn }) => [...this.all()].some((queue) => queue.deadLetterTargetArn === arn),
      newId: () => this.surroundings.messageId(++this.number)
    })
  }

  queueUrl(name: string): string {
    return `${this.settings.url}/${this.settings.accountId}/${name}`
  }

  all(): Iterable<Queue> {
    return this.queues.values()
  }

  /** By name, or by URL, whose last segment is the name. */
  find(nameOrUrl: string | undefined): Queue {
    if (nameOrUrl === undefined || nameOrUrl === "") throw missing("QueueUrl")
    const queue = this.queues.get(nameOrUrl.slice(nameOrUrl.lastIndexOf("/") + 1))
    if (queue === undefined) throw new Refusal("QueueDoesNotExist", "The specified queue does not exist.")
    return queue
  }

  private arn(name: string): string {
    return `arn:aws:sqs:${this.settings.region}:${this.settings.accountId}:${name}`
  }

  private byArn(arn: string): Queue | undefined {
    const queue = this.queues.get(arn.slice(arn.lastIndexOf(":") + 1))
    return queue?.arn === arn ? queue : undefined
  }

  // Messages

  sendBatch(request: BatchRequest<SendFields>, queue: Queue, now: number): BatchResult<Sent> {
    const entries = checkEntries("SendMessageBatch", request.Entries)
    let bytes = 0
    for (const entry of entries) bytes += size(entry)
    if (bytes > maximumBytes) {
      throw new Refusal(
        "BatchRequestTooLong",
        `Batch requests cannot be longer than ${maximumBytes} bytes. You have sent ${bytes} bytes.`
      )
    }
    for (const entry of entries) {
      try {
        queue.checkOrdering(entry)
      } catch (refusal) {
        throw refusal instanceof Refusal ? invalid(refusal.message) : refusal
      }
    }
    return each(entries, (entry) => queue.send(entry, now, "batch"))
  }

  deleteBatch(request: BatchRequest<ReceiptEntry>, queue: Queue, now: number): BatchResult<unknown> {
    return each(checkEntries("DeleteMessageBatch", request.Entries), (entry) => {
      queue.delete(entry.ReceiptHandle, now)
      return nothing
    })
  }

  changeVisibilityBatch(request: BatchRequest<VisibilityEntry>, queue: Queue, now: number): BatchResult<unknown> {
    return each(checkEntries("ChangeMessageVisibilityBatch", request.Entries), (entry) => {
      queue.changeVisibility(entry.ReceiptHandle, entry.VisibilityTimeout, now)
      return nothing
    })
  }

  // Queues

  create(
    request: {
      readonly QueueName: string
      readonly Attributes?: Attributes | undefined
      readonly tags?: Readonly<Record<string, string>> | undefined
    },
    now: number
  ): Queue {
    const name = request.QueueName
    if (name === undefined) throw missing("QueueName")
    const attributes = request.Attributes ?? {}
    const fifo = attributes["FifoQueue"] === "true"
    QueueAttributes.checkName(name, fifo)
    QueueAttributes.check(attributes, fifo)
    const present = this.queues.get(name)
    if (present !== undefined) {
      for (const [key, value] of Object.entries(attributes)) {
        if ((present.attributes[key] ?? "") !== value) {
          throw new Refusal(
            "QueueNameExists",
            `A queue already exists with the same name and a different value for attribute ${key}`
          )
        }
      }
      return present
    }
    const deletedAt = this.deletedAt.get(name)
    if (deletedAt !== undefined && now - deletedAt < deletedInterval) {
      throw new Refusal(
        "QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name."
      )
    }
    const arn = this.arn(name)
    this.checkPolicies(attributes, arn, fifo)
    const { keepDeleted, seed } = this.settings
    const key = `${seed[0].toString(36)}${hex(++this.created, 4)}`
    const queue = new Queue({ name, arn, attributes, key, keepDeleted, now }, this.surroundings)
    for (const [tag, value] of Object.entries(request.tags ?? {})) queue.tags.set(tag, value)
    this.queues.set(name, queue)
    this.deletedAt.delete(name)
    return queue
  }

  private checkPolicies(attributes: Attributes, arn: string, fifo: boolean): void {
    const allow = attributes["RedriveAllowPolicy"]
    if (allow !== undefined && allow !== "") QueueAttributes.redriveAllowPolicy(allow)
    const redrive = attributes["RedrivePolicy"]
    if (redrive === undefined || redrive === "") return
    const { deadLetterTargetArn } = QueueAttributes.redrivePolicy(redrive)
    const target = this.byArn(deadLetterTargetArn)
    if (target === undefined) {
      throw invalidValue("RedrivePolicy", redrive, "Dead letter target does not exist.")
    }
    if (target.fifo !== fifo) {
      throw invalidValue(
        "RedrivePolicy",
        redrive,
        "Dead letter target must be of the same type as the queue: FIFO for a FIFO queue, standard for a standard one."
      )
    }
    if (target.arn === arn) {
      throw invalidValue("RedrivePolicy", redrive, "Dead letter target owned by the queue itself is not allowed.")
    }
    if (!QueueAttributes.redriveAllowed(target.attributes["RedriveAllowPolicy"], arn)) {
      throw invalidValue(
        "RedrivePolicy",
        redrive,
        "The dead letter target's RedriveAllowPolicy does not allow this queue as a source."
      )
    }
  }

  delete(queue: Queue, now: number): void {
    this.queues.delete(queue.name)
    this.deletedAt.set(queue.name, now)
    queue.close(new Refusal("QueueDoesNotExist", "The specified queue does not exist."))
  }

  setAttributes(queue: Queue, attributes: Attributes, now: number): void {
    if (attributes === undefined) throw missing("Attributes")
    QueueAttributes.check(attributes, queue.fifo)
    this.checkPolicies(attributes, queue.arn, queue.fifo)
    queue.configure(attributes, now)
  }

  attributes(queue: Queue, names: ReadonlyArray<string>): Attributes {
    for (const name of names) if (name !== "All" && !QueueAttributes.known(name)) throw QueueAttributes.unknown(name)
    const all: Attributes = {
      QueueArn: queue.arn,
      ApproximateNumberOfMessages: String(queue.visible),
      ApproximateNumberOfMessagesNotVisible: String(queue.inFlight),
      ApproximateNumberOfMessagesDelayed: String(queue.delayed),
      CreatedTimestamp: String(Math.floor(queue.createdAt / 1_000)),
      LastModifiedTimestamp: String(Math.floor(queue.modifiedAt / 1_000)),
      ...queue.attributes
    }
    return names.includes("All")
      ? all
      : Object.fromEntries(Object.entries(all).filter(([name]) => names.includes(name)))
  }

  list(request: Page & { readonly QueueNamePrefix?: string | undefined }) {
    const prefix = request.QueueNamePrefix ?? ""
    return this.page(request, (queue) => queue.name.startsWith(prefix))
  }

  listDeadLetterSources(request: Page, target: Queue) {
    return this.page(request, (queue) => queue.deadLetterTargetArn === target.arn)
  }

  private page(request: Page, include: (queue: Queue) => boolean) {
    const { MaxResults: most, NextToken: token } = request
    if (most !== undefined && !(Number.isInteger(most) && most >= 1 && most <= 1_000)) {
      throw invalidValue("MaxResults", most, "Must be between 1 and 1000, if provided.")
    }
    const after = token === undefined ? "" : Buffer.from(token, "base64url").toString()
    const names = [...this.queues.values()]
      .filter((queue) => queue.name > after && include(queue))
      .map((queue) => queue.name)
      .sort()
    const shown = names.slice(0, most ?? 1_000)
    const last = shown.at(-1)
    return {
      QueueUrls: shown.map((name) => this.queueUrl(name)),
      // Only a caller that asks for pages gets a token, as in AWS.
      ...(most !== undefined && last !== undefined && names.length > shown.length
        ? { NextToken: Buffer.from(last).toString("base64url") }
        : {})
    }
  }

  /** Builds a policy document; nothing enforces it. */
  addPermission(
    queue: Queue,
    request: {
      readonly Label: string
      readonly AWSAccountIds: ReadonlyArray<string>
      readonly Actions: ReadonlyArray<string>
    },
    now: number
  ): void {
    const statements = policyOf(queue)
    if (statements.some((statement) => statement.Sid === request.Label)) {
      throw invalidValue("Label", request.Label, "Already exists.")
    }
    const principals = request.AWSAccountIds.map((id) => `arn:aws:iam::${id}:root`)
    const actions = request.Actions.map((action) => `SQS:${action}`)
    const one = (list: ReadonlyArray<string>) => (list.length === 1 && list[0] !== undefined ? list[0] : list)
    const statement = {
      Sid: request.Label,
      Effect: "Allow",
      Principal: { AWS: one(principals) },
      Action: one(actions),
      Resource: queue.arn
    }
    setPolicy(queue, [...statements, statement], now)
  }

  removePermission(queue: Queue, label: string, now: number): void {
    const statements = policyOf(queue)
    const kept = statements.filter((statement) => statement.Sid !== label)
    if (kept.length === statements.length) {
      throw invalidValue("Label", label, "can't find label on existing policy.")
    }
    setPolicy(queue, kept, now)
  }
}

interface Statement {
  readonly Sid?: unknown
}

const policyOf = (queue: Queue): ReadonlyArray<Statement> => {
  const text = queue.attributes["Policy"]
  if (text === undefined) return []
  try {
    const policy: unknown = JSON.parse(text)
    if (typeof policy !== "object" || policy === null || !("Statement" in policy)) return []
    return Array.isArray(policy.Statement) ? policy.Statement : []
  } catch {
    return []
  }
}

const setPolicy = (queue: Queue, statements: ReadonlyArray<Statement>, now: number): void => {
  const policy = { Version: "2008-10-17", Id: `${queue.arn}/SQSDefaultPolicy`, Statement: statements }
  queue.configure({ Policy: statements.length === 0 ? "" : JSON.stringify(policy) }, now)
}

const nothing = {}

type BatchOperation = "SendMessageBatch" | "DeleteMessageBatch" | "ChangeMessageVisibilityBatch"

const checkEntries = <Entry extends { readonly Id: string }>(
  operation: BatchOperation,
  entries: ReadonlyArray<Entry> | undefined
): ReadonlyArray<Entry> => {
  if (entries === undefined || entries.length === 0) {
    throw new Refusal("EmptyBatchRequest", `There should be at least one ${operation}RequestEntry in the request.`)
  }
  if (entries.length > 10) {
    throw new Refusal(
      "TooManyEntriesInBatchRequest",
      `Maximum number of entries per request are 10. You have sent ${entries.length}.`
    )
  }
  const ids = new Set<string>()
  for (const { Id: id } of entries) {
    if (typeof id !== "string" || !/^[A-Za-z0-9_-]{1,80}$/.test(id)) {
      throw new Refusal(
        "InvalidBatchEntryId",
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."
      )
    }
    if (ids.has(id)) throw new Refusal("BatchEntryIdsNotDistinct", `Id ${id} repeated.`)
    ids.add(id)
  }
  return entries
}

const each = <Entry extends { readonly Id: string }, Success extends object>(
  entries: ReadonlyArray<Entry>,
  run: (entry: Entry) => Success
): BatchResult<Success> => {
  const Successful: Array<Success & { readonly Id: string }> = []
  const Failed: Array<BatchFailure> = []
  for (const entry of entries) {
    try {
      Successful.push({ Id: entry.Id, ...run(entry) })
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal
      Failed.push({ Id: entry.Id, Code: refusal.entryCode, SenderFault: true, Message: refusal.message })
    }
  }
  return { Successful, Failed }
}
