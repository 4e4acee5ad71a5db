/**
 * What can go wrong with a call to SQS, for tests: by a script, call for call, or by odds drawn from Effect's `Random`,
 * so that a seed replays them. A fault is plain data; spread two together to have both.
 *
 * @example
 * yield* sqs.faults.script("DeleteMessageBatch", [Fault.throttle, Fault.none, Fault.failEntries([0])])
 * yield* sqs.faults.random({ fail: 0.01, dropResponse: 0.01, failEntry: 0.02 })
 */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Operations from "../internal/client/operations.js"
import * as SqsError from "../SqsError.js"

/** The operations of SQS, by AWS's names: what the client calls, and the few operations that it has no use for. */
export type Operation =
  | Operations.Operation
  | "AddPermission"
  | "ChangeMessageVisibility"
  | "DeleteMessage"
  | "RemovePermission"

export interface Fault {
  /** The call reaches SQS this much later. */
  readonly delay?: Duration.Duration | undefined
  /** The call has no effect and fails so. */
  readonly fail?: ((operation: Operation) => SqsError.SqsError) | undefined
  /** The call takes effect, and its answer is lost: it fails with a `TransportError`. */
  readonly dropResponse?: boolean | undefined
  /** These entries of a batch (by position) have no effect and fail. */
  readonly failEntries?:
    | {
        readonly at: (position: number) => boolean
        readonly code: string
        readonly senderFault: boolean
        readonly message: string
      }
    | undefined
  /** The receive answers with at most so many messages. */
  readonly atMost?: number | undefined
  /** What the receive answers with stays visible, so that it is delivered once more. Standard queues only. */
  readonly duplicate?: boolean | undefined
  /** When the client gives up this long poll, it stays open at SQS and may lease messages that nobody sees. */
  readonly strand?: boolean | undefined
}

/** The call goes well. */
export const none: Fault = {}

/** The call has no effect and fails: with a `TransportError` unless told otherwise. */
export const fail = (
  error: (operation: Operation) => SqsError.SqsError = (operation) =>
    new SqsError.TransportError({ operation, message: "The emulator was told to fail this call." })
): Fault => ({ fail: error })

/** The call has no effect and fails with `RequestThrottled`. */
export const throttle: Fault = fail(
  (operation) => new SqsError.RequestThrottled({ operation, message: "The emulator was told to throttle this call." })
)

/** The call takes effect this much later. */
export const delay = (duration: Duration.DurationInput): Fault => ({ delay: Duration.decode(duration) })

/** The call takes effect, and its answer is lost. */
export const dropResponse: Fault = { dropResponse: true }

/**
 * Entries of a batch fail, by position (default: all). By default with `InternalError`, not the sender's fault, which
 * is how SQS says that the entry may be tried again.
 */
export const failEntries = (
  positions?: ReadonlyArray<number> | undefined,
  failure?:
    | {
        readonly code?: string | undefined
        readonly senderFault?: boolean | undefined
        readonly message?: string | undefined
      }
    | undefined
): Fault => ({
  failEntries: {
    at: (position) => positions === undefined || positions.includes(position),
    code: failure?.code ?? "InternalError",
    senderFault: failure?.senderFault ?? false,
    message: failure?.message ?? "The emulator was told to fail this entry."
  }
})

/** The receive answers with at most `most` messages, as SQS does under load. */
export const shortReceive = (most: number): Fault => ({ atMost: most })

/** What the receive answers with is delivered once more. Standard queues only. */
export const duplicate: Fault = { duplicate: true }

/** The long poll outlives its client, and may lease messages to nobody. */
export const strand: Fault = { strand: true }

/** How likely each fault is for a call, from 0 (the default) to 1. */
export interface Odds {
  readonly fail?: number | undefined
  readonly throttle?: number | undefined
  readonly dropResponse?: number | undefined
  /** For each entry of a batch. */
  readonly failEntry?: number | undefined
  readonly shortReceive?: number | undefined
  readonly duplicate?: number | undefined
  readonly strand?: number | undefined
  readonly delay?: number | undefined
  /** A delay is drawn evenly from zero to this. Default: 1 second. */
  readonly maxDelay?: Duration.DurationInput | undefined
}

