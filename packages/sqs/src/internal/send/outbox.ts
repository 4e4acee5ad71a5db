/**
 * Gathers messages into calls, sends them, and tries again what failed. A message is *accepted* when it has its place
 * here; from then on it is sent, whoever gave it, and has one result.
 *
 * Bound: accepted messages without a result never exceed `buffer` and `bufferBytes` (one message alone may); calls
 * under way never exceed `concurrency`.
 *
 * Order, on FIFO queues: a lane is a group's messages that wait. Its head is sent when what went before has its result;
 * what is being tried again keeps its lane shut.
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { TokenBucket } from "../../SendRate.js"
import type { BatchResult, SendFields, SendMessageResult, Service } from "../../SqsClient.js"
import * as SqsError from "../../SqsError.js"
import { fromThrown } from "../client/errors.js"
import { mostEntries } from "../message/sendable.js"
import type { ProducerMetrics } from "./producerMetrics.js"

export interface Receipt {
  /** The message's id, as SQS gave it. */
  readonly messageId: string
  /** FIFO queues: its place in the order of its group, 20 digits that compare as text. */
  readonly sequenceNumber: string | undefined
}

export type Failure =
  /** SQS will never take this message. */
  | { readonly _tag: "Rejected"; readonly error: SqsError.SqsError }
  /** Trying again is no use, or was none. */
  | { readonly _tag: "GaveUp"; readonly error: SqsError.SqsError; readonly calls: number }
  /** Closed, before it was accepted or before SQS had confirmed it. */
  | { readonly _tag: "Closed"; readonly accepted: boolean }

export type Result = Either.Either<Receipt, Failure>

export interface Entry {
  /** With the entry's id in the call that it is in: its place there. */
  readonly fields: SendFields & { Id: string }
  readonly size: number
  /** Called once. */
  onResult: (result: Result) => void
  /** It had to wait for room; now it has it, or never will, and `onResult` was told. */
  onTaken: (() => void) | undefined
  /** It is surely not in the queue and never will be, whether its sender is still there or not. */
  onUnsent: (() => void) | undefined
  /** A call that had it in it may have taken effect, and nobody knows. */
  doubtful: boolean
  /** When it had its place here. */
  acceptedAt: number
  /** Until when it may wait for others to share its call. */
  due: number
  next: Entry | undefined
}

export interface Options {
  readonly queueUrl: string
  readonly fifo: boolean
  readonly linger: number
  readonly concurrency: number
  readonly buffer: number
  readonly bufferBytes: number
  readonly callBytes: number
  readonly maxPerGroup: number
  readonly retry: Schedule.Schedule<unknown, SqsError.SqsError>
  readonly rate: TokenBucket | undefined
}

export interface Host {
  readonly client: Pick<Service, "sendMessageBatch">
  readonly runFork: <A>(effect: Effect.Effect<A>) => Fiber.RuntimeFiber<A>
  readonly now: () => number
  readonly metrics: ProducerMetrics
}

/** Messages that are sent in this order: a group's, or all of a standard queue's, where calls need not wait. */
interface Lane {
  readonly group: string | undefined
  /** Those of one call at most, and whether the next call waits for the end of this. */
  readonly perCall: number
  readonly exclusive: boolean
  head: Entry | undefined
  tail: Entry | undefined
  /** Those, from the head, that the next call could take; none while the lane is shut. */
  offered: number
  offeredBytes: number
  /** Those in the air, or to be tried again. */
  outstanding: number
}

interface Call {
  /** It counts as one of the calls under way. */
  holdsSlot: boolean
}

/**
 * SQS knows a deduplication id again for 5 minutes from its first send; after that a retry would be a duplicate. Less
 * the time that the last call may take.
 */
const deduplicationWindow = 4.5 * 60 * 1000

/** Something on the way takes no calls of this size. It may take its messages one by one. */
const isTooLarge = (error: SqsError.SqsError): boolean => error._tag === "TransportError" && error.status === 413

/** What SQS says of a call because of one message in it. The others go again without it. */
const blamesOneMessage = (error: SqsError.SqsError): boolean => {
  switch (error._tag) {
    case "InvalidParameterValue":
    case "MissingParameter":
    case "InvalidMessageContents":
    case "InvalidAttributeName":
    case "InvalidAttributeValue":
    case "BatchRequestTooLong":
    case "UnsupportedOperation":
      return true
    case "UnknownSqsError":
      return error.status === 400 || error.status === 413
    default:
      return false
  }
}

