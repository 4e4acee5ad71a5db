/**
 * One queue: its messages, their leases and the polls that wait for them. It is told the time and never asks for it,
 * so that it works the same under any clock. Sending, receiving and deleting cost O(log n) in the messages it holds.
 */
import { hash } from "node:crypto"
import type { MessageAttributes, ReceivedMessage, ReceiveMessageRequest, SendFields } from "../../SqsClient.js"
import { Heap, Timer } from "./Heap.js"
import * as Line from "./Line.js"
import { List } from "./List.js"
import * as Md5 from "./Md5.js"
import type { Attributes } from "./QueueAttributes.js"
import * as QueueAttributes from "./QueueAttributes.js"
import * as RedrivePolicies from "./RedrivePolicies.js"
import { invalid, invalidValue, missing, Refusal, unknownAttribute } from "./Refusal.js"
import { type Content, checkToken, content, StoredMessage } from "./StoredMessage.js"

const deduplicationWindow = 5 * 60_000
const purgeInterval = 60_000
const maximumLease = 43_200_000

/** What the queues of one engine share. */
export interface Surroundings {
  /** Messages in flight at once, at most. */
  readonly inFlightLimit: number
  /** Whether a purge holds for a minute. */
  readonly waits: boolean
  readonly nextNumber: () => number
  readonly messageId: (no: number) => string
  readonly queueByArn: (arn: string) => Queue | undefined
}

export interface Sent {
  readonly MessageId: string
  readonly MD5OfMessageBody: string
  readonly MD5OfMessageAttributes?: string
  readonly MD5OfMessageSystemAttributes?: string
  readonly SequenceNumber?: string
}

/** A receive, checked. */
export interface Receive {
  readonly max: number
  /** In milliseconds. */
  readonly lease: number
  readonly attributes: (message: StoredMessage) => Record<string, string> | undefined
  readonly messageAttributes: (attributes: MessageAttributes) => MessageAttributes | undefined
  readonly attemptId: string | undefined
  /** Deliver the messages once more although they are leased. */
  readonly duplicate: boolean
}

/** A long poll that waits. */
export class Poll {
  readonly receive: Receive
  readonly answer: (messages: ReadonlyArray<ReceivedMessage> | Refusal) => void
  readonly deadline: Timer<Poll>
  previous: Poll | undefined
  next: Poll | undefined

  constructor(receive: Receive, until: number, order: number, answer: Poll["answer"]) {
    this.receive = receive
    this.answer = answer
    this.deadline = new Timer<Poll>(this, order, until)
  }
}

interface Remembered<A> {
  readonly key: string
  readonly until: number
  readonly value: A
  previous: Remembered<A> | undefined
  next: Remembered<A> | undefined
}

/** What is remembered for the same time, and forgotten in the order in which it came. */
class Memory<A> {
  private readonly byKey = new Map<string, Remembered<A>>()
  private readonly byAge = new List<Remembered<A>>()

  get(key: string, now: number): A | undefined {
    this.forget(now)
    return this.byKey.get(key)?.value
  }
  set(key: string, value: A, now: number): void {
    this.forget(now)
    const present = this.byKey.get(key)
    if (present !== undefined) this.byAge.remove(present)
    const item = { key, value, until: now + deduplicationWindow, previous: undefined, next: undefined }
    this.byKey.set(key, item)
    this.byAge.append(item)
  }
  private forget(now: number): void {
    for (let oldest = this.byAge.head; oldest !== undefined && oldest.until <= now; oldest = this.byAge.head) {
      this.byAge.remove(oldest)
      this.byKey.delete(oldest.key)
    }
  }
}

interface Attempt {
  readonly answer: ReadonlyArray<ReceivedMessage>
  readonly messages: ReadonlyArray<{ readonly message: StoredMessage; readonly version: number }>
}

const seconds = (attributes: Attributes, name: string): number => Number(attributes[name]) * 1_000

export interface Totals {
  sent: number
  duplicates: number
  receives: number
  deleted: number
  staleDeletes: number
  deadLettered: number
  moved: number
  expired: number
  purged: number
}

export class Queue {
  readonly name: string
  readonly fifo: boolean
  readonly arn: string
  readonly createdAt: number
  attributes: Attributes
  readonly tags: Map<string, string>
  modifiedAt: number
  deleted = false
  purgedAt = -Infinity