const batches: ReadonlySet<Operation> = new Set<Operation>([
  "SendMessageBatch",
  "DeleteMessageBatch",
  "ChangeMessageVisibilityBatch"
])

const checks: InvalidOptions.Checks<Fault> = {
  delay: InvalidOptions.time(),
  fail: InvalidOptions.func,
  dropResponse: InvalidOptions.flag,
  failEntries: InvalidOptions.fields<NonNullable<Fault["failEntries"]>>({
    at: InvalidOptions.required(InvalidOptions.func),
    code: InvalidOptions.required(InvalidOptions.text),
    senderFault: InvalidOptions.required(InvalidOptions.flag),
    message: InvalidOptions.required(InvalidOptions.anyText)
  }),
  atMost: InvalidOptions.aNumber({ min: 0 }),
  duplicate: InvalidOptions.flag,
  strand: InvalidOptions.flag
}

const share = InvalidOptions.aNumber({ min: 0, max: 1 })

const oddsChecks: InvalidOptions.Checks<Odds> = {
  fail: share,
  throttle: share,
  dropResponse: share,
  failEntry: share,
  shortReceive: share,
  duplicate: share,
  strand: share,
  delay: share,
  maxDelay: InvalidOptions.time()
}

/** @internal */
export const check = (fault: Fault): Effect.Effect<void, InvalidOptions.InvalidOptions> =>
  InvalidOptions.check("a fault", fault, checks)

/** @internal */
export const checkOdds = (odds: Odds): Effect.Effect<void, InvalidOptions.InvalidOptions> =>
  InvalidOptions.check("the odds of faults", odds, oddsChecks)

/** Why the fault cannot happen to the operation. */
export const misfit = (operation: Operation, fault: Fault): string | undefined => {
  if (fault.failEntries !== undefined && !batches.has(operation)) {
    return `${operation} has no entries to fail: use Fault.fail, or script the batch operation.`
  }
  const receives = fault.atMost !== undefined || fault.duplicate === true || fault.strand === true
  if (receives && operation !== "ReceiveMessage") {
    return `shortReceive, duplicate and strand happen to ReceiveMessage, not to ${operation}.`
  }
  if (fault.atMost !== undefined && !(Number.isInteger(fault.atMost) && fault.atMost >= 1)) {
    return `shortReceive takes 1 to 10 messages, not ${fault.atMost}: script an empty queue by sending nothing.`
  }
  return undefined
}

/** Draws what happens to a call of `operation`. */
export const draw = (odds: Odds, operation: Operation): Effect.Effect<Fault> =>
  Effect.gen(function* () {
    const happens = (probability: number | undefined) =>
      probability === undefined || probability <= 0
        ? Effect.succeed(false)
        : Effect.map(Random.next, (drawn) => drawn < probability)
    let fault: Fault = none
    if (yield* happens(odds.delay)) {
      const longest = Duration.toMillis(Duration.decode(odds.maxDelay ?? "1 second"))
      fault = { ...fault, ...delay(Math.round((yield* Random.next) * longest)) }
    }
    if (yield* happens(odds.throttle)) return { ...fault, ...throttle }
    if (yield* happens(odds.fail)) return { ...fault, ...fail() }
    if (yield* happens(odds.dropResponse)) fault = { ...fault, ...dropResponse }
    if (batches.has(operation) && odds.failEntry !== undefined && odds.failEntry > 0) {
      const failed: Array<number> = []
      for (let position = 0; position < 10; position++) if (yield* happens(odds.failEntry)) failed.push(position)
      if (failed.length > 0) fault = { ...fault, ...failEntries(failed) }
    }
    if (operation === "ReceiveMessage") {
      if (yield* happens(odds.shortReceive)) fault = { ...fault, ...shortReceive(yield* Random.nextIntBetween(1, 10)) }
      if (yield* happens(odds.duplicate)) fault = { ...fault, ...duplicate }
      if (yield* happens(odds.strand)) fault = { ...fault, ...strand }
    }
    return fault
  })
