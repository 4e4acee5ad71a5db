/**
 * One call to its end: it is sent, each of its messages has the result that SQS gave it, and what failed in passing is
 * sent again, alone, until the schedule ends.
 *
 * What SQS failed while it took a later message of the same group is not sent again: it would be behind that one. (Where
 * a call's answer is lost as well, nobody can tell; only calls with one message of a group are safe from both at once.)
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type { BatchResult, SendFields, SendMessageResult, Service } from "../../SqsClient.js"
import * as SqsError from "../../SqsError.js"
import { fromThrown } from "../client/errors.js"
import { type Steps, steps } from "../effect/steps.js"
import { mostEntries } from "../message/limits.js"
import { doubt, type Entry, type Result } from "./entry.js"

/** A call, which counts as one of those under way for as long as it holds a slot. */
export interface Call {
  holdsSlot: boolean
}

export interface Options {
  readonly queueUrl: string
  readonly fifo: boolean
  readonly retry: Schedule.Schedule<unknown, SqsError.SqsError>
}

/** What a call needs of whoever begins it. */
export interface Host {
  readonly client: Pick<Service, "sendMessageBatch">
  readonly now: () => number
  /** The entry has no result yet. */
  readonly isOpen: (entry: Entry) => boolean
  readonly finish: (entry: Entry, result: Result) => void
  readonly onCall: () => void
  /** So many messages are sent again. */
  readonly onRetry: (messages: number) => void
  /** Another call may begin meanwhile. */
  readonly leaveSlot: (call: Call) => void
  readonly takeSlot: (call: Call) => Effect.Effect<void>
  /** Figures have changed. */
  readonly tell: () => void
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

const ids = Array.from({ length: mostEntries }, (_, position) => String(position))

/** The entries as they are sent. Positions are their ids, so that equal messages do not clash. */
const numbered = (batch: ReadonlyArray<Entry>): ReadonlyArray<SendFields & { readonly Id: string }> =>
  batch.map(({ fields }, position) => {
    fields.Id = ids[position] ?? ""
    return fields
  })

/** Those of the entries behind which, in their call, SQS took another of their group. */
const overtaken = (
  batch: ReadonlyArray<Entry>,
  taken: ReadonlySet<Entry>,
  isOpen: (entry: Entry) => boolean
): ReadonlyArray<Entry> => {
  const groups = new Set<string | undefined>()
  return [...batch].reverse().filter((entry) => {
    const { MessageGroupId: group } = entry.fields
    if (taken.has(entry)) groups.add(group)
    return groups.has(group) && isOpen(entry)
  })
}

export class Calls {
  readonly #host: Host
  readonly #options: Options

  constructor(host: Host, options: Options) {
    this.#host = host
    this.#options = options
  }

  /** Sends messages to their end: each has its result then. */
  send(call: Call, batch: ReadonlyArray<Entry>): Effect.Effect<void> {
    return Effect.gen(() => this.#sending(call, batch))
  }

  // A method: see `NoLoss`.
  *#sending(call: Call, batch: ReadonlyArray<Entry>): Effect.fn.Return<void> {
    const { client, finish, isOpen, leaveSlot, now, onCall, onRetry, takeSlot, tell } = this.#host
    const { fifo, queueUrl, retry } = this.#options
    const since = now()
    let remaining = batch
    let retries: Steps<SqsError.SqsError> | undefined
    for (let calls = 1; ; calls++) {
      onCall()
      const exit = yield* Effect.exit(
        client.sendMessageBatch({
          QueueUrl: queueUrl,
          Entries: numbered(remaining)
        })
      )
      let error: SqsError.SqsError
      if (Exit.isSuccess(exit)) {
        error = this.#answered(remaining, exit.value, calls)
        remaining = remaining.filter(isOpen)
      } else {
        const failure = Cause.failureOption(exit.cause)
        if (Option.isNone(failure)) return yield* Effect.failCause(Cause.stripFailures(exit.cause))
        error = failure.value
        if (SqsError.kind(error) === "transient") doubt(remaining)
        const [only] = remaining
        if (isTooLarge(error) && remaining.length > 1) return yield* this.#oneByOne(call, remaining)
        if (!SqsError.retryable(error)) {
          if (!blamesOneMessage(error)) return this.#giveUp(remaining, error, calls)
          if (remaining.length === 1 && only !== undefined) {
            return finish(only, Either.left({ _tag: "Rejected", error }))
          }
          return yield* this.#oneByOne(call, remaining)
        }
      }
      if (remaining.length === 0) return
      yield* Effect.logDebug(`could not send ${remaining.length} messages; trying again`, error)
      retries ??= yield* steps(retry)
      // Where single messages failed, others may go meanwhile. Where the call did, the queue or the way to it is in
      // trouble: the slot is kept, so that fewer calls go there.
      if (Exit.isSuccess(exit)) leaveSlot(call)
      tell()
      const goesOn = yield* retries.next(error)
      if (!call.holdsSlot) yield* takeSlot(call)
      if (!goesOn || (fifo && now() - since > deduplicationWindow)) return this.#giveUp(remaining, error, calls)
      onRetry(remaining.length)
    }
  }

  /** A defect of the client must not leave its messages without a result. */
  died(batch: ReadonlyArray<Entry>, cause: Cause.Cause<never>): void {
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

  /** One spoils the call for all: each on its own, in order. */
  #oneByOne(call: Call, entries: ReadonlyArray<Entry>): Effect.Effect<void> {
    return Effect.forEach(entries, (entry) => this.send(call, [entry]), { discard: true })
  }

  /** Gives each message the result that SQS gave it; answers with why others are to be tried again. */
  #answered(
    batch: ReadonlyArray<Entry>,
    { Failed, Successful }: BatchResult<SendMessageResult>,
    calls: number
  ): SqsError.SqsError {
    const { finish, isOpen } = this.#host
    let again: SqsError.SqsError = unanswered
    const taken = new Set<Entry>()
    for (const { Id, MessageId, SequenceNumber } of Successful) {
      const entry = batch[Number(Id)]
      if (entry === undefined) continue
      taken.add(entry)
      finish(entry, Either.right({ messageId: MessageId, sequenceNumber: SequenceNumber }))
    }
    for (const { Code, Id, Message, SenderFault } of Failed) {
      const entry = batch[Number(Id)]
      if (entry === undefined) continue
      const error = ofEntry({ name: Code, message: Message ?? "", $fault: SenderFault ? "client" : "server" })
      const kind = SqsError.kind(error)
      if (SenderFault && kind !== "throttled") finish(entry, Either.left({ _tag: "Rejected", error }))
      else if (kind === "fatal") finish(entry, Either.left({ _tag: "GaveUp", error, calls }))
      else {
        again = error
        if (kind === "transient") entry.doubtful = true
      }
    }
    // What the answer does not mention may be in the queue.
    doubt(batch.filter((entry, position) => isOpen(entry) && !Failed.some(({ Id }) => Number(Id) === position)))
    if (this.#options.fifo) {
      for (const entry of overtaken(batch, taken, isOpen))
        finish(entry, Either.left({ _tag: "Overtaken", error: again }))
    }
    return again
  }

  #giveUp(entries: ReadonlyArray<Entry>, error: SqsError.SqsError, calls: number): void {
    for (const entry of entries) this.#host.finish(entry, Either.left({ _tag: "GaveUp", error, calls }))
  }
}