const unanswered = new SqsError.TransportError({
  operation: "SendMessageBatch",
  message: "SendMessageBatch: SQS answered without this message."
})

const ofEntry = fromThrown("SendMessageBatch")

export interface Stats {
  /** Accepted, without a result. */
  readonly buffered: number
  /** Senders that wait for room. */
  readonly waiting: number
  /** Calls under way. */
  readonly inFlight: number
  readonly calls: number
  readonly sent: number
  readonly failed: number
  /** Messages sent again, each time counted. */
  readonly retried: number
}

export class Outbox {
  readonly #host: Host
  readonly #options: Options

  readonly #accepted = new Set<Entry>()
  #acceptedBytes = 0
  readonly #waiting = new Set<Entry>()

  /** FIFO: the lanes that hold something or have something in the air. */
  readonly #lanes = new Map<string, Lane>()
  readonly #onlyLane: Lane | undefined
  /** The lanes that offer something, in the order in which they came to. */
  readonly #ready = new Set<Lane>()
  #offered = 0
  #offeredBytes = 0

  #inFlight = 0
  readonly #calls = new Set<Fiber.RuntimeFiber<void>>()
  /** Calls that have waited to try again what failed, and go first. */
  #again: Array<() => void> = []
  #timer: { readonly at: number; readonly fiber: Fiber.RuntimeFiber<void> } | undefined
  readonly #claimant = { wake: () => this.#pump() }
  #pumping = false
  #pumpAgain = false

  #closing = false
  #closed = false
  #onEmpty: (() => void) | undefined
  #totals = { calls: 0, sent: 0, failed: 0, retried: 0 }

  constructor(host: Host, options: Options) {
    this.#host = host
    this.#options = options
    this.#onlyLane = options.fifo ? undefined : newLane(undefined, Number.POSITIVE_INFINITY, false)
  }

  get stats(): Stats {
    return {
      buffered: this.#accepted.size,
      waiting: this.#waiting.size,
      inFlight: this.#inFlight,
      ...this.#totals
    }
  }

  /** False where it has to wait for room: `onTaken` tells when it has it. */
  add(entry: Entry): boolean {
    if (this.#closing) {
      entry.onResult(closedBefore)
      entry.onUnsent?.()
      return true
    }
    // Who came first goes first.
    if (this.#waiting.size > 0 || !this.#hasRoom(entry)) {
      this.#waiting.add(entry)
      this.#pump()
      if (this.#waiting.size === 1) this.#tell()
      // A call may have begun and ended in between.
      return !this.#waiting.has(entry)
    }
    this.#accept(entry)
    if (this.#isFull()) this.#pump()
    else this.#arm(entry.due)
    return true
  }

  /** Its sender is gone. What was accepted is sent all the same. */
  withdraw(entry: Entry): void {
    entry.onResult = noop
    entry.onTaken = undefined
    if (!this.#waiting.delete(entry)) return
    entry.onUnsent?.()
    this.#pump()
  }

  /** Accepts nothing more, sends what it has without lingering, and gives up what has no result in time. */
  close(deadline: Duration.Duration): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#closing = true
      for (const entry of this.#waiting) {
        this.#waiting.delete(entry)
        entry.onResult(closedBefore)
        entry.onTaken?.()
        entry.onUnsent?.()
      }
      this.#pump()
      const empty = Effect.async<void>((resume) => {
        if (this.#accepted.size === 0) return resume(Effect.void)
        this.#onEmpty = () => resume(Effect.void)
      })
      return Effect.zipRight(Effect.timeoutOption(Effect.interruptible(empty), deadline), this.#abandon)
    })
  }

  readonly #abandon = Effect.suspend(() => {
    this.#closed = true
    this.#disarm()
    this.#options.rate?.leave(this.#claimant)
    const calls = [...this.#calls]
    for (const entry of [...this.#accepted]) {
      entry.doubtful = true
      this.#finish(entry, closedAfter)
    }
    this.#tell()
    return Fiber.interruptAll(calls)
  })

  // ------------------------------------------------------------------------------------------------------------ lanes

  #hasRoom(entry: Entry): boolean {
    const { buffer, bufferBytes } = this.#options
    return (
      this.#accepted.size === 0 || (this.#accepted.size < buffer && this.#acceptedBytes + entry.size <= bufferBytes)
    )
  }

  #accept(entry: Entry): void {
    this.#accepted.add(entry)
    this.#acceptedBytes += entry.size
    entry.acceptedAt = this.#host.now()
    entry.due = entry.acceptedAt + this.#options.linger
    const lane = this.#onlyLane ?? this.#laneOf(entry.fields.MessageGroupId ?? "")
    if (lane.tail === undefined) lane.head = entry
    else lane.tail.next = entry
    lane.tail = entry
    if (!(lane.exclusive && lane.outstanding > 0) && lane.offered < lane.perCall) this.#offer(lane, entry)
  }