  visible = 0
  inFlight = 0
  delayed = 0
  readonly totals: Totals = {
    sent: 0,
    duplicates: 0,
    receives: 0,
    deleted: 0,
    staleDeletes: 0,
    deadLettered: 0,
    moved: 0,
    expired: 0,
    purged: 0
  }
  /** The latest deleted messages, oldest first. */
  lastDeleted: Array<StoredMessage> = []
  /** Called when messages have left the queue. */
  onLeft: () => void = () => {}

  private messages = new Map<number, StoredMessage>()
  private line: Line.Line
  private due = new Heap<StoredMessage>()
  private retained = new Heap<StoredMessage>()
  private deduplication = new Memory<Sent>()
  private attempts = new Memory<Attempt>()
  private readonly polls = new List<Poll>()
  private readonly deadlines = new Heap<Poll>()
  private readonly surroundings: Surroundings
  private readonly key: string
  private readonly keepDeleted: number
  /** The scope of deduplication is the one that the queue was created with. */
  private readonly perGroup: boolean

  private lease = 0
  private delay = 0
  private retention = 0
  private redrive: RedrivePolicies.RedrivePolicy | undefined = undefined

  constructor(
    options: {
      readonly name: string
      readonly arn: string
      readonly attributes: Attributes
      readonly tags: Map<string, string>
      readonly key: string
      readonly keepDeleted: number
      readonly now: number
    },
    surroundings: Surroundings
  ) {
    this.name = options.name
    this.arn = options.arn
    this.tags = options.tags
    this.fifo = options.name.endsWith(".fifo")
    this.key = options.key
    this.keepDeleted = options.keepDeleted
    this.createdAt = options.now
    this.modifiedAt = options.now
    this.surroundings = surroundings
    this.line = this.fifo ? Line.fifo() : Line.standard()
    this.attributes = {}
    this.configure({ ...QueueAttributes.defaults(this.fifo), ...options.attributes }, options.now)
    this.perGroup = this.attributes["DeduplicationScope"] === "messageGroup"
  }

  /** Takes checked attributes. An empty policy or key removes it. */
  configure(changed: Attributes, now: number): void {
    const attributes = Object.fromEntries(
      Object.entries({ ...this.attributes, ...changed }).filter(([, value]) => value !== "")
    )
    this.attributes = attributes
    this.modifiedAt = now
    this.lease = seconds(attributes, "VisibilityTimeout")
    this.retention = seconds(attributes, "MessageRetentionPeriod")
    const policy = attributes["RedrivePolicy"]
    this.redrive = policy === undefined ? undefined : RedrivePolicies.redrivePolicy(policy)
    const delay = seconds(attributes, "DelaySeconds")
    const differs = delay !== this.delay
    this.delay = delay
    // On a FIFO queue a changed delay holds for the messages that are there already; on a standard queue it does not.
    if (differs && this.fifo) {
      for (const message of this.messages.values()) {
        if (message.state !== "delayed") continue
        message.due.at = message.sentAt + delay
        this.due.put(message.due)
      }
    }
  }

  /** Long polls that wait now. */
  get waiting(): number {
    return this.polls.size
  }

  get deadLetterTargetArn(): string | undefined {
    return this.redrive?.deadLetterTargetArn
  }

  all(): Iterable<StoredMessage> {
    return this.messages.values()
  }

  // Sending

  /** Checks that hold for a batch as a whole. */
  checkOrdering(fields: SendFields): void {
    if (!this.fifo) return
    if (fields.MessageGroupId === undefined) throw missing("MessageGroupId")
    if (fields.MessageDeduplicationId === undefined && this.attributes["ContentBasedDeduplication"] !== "true") {
      throw invalid(
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
      )
    }
  }

  send(fields: SendFields, now: number, within: "call" | "batch"): Sent {
    const delay = this.checkDelay(fields.DelaySeconds)
    const checked = content(fields, Number(this.attributes["MaximumMessageSize"]), within)
    if (!this.fifo && fields.MessageDeduplicationId !== undefined) {
      throw invalidValue(
        "MessageDeduplicationId",
        fields.MessageDeduplicationId,
        "The request include parameter that is not valid for this queue type."
      )
    }
    const deduplicationId = this.fifo ? (fields.MessageDeduplicationId ?? hash("sha256", checked.body)) : undefined
    const key =
      deduplicationId === undefined
        ? undefined
        : this.perGroup
          ? `${checked.group} ${deduplicationId}`
          : deduplicationId
    const first = key === undefined ? undefined : this.deduplication.get(key, now)
    if (first !== undefined) {
      this.totals.duplicates++
      return sent(checked, first.MessageId, first.SequenceNumber)
    }
    const no = this.surroundings.nextNumber()
    const message = new StoredMessage(no, this.surroundings.messageId(no), checked, deduplicationId, now)
    this.add(message, now, delay)
    this.totals.sent++
    const answer = sent(checked, message.id, message.sequence)
    if (key !== undefined) this.deduplication.set(key, answer, now)
    this.serve(now)
    return answer
  }

