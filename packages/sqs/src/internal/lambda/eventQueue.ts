/**
 * A Lambda event as a queue that leases its messages: core's port over the records of one invocation, each handed out
 * once. What is acked stays out of the answer, which has Lambda delete it; all else is in it, and comes again. New leases
 * are set at the end, all together: a message that came back sooner would be worked on while its batch has no answer.
 */
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { LambdaRecord } from "../../lambda/LambdaEvent.js"
import type * as SqsEncoding from "../../SqsEncoding.js"
import * as SqsError from "../../SqsError.js"
import { mapValues } from "../message/mapValues.js"
import { system } from "../queue/spanAttributes.js"
import { toMessage } from "../receive/received.js"

/** The queue that the event's messages are of, for what only it can do; `known` once it has been needed. */
export interface Behind {
  readonly known: LeaseQueue.LeaseQueue<SqsError.SqsError> | undefined
  /** Looks it up. None where it cannot be found, which has been said then. */
  readonly find: Effect.Effect<LeaseQueue.LeaseQueue<SqsError.SqsError> | undefined>
}

export interface EventQueue extends LeaseQueue.LeaseQueue<SqsError.SqsError> {
  /** Done so far, by their ids and leases. */
  readonly done: () => ReadonlyArray<LeaseQueue.Lease>
  /** Those that are not done, in the event's order. */
  readonly failures: () => ReadonlyArray<string>
  /** Those that never were handed out or were given back, and those that are left to the queue's own time. */
  readonly rest: () => { readonly released: number; readonly left: ReadonlyArray<string> }
  /** The new leases of what comes again, the latest of a group first: a head must not come before its tail has. */
  readonly newLeases: (now: number) => ReadonlyArray<LeaseQueue.SetLeaseEntry>
}

interface Entry {
  readonly message: LeaseQueue.Message
  state: "waiting" | "leased" | "done"
  /** The lease that it is to have from `at` on; none where its present one is to run out. */
  wish: { readonly duration: Duration.Duration; readonly at: number } | undefined
}

export const mostEntries = 10
const longestLease = Duration.hours(12)
const longestWait = Duration.seconds(20)

const ok: LeaseQueue.EntryResult = Either.void
const fail = (reason: LeaseQueue.EntryFailure["reason"], message: string): LeaseQueue.EntryResult =>
  Either.left({ reason, message })
const unknownLease = fail("LeaseLost", "it is of no message of this event, or is settled")
const tooLong = fail("Rejected", "SQS leases a message for 12 hours at most")
const noPlace = fail("Rejected", "the queue has no dead-letter queue, or it cannot be found")

const received = ({ attributes, body, md5OfBody, messageAttributes, messageId, receiptHandle }: LambdaRecord) => ({
  MessageId: messageId,
  ReceiptHandle: receiptHandle,
  Body: body,
  MD5OfBody: md5OfBody,
  Attributes: Object.fromEntries(
    Object.entries(attributes).filter((each): each is [string, string] => typeof each[1] === "string")
  ),
  MessageAttributes: mapValues(messageAttributes ?? {}, ({ binaryValue, dataType, stringValue }) => ({
    DataType: dataType,
    ...(typeof binaryValue === "string"
      ? { BinaryValue: Buffer.from(binaryValue, "base64") }
      : { StringValue: stringValue })
  }))
})

const refuseMany = Effect.dieMessage(`a Lambda event takes ${mostEntries} entries a call`)

export const make = (
  arn: string,
  records: ReadonlyArray<LambdaRecord>,
  options: {
    readonly behind: Behind
    /** How long the invocation may take. */
    readonly lease: Duration.Duration
    readonly now: () => number
    readonly encodings: ReadonlyArray<SqsEncoding.Encoding>
  }
): EventQueue => {
  const { behind, now } = options
  const read = toMessage(options.encodings)
  const entries = records.map(
    (record): Entry => ({ message: read(received(record)), state: "waiting", wish: undefined })
  )
  const byHandle = new Map(entries.map((entry) => [entry.message.lease.handle, entry]))
  let next = 0

  const handOut = (max: number): ReadonlyArray<LeaseQueue.Message> => {
    const out = entries.slice(next, next + Math.min(max, mostEntries))
    next += out.length
    for (const entry of out) entry.state = "leased"
    return out.map(({ message }) => message)
  }

  const finish = ({ handle }: LeaseQueue.Lease): LeaseQueue.EntryResult => {
    const entry = byHandle.get(handle)
    if (entry === undefined || entry.state === "waiting") return unknownLease
    entry.state = "done"
    return ok
  }

  const setLease = ({ duration, lease, left }: LeaseQueue.SetLeaseEntry): LeaseQueue.EntryResult => {
    const entry = byHandle.get(lease.handle)
    if (entry?.state !== "leased") return unknownLease
    if (Duration.greaterThan(duration, longestLease)) return tooLong
    entry.wish = left === true ? undefined : { duration, at: now() }
    return ok
  }

  const undone = () => entries.filter(({ state }) => state !== "done")

  return {
    name: arn.slice(arn.lastIndexOf(":") + 1),
    system,
    limits: {
      batchSize: mostEntries,
      maxWait: longestWait,
      maxLease: longestLease,
      ordered: arn.endsWith(".fifo"),
      // The whole batch, and who pays for the function's time, would wait with it.
      maxHold: Duration.zero
    },
    leaseDuration: options.lease,
    maxAttempts: behind.known?.maxAttempts,
    receive: ({ max, stop, wait }) =>
      Effect.suspend(() => {
        const messages = handOut(max)
        if (messages.length > 0) return Effect.succeed(messages)
        const waited = stop === undefined ? Effect.sleep(wait) : Effect.raceFirst(Effect.sleep(wait), stop)
        return Effect.as(waited, [])
      }),
    ack: (leases) => (leases.length > mostEntries ? refuseMany : Effect.sync(() => leases.map(finish))),
    setLease: (changes) => (changes.length > mostEntries ? refuseMany : Effect.sync(() => changes.map(setLease))),
    deadLetter:
      behind.known !== undefined && behind.known.deadLetter === undefined
        ? undefined
        : (letters) =>
            Effect.flatMap(behind.find, (queue) =>
              queue?.deadLetter === undefined
                ? Effect.succeed(letters.map(() => noPlace))
                : Effect.map(queue.deadLetter(letters), (results) => {
                    letters.forEach(({ message }, i) => {
                      const result = results[i]
                      if (result !== undefined && Either.isRight(result)) finish(message.lease)
                    })
                    return results
                  })
            ),
    errorKind: SqsError.kind,
    done: () => entries.filter(({ state }) => state === "done").map(({ message }) => message.lease),
    failures: () => [...new Set(undone().map(({ message }) => message.id))],
    rest: () => {
      const [left, released] = Arr.partition(undone(), ({ state, wish }) => state === "waiting" || wish !== undefined)
      return { released: released.length, left: left.map(({ message }) => message.id) }
    },
    newLeases: (at) =>
      undone()
        .reverse()
        .flatMap(({ message, state, wish }) => {
          // What was never handed out has waited for nothing but this container.
          const until = wish ?? (state === "waiting" ? { duration: Duration.zero, at } : undefined)
          if (until === undefined) return []
          const millis = Math.max(0, until.at + Duration.toMillis(until.duration) - at)
          return [{ lease: message.lease, duration: Duration.millis(millis) }]
        })
  }
}