  #laneOf(group: string): Lane {
    const present = this.#lanes.get(group)
    if (present !== undefined) return present
    const lane = newLane(group, this.#options.maxPerGroup, true)
    this.#lanes.set(group, lane)
    return lane
  }

  #offer(lane: Lane, entry: Entry): void {
    this.#ready.add(lane)
    lane.offered += 1
    lane.offeredBytes += entry.size
    this.#offered += 1
    this.#offeredBytes += entry.size
  }

  #withdrawOffer(lane: Lane): void {
    this.#ready.delete(lane)
    this.#offered -= lane.offered
    this.#offeredBytes -= lane.offeredBytes
    lane.offered = 0
    lane.offeredBytes = 0
  }

  /** Nothing of the lane is in the air any more: its next messages may go. */
  #reopen(lane: Lane): void {
    const { head } = lane
    if (head === undefined) {
      if (lane.group !== undefined) this.#lanes.delete(lane.group)
      return
    }
    // Other groups' calls are under way: what comes back with them can share the next call.
    const company = this.#lanes.size > this.#ready.size + 1
    head.due = company ? Math.max(head.due, this.#host.now() + this.#options.linger) : head.due
    for (let entry: Entry | undefined = head; entry !== undefined && lane.offered < lane.perCall; entry = entry.next) {
      this.#offer(lane, entry)
    }
  }

  #finish(entry: Entry, result: Result): void {
    if (!this.#accepted.delete(entry)) return
    this.#acceptedBytes -= entry.size
    if (Either.isRight(result)) {
      this.#totals.sent += 1
      this.#host.metrics.sendSeconds((this.#host.now() - entry.acceptedAt) / 1000)
    } else this.#totals.failed += 1
    const lane = this.#onlyLane ?? this.#lanes.get(entry.fields.MessageGroupId ?? "")
    if (lane?.exclusive === true && --lane.outstanding === 0) this.#reopen(lane)
    entry.onResult(result)
    if (entry.onUnsent !== undefined && Either.isLeft(result) && !entry.doubtful) entry.onUnsent()
  }

  /** What waited for room has it. */
  #admit(): void {
    for (const entry of this.#waiting) {
      if (!this.#hasRoom(entry)) return
      this.#waiting.delete(entry)
      this.#accept(entry)
      entry.onTaken?.()
    }
  }

  // ------------------------------------------------------------------------------------------------------------ calls

  /** Nothing that may still come could join the next call. */
  #isFull(): boolean {
    return (
      this.#offered >= mostEntries ||
      this.#offeredBytes >= this.#options.callBytes ||
      this.#waiting.size > 0 ||
      this.#closing
    )
  }

  /** The one place that begins calls. */
  #pump(): void {
    // Whoever is told of a result or of a turn may come back here.
    this.#pumpAgain = this.#pumping
    if (this.#pumping || this.#closed) return
    this.#pumping = true
    do {
      this.#pumpAgain = false
      this.#admit()
      this.#beginCalls()
    } while (this.#pumpAgain)
    this.#pumping = false
    if (this.#accepted.size === 0) this.#onEmpty?.()
  }

  #beginCalls(): void {
    while (this.#inFlight < this.#options.concurrency) {
      const again = this.#again.shift()
      if (again !== undefined) {
        again()
        continue
      }
      if (this.#offered === 0) {
        this.#options.rate?.leave(this.#claimant)
        return
      }
      if (!this.#isFull()) {
        const due = this.#due()
        if (due > this.#host.now()) {
          this.#arm(due)
          return
        }
      }
      const most = this.#tokens()
      if (most === 0) return
      const batch = this.#form(most)
      this.#options.rate?.giveBack(most - batch.length)
      this.#begin(batch)
    }
  }

  /** How many messages the next call may hold: as many as are offered, where the rate allows it. */
  #tokens(): number {
    const wanted = Math.min(this.#offered, mostEntries)
    const { rate } = this.#options
    if (rate === undefined) return wanted
    const most = Math.min(wanted, rate.burst)
    const wait = rate.take(this.#claimant, most, this.#host.now())
    if (wait === 0) return most
    if (Number.isFinite(wait)) this.#arm(this.#host.now() + wait)
    return 0
  }

  #due(): number {
    let due = Number.POSITIVE_INFINITY
    for (const { head } of this.#ready) if (head !== undefined && head.due < due) due = head.due
    return due
  }

  #form(most: number): Array<Entry> {
    const batch: Array<Entry> = []
    let room = this.#options.callBytes
    for (const lane of this.#ready) {
      let taken = 0
      let head = lane.head
      while (head !== undefined && taken < lane.perCall && batch.length < most && head.size <= room) {
        batch.push(head)
        room -= head.size
        taken += 1
        lane.head = head.next
        if (head.next === undefined) lane.tail = undefined
        lane.offered -= 1
        lane.offeredBytes -= head.size
        this.#offered -= 1
        this.#offeredBytes -= head.size
        head.next = undefined
        head = lane.head
      }
      if (lane.exclusive && taken > 0) {
        lane.outstanding = taken
        this.#withdrawOffer(lane)
      } else if (head === undefined) this.#ready.delete(lane)
      if (batch.length >= most || (head !== undefined && head.size > room)) break
    }
    return batch
  }

  /** When a call begins and ends, and when the buffer has become full. */
  #tell(): void {
    this.#host.metrics.tell(this.#totals, this.#accepted.size)
  }

  #begin(batch: ReadonlyArray<Entry>): void {
    const call: Call = { holdsSlot: true }
    this.#inFlight += 1
    const fiber = this.#host.runFork(this.#send(call, batch))
    this.#tell()
    this.#calls.add(fiber)
    fiber.addObserver((exit) => {
      this.#calls.delete(fiber)
      if (call.holdsSlot) this.#inFlight -= 1
      if (Exit.isFailure(exit)) this.#died(batch, exit.cause)
      this.#pump()
      this.#tell()
    })
  }

  /** A defect of the client must not leave its messages without a result. */
  #died(batch: ReadonlyArray<Entry>, cause: Cause.Cause<never>): void {
    const error = new SqsError.UnknownSqsError({
      operation: "SendMessageBatch",
      code: "Defect",
      status: undefined,
      message: "SendMessageBatch: the client died of a defect; see the cause.",
      cause
    })
    doubt(batch)
    this.#giveUp(batch, error, 1)
  }

  /** Sends messages to their end: each has its result then. */
  #send(call: Call, batch: ReadonlyArray<Entry>): Effect.Effect<void> {
    const { client, now } = this.#host
    const { fifo, queueUrl, retry } = this.#options
    return Effect.gen(this, function* () {
      const since = now()
      let remaining = batch
      let driver: Schedule.ScheduleDriver<unknown, SqsError.SqsError> | undefined
      for (let calls = 1; ; calls++) {
        this.#totals.calls += 1
        const exit = yield* Effect.exit(
          client.sendMessageBatch({
            QueueUrl: queueUrl,
            Entries: numbered(remaining)
          })
        )
        let error: SqsError.SqsError
        if (Exit.isSuccess(exit)) {
          error = this.#answered(remaining, exit.value, calls)
          remaining = remaining.filter((entry) => this.#accepted.has(entry))
        } else {
          const failure = Cause.failureOption(exit.cause)
          if (Option.isNone(failure)) return yield* Effect.failCause(Cause.stripFailures(exit.cause))
          error = failure.value
          if (SqsError.kind(error) === "transient") doubt(remaining)
          const [only] = remaining
          if (isTooLarge(error) && remaining.length > 1) {
            for (const entry of remaining) yield* this.#send(call, [entry])
            return
          }
          if (!SqsError.retryable(error)) {
            if (!blamesOneMessage(error)) return this.#giveUp(remaining, error, calls)
            if (remaining.length === 1 && only !== undefined) {
              return this.#finish(only, Either.left({ _tag: "Rejected", error }))
            }
            // One spoils the call for all: each on its own, in order.
            for (const entry of remaining) yield* this.#send(call, [entry])
            return
          }
        }
        if (remaining.length === 0) return
        yield* Effect.logDebug(`could not send ${remaining.length} messages; trying again`, error)
        driver ??= yield* Schedule.driver(retry)
        // Where single messages failed, others may go meanwhile. Where the call did, the queue or the way to it is in
        // trouble: the slot is kept, so that fewer calls go there.
        if (Exit.isSuccess(exit)) this.#leaveSlot(call)
        this.#tell()
        const goesOn = Option.isSome(yield* Effect.option(driver.next(error)))
        if (!call.holdsSlot) yield* this.#slot(call)
        if (!goesOn || (fifo && now() - since > deduplicationWindow)) return this.#giveUp(remaining, error, calls)
        this.#totals.retried += remaining.length
      }
    })
  }

  /** Gives each message the result that SQS gave it; answers with why others are to be tried again. */
  #answered(
    batch: ReadonlyArray<Entry>,
    { Failed, Successful }: BatchResult<SendMessageResult>,
    calls: number
  ): SqsError.SqsError {
    let again: SqsError.SqsError = unanswered
    for (const { Id, MessageId, SequenceNumber } of Successful) {
      const entry = batch[Number(Id)]
      if (entry === undefined) continue
      this.#finish(entry, Either.right({ messageId: MessageId, sequenceNumber: SequenceNumber }))
    }
    for (const { Code, Id, Message, SenderFault } of Failed) {
      const entry = batch[Number(Id)]
      if (entry === undefined) continue
      const error = ofEntry({ name: Code, message: Message ?? "", $fault: SenderFault ? "client" : "server" })
      const kind = SqsError.kind(error)
      if (SenderFault && kind !== "throttled") this.#finish(entry, Either.left({ _tag: "Rejected", error }))
      else if (kind === "fatal") this.#finish(entry, Either.left({ _tag: "GaveUp", error, calls }))
      else {
        again = error
        if (kind === "transient") entry.doubtful = true
      }
    }
    // What the answer does not mention may be in the queue.
    doubt(
      batch.filter((entry, position) => this.#accepted.has(entry) && !Failed.some(({ Id }) => Number(Id) === position))
    )
    return again
  }

  #leaveSlot(call: Call): void {
    call.holdsSlot = false
    this.#inFlight -= 1
    this.#pump()
  }

  #slot(call: Call): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      this.#again.push(() => {
        call.holdsSlot = true
        this.#inFlight += 1
        resume(Effect.void)
      })
      this.#pump()
    })
  }

  #giveUp(entries: ReadonlyArray<Entry>, error: SqsError.SqsError, calls: number): void {
    for (const entry of entries) this.#finish(entry, Either.left({ _tag: "GaveUp", error, calls }))
  }

  // ------------------------------------------------------------------------------------------------------------ timer

  #arm(at: number): void {
    // Where all slots are taken, the next call that ends looks again.
    if (this.#inFlight >= this.#options.concurrency) return
    if (this.#timer !== undefined) {
      if (this.#timer.at <= at) return
      this.#disarm()
    }
    const wait = at - this.#host.now()
    // Even a linger of zero gives those of the same turn the chance to share a call.
    const fiber = this.#host.runFork(wait > 0 ? Effect.sleep(wait) : Effect.yieldNow())
    this.#timer = { at, fiber }
    fiber.addObserver((exit) => {
      if (this.#timer?.fiber !== fiber) return
      this.#timer = undefined
      if (Exit.isSuccess(exit)) this.#pump()
    })
  }

  #disarm(): void {
    this.#timer?.fiber.unsafeInterruptAsFork(FiberId.none)
    this.#timer = undefined
  }
}

const noop = () => {}

const doubt = (entries: ReadonlyArray<Entry>): void => {
  for (const entry of entries) entry.doubtful = true
}

const closedBefore: Result = Either.left({ _tag: "Closed", accepted: false })
const closedAfter: Result = Either.left({ _tag: "Closed", accepted: true })

/** The entries as they are sent. Positions are their ids, so that equal messages do not clash. */
const numbered = (batch: ReadonlyArray<Entry>): ReadonlyArray<SendFields & { readonly Id: string }> =>
  batch.map(({ fields }, position) => {
    fields.Id = ids[position] ?? ""
    return fields
  })

const ids = Array.from({ length: mostEntries }, (_, position) => String(position))

const newLane = (group: string | undefined, perCall: number, exclusive: boolean): Lane => ({
  group,
  perCall,
  exclusive,
  head: undefined,
  tail: undefined,
  offered: 0,
  offeredBytes: 0,
  outstanding: 0
})