  private checkDelay(delay: number | undefined): number {
    if (delay === undefined) return this.delay
    if (!(Number.isInteger(delay) && delay >= 0 && delay <= 900)) {
      throw invalidValue("DelaySeconds", delay, "DelaySeconds must be >= 0 and <= 900.")
    }
    if (!this.fifo) return delay * 1_000
    if (delay === 0) return this.delay
    throw invalidValue("DelaySeconds", delay, "The request include parameter that is not valid for this queue type.")
  }

  private add(message: StoredMessage, now: number, delay: number): void {
    if (this.fifo) message.sequence = `188${String(this.surroundings.nextNumber()).padStart(17, "0")}`
    this.messages.set(message.no, message)
    this.retained.put(message.retained)
    if (delay > 0) {
      message.state = "delayed"
      this.delayed++
      message.due.at = now + delay
      this.due.put(message.due)
    } else {
      message.state = "visible"
      this.visible++
    }
    this.line.sent(message)
  }

  /** Takes a message from a queue whose dead-letter queue this is. */
  private adopt(message: StoredMessage, source: Queue, now: number): void {
    message.receives = 0
    message.version++
    message.deadLetterSource = source.arn
    // On a standard queue the time in the source counts; a FIFO queue starts anew.
    message.retained.at = this.fifo ? now : message.sentAt
    this.add(message, now, 0)
    this.serve(now)
  }

  // Moving

  /** What is received next. */
  first(): StoredMessage | undefined {
    return this.line.first()
  }

  /** Takes a visible message away for good and sends it on, as a move task does: it is a new message there. */
  moveTo(destination: Queue, message: StoredMessage, now: number): void {
    this.remove(message)
    this.totals.moved++
    const { nextNumber, messageId } = this.surroundings
    const no = nextNumber()
    destination.add(
      new StoredMessage(no, messageId(no), message.content, message.deduplicationId, now),
      now,
      destination.delay
    )
    destination.totals.sent++
    destination.serve(now)
    this.onLeft()
  }

  // Receiving

  checkReceive(request: ReceiveMessageRequest): { readonly receive: Receive; readonly wait: number } {
    const max = request.MaxNumberOfMessages ?? 1
    if (!(Number.isInteger(max) && max >= 1 && max <= 10)) {
      throw invalidValue("MaxNumberOfMessages", max, "Must be between 1 and 10, if provided.")
    }
    const wait = request.WaitTimeSeconds ?? Number(this.attributes["ReceiveMessageWaitTimeSeconds"])
    if (!(Number.isInteger(wait) && wait >= 0 && wait <= 20)) {
      throw invalidValue("WaitTimeSeconds", wait, "Must be >= 0 and <= 20, if provided.")
    }
    const timeout = request.VisibilityTimeout
    if (timeout !== undefined && !(Number.isInteger(timeout) && timeout >= 0 && timeout <= 43_200)) {
      throw invalidValue("VisibilityTimeout", timeout, "Must be >= 0 and <= 43200, if provided.")
    }
    checkToken("ReceiveRequestAttemptId", request.ReceiveRequestAttemptId)
    if (request.ReceiveRequestAttemptId !== undefined && !this.fifo) {
      throw invalidValue(
        "ReceiveRequestAttemptId",
        request.ReceiveRequestAttemptId,
        "The request include parameter that is not valid for this queue type."
      )
    }
    const receive = {
      max,
      lease: timeout === undefined ? this.lease : timeout * 1_000,
      attributes: systemAttributes(request),
      messageAttributes: attributeFilter(request.MessageAttributeNames),
      attemptId: request.ReceiveRequestAttemptId,
      duplicate: false
    }
    return { receive, wait: wait * 1_000 }
  }

