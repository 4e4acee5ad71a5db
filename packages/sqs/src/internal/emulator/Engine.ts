/** All queues of one emulator and the operations on them, by the rules of SQS. Told the time, like `Queue`. */
import type {
  BatchFailure,
  BatchRequest,
  BatchResult,
  ReceiptEntry,
  SendFields,
  VisibilityEntry
} from "../../SqsClient.js"
import * as AccessPolicy from "./AccessPolicy.js"
import * as Address from "./Address.js"
import { MoveTasks } from "./MoveTasks.js"
import { Queue, type Sent, type Surroundings } from "./Queue.js"
import type { Attributes } from "./QueueAttributes.js"
import * as QueueAttributes from "./QueueAttributes.js"
import * as RedrivePolicies from "./RedrivePolicies.js"
import { invalid, invalidValue, missing, Refusal } from "./Refusal.js"
import { maximumBytes, size } from "./StoredMessage.js"
import * as Tags from "./Tags.js"

const deletedInterval = 60_000

export interface Settings extends Address.Place {
  /** Without a slash at its end. */
  readonly url: string
  readonly keepDeleted: number
  readonly inFlightLimit: number
  /** Whether a purge and a deleted name hold for a minute. */
  readonly waits: boolean
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
      waits: settings.waits,
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

  /** By name or by URL. */
  find(nameOrUrl: string | undefined): Queue {
    return this.named(Address.nameOf(nameOrUrl, this.settings))
  }

  /** By name alone, in its owner's account. */
  findOwned(name: string | undefined, owner: string | undefined): Queue {
    if (name === undefined || name === "") throw missing("QueueName")
    Address.checkOwner(owner, this.settings)
    return this.named(name)
  }

  private named(name: string): Queue {
    const queue = this.queues.get(name)
    if (queue === undefined) throw Address.doesNotExist()
    return queue
  }

  private byArn(arn: string): Queue | undefined {
    const queue = this.queues.get(Address.nameOfArn(arn))
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
    const fifo = QueueAttributes.asksForFifo(request.Attributes ?? {})
    QueueAttributes.checkName(name, fifo)
    const present = this.queues.get(name)
    const attributes = QueueAttributes.checked(
      request.Attributes ?? {},
      present?.attributes ?? QueueAttributes.defaults(fifo)
    )
    if (present !== undefined) {
      const differs = QueueAttributes.difference(attributes, present.attributes)
      if (differs !== undefined) {
        throw new Refusal(
          "QueueNameExists",
          `A queue already exists with the same name and a different value for attribute ${differs}`
        )
      }
      return present
    }
    const deletedAt = this.deletedAt.get(name)
    if (this.settings.waits && deletedAt !== undefined && now - deletedAt < deletedInterval) {
      throw new Refusal(
        "QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name."
      )
    }
    const arn = Address.arn(this.settings, name)
    this.checkRedrive(attributes, arn, fifo)
    const tags = new Map<string, string>()
    Tags.add(tags, request.tags, name)
    const { keepDeleted, seed } = this.settings
    const key = `${seed[0].toString(36)}${hex(++this.created, 4)}`
    const queue = new Queue({ name, arn, attributes, tags, key, keepDeleted, now }, this.surroundings)
    this.queues.set(name, queue)
    this.deletedAt.delete(name)
    return queue
  }

  /** The target may be the queue itself, once it is there. */
  private checkRedrive(attributes: Attributes, arn: string, fifo: boolean): void {
    const redrive = attributes["RedrivePolicy"]
    if (redrive === undefined || redrive === "") return
    const refuse = (reason: string) => invalidValue("RedrivePolicy", redrive, reason)
    const { deadLetterTargetArn } = RedrivePolicies.redrivePolicy(redrive)
    if (deadLetterTargetArn.endsWith(".fifo") !== fifo) {
      throw refuse("Dead-letter queue must be same type of queue as the source.")
    }
    const target = this.byArn(deadLetterTargetArn)
    if (target === undefined) throw refuse("Dead letter target does not exist.")
    if (!RedrivePolicies.redriveAllowed(target.attributes["RedriveAllowPolicy"], arn)) {
      throw refuse("The dead letter target's RedriveAllowPolicy does not allow this queue as a source.")
    }
  }

  delete(queue: Queue, now: number): void {
    this.queues.delete(queue.name)
    this.deletedAt.set(queue.name, now)
    queue.close(Address.doesNotExist())
  }

  setAttributes(queue: Queue, attributes: Attributes, now: number): void {
    if (attributes === undefined) throw missing("Attributes")
    const changed = QueueAttributes.checked(attributes, queue.attributes)
    this.checkRedrive(changed, queue.arn, queue.fifo)
    queue.configure(changed, now)
  }

  attributes(queue: Queue, names: ReadonlyArray<string>): Attributes {
    for (const name of names) QueueAttributes.checkAsked(name)
    const all: Attributes = {
      QueueArn: queue.arn,
      ApproximateNumberOfMessages: String(queue.visible),
      ApproximateNumberOfMessagesNotVisible: String(queue.inFlight),
      ApproximateNumberOfMessagesDelayed: String(queue.delayed),
      CreatedTimestamp: String(Math.floor(queue.createdAt / 1_000)),
      LastModifiedTimestamp: String(Math.floor(queue.modifiedAt / 1_000)),
      ...QueueAttributes.shown(queue.attributes)
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
    const after = token === undefined ? "" : nameOfToken(token)
    const names = [...this.queues.values()]
      .filter((queue) => queue.name > after && include(queue))
      .map((queue) => queue.name)
      .sort()
    const shown = names.slice(0, most ?? 1_000)
    const last = shown.at(-1)
    return {
      QueueUrls: shown.map((name) => this.queueUrl(name)),
      // Only a caller that asks for pages gets a token, as in AWS.
      ...(most !== undefined && last !== undefined && names.length > shown.length ? { NextToken: tokenOf(last) } : {})
    }
  }

  addPermission(queue: Queue, request: Parameters<typeof AccessPolicy.added>[2], now: number): void {
    queue.configure({ Policy: AccessPolicy.added(queue.attributes["Policy"], queue.arn, request) }, now)
  }

  removePermission(queue: Queue, label: string, now: number): void {
    queue.configure({ Policy: AccessPolicy.removed(queue.attributes["Policy"], label) }, now)
  }
}

/** Where a page ended. */
const tokenOf = (name: string): string => Buffer.from(`after ${name}`).toString("base64url")
const nameOfToken = (token: string): string => {
  const name = /^after (.+)$/.exec(Buffer.from(token, "base64url").toString())?.[1]
  if (name === undefined || tokenOf(name) !== token) {
    throw invalidValue("NextToken", token, "It is none that an earlier page has returned.")
  }
  return name
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