  /** `waits` says that a long poll begins so, which finds no message, and no fault, where too many are in flight. */
  receive(receive: Receive, now: number, waits = false): ReadonlyArray<ReceivedMessage> {
    const attempt = receive.attemptId === undefined ? undefined : this.attempts.get(receive.attemptId, now)
    if (attempt?.messages.every(({ message, version }) => message.version === version)) {
      for (const { message } of attempt.messages) this.leaseUntil(message, now + receive.lease)
      return attempt.answer
    }
    const { inFlightLimit } = this.surroundings
    if (!this.fifo && !waits && this.inFlight >= inFlightLimit) {
      throw new Refusal(
        "OverLimit",
        `The maximum number of in flight messages is reached: ${inFlightLimit} for this queue.`
      )
    }
    return this.take(receive, now)
  }

  /** Waits behind the polls that wait already, until it is answered, which happens once, or given up. */
  wait(receive: Receive, until: number, answer: Poll["answer"]): Poll {
    const poll = new Poll(receive, until, this.surroundings.nextNumber(), answer)
    this.polls.append(poll)
    this.deadlines.put(poll.deadline)
    return poll
  }

  /** The client wants no more: a poll that still waits is answered with nothing, and has leased nothing. */
  end(poll: Poll): void {
    if (poll.deadline.slot !== -1) this.answer(poll, [])
  }

  giveUp(poll: Poll): void {
    if (poll.deadline.slot === -1) return
    this.polls.remove(poll)
    this.deadlines.remove(poll.deadline)
  }

  private take(receive: Receive, now: number): ReadonlyArray<ReceivedMessage> {
    const room = Math.min(receive.max, this.surroundings.inFlightLimit - this.inFlight)
    const taken: Array<StoredMessage> = []
    this.line.take(room, (message) => {
      if (this.deadLetter(message, now)) return false
      this.visible--
      this.inFlight++
      message.state = "inFlight"
      message.version++
      message.receives++
      message.receiveCount++
      message.leasedAt = now
      if (Number.isNaN(message.firstReceivedAt)) message.firstReceivedAt = now
      this.totals.receives++
      this.leaseUntil(message, now + (receive.duplicate ? 0 : receive.lease))
      taken.push(message)
      return true
    })
    const answer = taken.map((message) => this.received(message, receive))
    if (receive.attemptId !== undefined && taken.length > 0) {
      const messages = taken.map((message) => ({ message, version: message.version }))
      this.attempts.set(receive.attemptId, { answer, messages }, now)
    }
    return answer
  }

  private leaseUntil(message: StoredMessage, until: number): void {
    message.due.at = until
    this.due.put(message.due)
  }

  /** Moves a message away that has been received often enough. */
  private deadLetter(message: StoredMessage, now: number): boolean {
    if (this.redrive === undefined || message.receives < this.redrive.maxReceiveCount) return false
    const target = this.surroundings.queueByArn(this.redrive.deadLetterTargetArn)
    if (target === undefined || target === this) return false
    this.remove(message)
    this.totals.deadLettered++
    target.adopt(message, this, now)
    this.onLeft()
    return true
  }

  private received(message: StoredMessage, receive: Receive): ReceivedMessage {
    const { content } = message
    const received: Mutable<ReceivedMessage> = {
      MessageId: message.id,
      ReceiptHandle: this.handle(message),
      MD5OfBody: content.bodyMd5,
      Body: content.body
    }
    const system = receive.attributes(message)
    if (system !== undefined) received.Attributes = system
    const attributes = content.attributes && receive.messageAttributes(content.attributes)
    if (attributes !== undefined) {
      received.MD5OfMessageAttributes =
        attributes === content.attributes && content.attributesMd5 !== undefined
          ? content.attributesMd5
          : Md5.ofAttributes(attributes)
      received.MessageAttributes = attributes
    }
    return received
  }

  // Settling

  private handle(message: StoredMessage): string {
    return `AQEB${this.key}+${message.no.toString(36)}+${message.receives.toString(36)}`
  }

  /** The message of a handle, and whether the handle is of its latest receive. */
  private resolve(handle: string): { readonly message: StoredMessage | undefined; readonly latest: boolean } {
    const parts = /^AQEB([0-9a-z]+)\+([0-9a-z]+)\+([0-9a-z]+)$/.exec(handle)
    if (parts === null || parts[1] !== this.key) {
      throw new Refusal("ReceiptHandleIsInvalid", `The input receipt handle "${handle}" is not a valid receipt handle.`)
    }
    const message = this.messages.get(Number.parseInt(parts[2] ?? "", 36))
    return { message, latest: message !== undefined && message.receives === Number.parseInt(parts[3] ?? "", 36) }
  }

  /**
   * A standard queue answers with success also where the message has been received again since: it then stays, as
   * AWS's documentation warns that it may.
   */
  delete(handle: string | undefined, now: number): void {
    if (handle === undefined || handle === "") throw missing("ReceiptHandle")
    const { message, latest } = this.resolve(handle)
    if (message === undefined) return
    if (this.fifo && !(latest && message.state === "inFlight")) {
      throw invalidValue("ReceiptHandle", handle, "The receipt handle has expired.")
    }
    if (!latest) {
      this.totals.staleDeletes++
      return
    }
    this.remove(message)
    this.totals.deleted++
    this.lastDeleted.push(message)
    if (this.lastDeleted.length >= 2 * this.keepDeleted + 1) {
      this.lastDeleted = this.keepDeleted === 0 ? [] : this.lastDeleted.slice(-this.keepDeleted)
    }
    this.onLeft()
    this.serve(now)
  }

  changeVisibility(handle: string | undefined, timeout: number | undefined, now: number): void {
    if (handle === undefined || handle === "") throw missing("ReceiptHandle")
    if (timeout === undefined || Number.isNaN(timeout)) throw missing("VisibilityTimeout")
    const { message, latest } = this.resolve(handle)
    if (!(Number.isInteger(timeout) && timeout >= 0)) {
      throw invalidValue("VisibilityTimeout", timeout, "Must be >= 0 and <= 43200, if provided.")
    }
    if (message === undefined || (this.fifo && !(latest && message.state === "inFlight"))) {
      throw invalidValue(
        "ReceiptHandle",
        handle,
        "Message does not exist or is not available for visibility timeout change."
      )
    }
    if (message.state !== "inFlight") return
    if (timeout * 1_000 + (now - message.leasedAt) > maximumLease) {
      throw invalidValue(
        "VisibilityTimeout",
        timeout,
        "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
      )
    }
    message.version++
    if (timeout > 0) {
      this.leaseUntil(message, now + timeout * 1_000)
    } else {
      this.due.remove(message.due)
      this.show(message, true)
      this.serve(now)
    }
  }

  /** Removes every message, those in flight too, and forgets what deduplication knew. */
  purge(now: number): void {
    if (this.surroundings.waits && now - this.purgedAt < purgeInterval) {
      throw new Refusal(
        "PurgeQueueInProgress",
        `Only one PurgeQueue operation on ${this.name} is allowed every 60 seconds.`
      )
    }
    this.purgedAt = now
    this.totals.purged += this.messages.size
    this.clear()
    this.onLeft()
  }

  /** The queue is deleted: its polls are told so. */
  close(refusal: Refusal): void {
    this.deleted = true
    this.clear()
    this.answerAll(refusal)
    this.onLeft()
  }

  answerAll(answer: ReadonlyArray<ReceivedMessage> | Refusal): void {
    for (let poll = this.polls.head; poll !== undefined; poll = this.polls.head) this.answer(poll, answer)
  }

  private clear(): void {
    this.messages = new Map()
    this.line = this.fifo ? Line.fifo() : Line.standard()
    this.due = new Heap()
    this.retained = new Heap()
    this.deduplication = new Memory()
    this.attempts = new Memory()
    this.visible = 0
    this.inFlight = 0
    this.delayed = 0
  }

  private remove(message: StoredMessage): void {
    this.line.gone(message)
    this[message.state]--
    message.version++
    this.due.remove(message.due)
    this.retained.remove(message.retained)
    this.messages.delete(message.no)
  }

  private show(message: StoredMessage, atOnce: boolean): void {
    this[message.state]--
    this.visible++
    message.state = "visible"
    message.version++
    if (atOnce) this.line.released(message)
    else this.line.returned(message)
  }

  // Time

  /** Lets everything happen that is due by now. Comes before any other operation. */
  advance(now: number): void {
    let left = false
    for (let timer = this.retained.peek(); timer && timer.at + this.retention <= now; timer = this.retained.peek()) {
      this.remove(timer.owner)
      this.totals.expired++
      left = true
    }
    for (let timer = this.due.peek(); timer && timer.at <= now; timer = this.due.peek()) {
      this.due.remove(timer)
      this.show(timer.owner, timer.at === timer.owner.leasedAt)
    }
    this.serve(now)
    for (let timer = this.deadlines.peek(); timer && timer.at <= now; timer = this.deadlines.peek()) {
      this.answer(timer.owner, [])
    }
    if (left) this.onLeft()
  }

  /**
   * When something is due next that a poll must see: one that waits, or one that is about to, until `until`.
   * `Infinity` when there is none.
   */
  nextInstant(until = Infinity): number {
    const deadline = Math.min(until, this.deadlines.peek()?.at ?? Infinity)
    if (deadline === Infinity) return deadline
    const retained = this.retained.peek()
    return Math.min(
      deadline,
      this.due.peek()?.at ?? Infinity,
      retained === undefined ? Infinity : retained.at + this.retention
    )
  }

  private serve(now: number): void {
    for (let poll = this.polls.head; poll !== undefined; poll = this.polls.head) {
      const messages = this.take(poll.receive, now)
      if (messages.length === 0) return
      this.answer(poll, messages)
    }
  }

  private answer(poll: Poll, answer: ReadonlyArray<ReceivedMessage> | Refusal): void {
    this.giveUp(poll)
    poll.answer(answer)
  }
}

/** What is built field by field, which is several times as fast as to spread what may be missing. */
type Mutable<A> = { -readonly [K in keyof A]: A[K] }

const sent = (content: Content, id: string, sequence: string | undefined): Sent => {
  const sent: Mutable<Sent> = { MessageId: id, MD5OfMessageBody: content.bodyMd5 }
  if (content.attributesMd5 !== undefined) sent.MD5OfMessageAttributes = content.attributesMd5
  if (content.systemAttributesMd5 !== undefined) sent.MD5OfMessageSystemAttributes = content.systemAttributesMd5
  if (sequence !== undefined) sent.SequenceNumber = sequence
  return sent
}

// What a receive shows

const systemNames = [
  "SenderId",
  "SentTimestamp",
  "ApproximateReceiveCount",
  "ApproximateFirstReceiveTimestamp",
  "SequenceNumber",
  "MessageDeduplicationId",
  "MessageGroupId",
  "AWSTraceHeader",
  "DeadLetterQueueSourceArn"
]
const senderId = "AIDAMILLRACEEMULATOR"

const everything = (message: StoredMessage): Record<string, string> => {
  const attributes: Record<string, string> = {
    SenderId: senderId,
    SentTimestamp: String(message.sentAt),
    ApproximateReceiveCount: String(message.receiveCount),
    ApproximateFirstReceiveTimestamp: String(message.firstReceivedAt)
  }
  const { group, traceHeader } = message.content
  if (message.sequence !== undefined) attributes["SequenceNumber"] = message.sequence
  if (message.deduplicationId !== undefined) attributes["MessageDeduplicationId"] = message.deduplicationId
  if (group !== undefined) attributes["MessageGroupId"] = group
  if (traceHeader !== undefined) attributes["AWSTraceHeader"] = traceHeader
  if (message.deadLetterSource !== undefined) attributes["DeadLetterQueueSourceArn"] = message.deadLetterSource
  return attributes
}

const systemAttributes = (request: ReceiveMessageRequest): Receive["attributes"] => {
  const asked = [...(request.MessageSystemAttributeNames ?? []), ...(request.AttributeNames ?? [])]
  if (asked.length === 0) return () => undefined
  for (const name of asked) if (name !== "All" && !systemNames.includes(name)) throw unknownAttribute(name)
  if (asked.includes("All")) return everything
  const names = systemNames.filter((name) => asked.includes(name))
  return (message) => {
    const all = everything(message)
    const attributes: Record<string, string> = {}
    let any = false
    for (const name of names) {
      const value = all[name]
      if (value === undefined) continue
      attributes[name] = value
      any = true
    }
    return any ? attributes : undefined
  }
}

const attributeFilter = (asked: ReadonlyArray<string> | undefined): Receive["messageAttributes"] => {
  if (asked === undefined || asked.length === 0) return () => undefined
  if (asked.some((name) => name === "All" || name === "*" || name === ".*")) return (attributes) => attributes
  const names = new Set(asked.filter((name) => !name.endsWith(".*")))
  const prefixes = asked.filter((name) => name.endsWith(".*")).map((name) => name.slice(0, -2))
  return (attributes) => {
    const kept = Object.entries(attributes).filter(
      ([name]) => names.has(name) || prefixes.some((prefix) => name.startsWith(prefix))
    )
    return kept.length === 0 ? undefined : Object.fromEntries(kept)
  }
}
