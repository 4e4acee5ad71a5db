/**
 * The queue behind a function's events, for what only a client can do: dead letters, delays, deletes. It is looked up when
 * it is first needed, once for each container; what may not be is said once, and left to the queue.
 */
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import * as Reason from "@millrace/core/Reason"
import * as Arr from "effect/Array"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { SqsError } from "../../SqsError.js"
import * as SqsLeaseQueue from "../../SqsLeaseQueue.js"
import type { Service } from "../client/service.js"
import { SqsClient } from "../client/tag.js"
import { mostEntries } from "./eventQueue.js"

type Queue = LeaseQueue.LeaseQueue<SqsError>

export interface QueueBehind {
  readonly known: (arn: string) => Queue | undefined
  readonly find: (arn: string) => Effect.Effect<Queue | undefined>
  readonly setLeases: (
    arn: string,
    entries: ReadonlyArray<LeaseQueue.SetLeaseEntry>,
    within: Duration.Duration
  ) => Effect.Effect<void>
  readonly deleteAll: (
    arn: string,
    leases: ReadonlyArray<LeaseQueue.Lease>,
    within: Duration.Duration
  ) => Effect.Effect<void>
}

/** The invocation's time is short: twice more, and then what is not done is left to the queue. */
const retry = Schedule.intersect(Schedule.exponential("50 millis"), Schedule.recurs(2))

/** Entries of a call that the queue has not done: `again` where some of them may be sent once more. */
class NotDone extends Data.TaggedError("NotDone")<{ readonly again: boolean; readonly message: string }> {}

/** Sends entries, and those once more of which only the queue's state was in the way. */
const sendAll = <A>(
  queue: Queue,
  all: ReadonlyArray<A>,
  call: (entries: ReadonlyArray<A>) => Effect.Effect<ReadonlyArray<LeaseQueue.EntryResult>, SqsError>
): Effect.Effect<void, SqsError | NotDone> => {
  let left = all
  let lost: LeaseQueue.EntryFailure | undefined
  return Effect.suspend(() => call(left)).pipe(
    Effect.flatMap((results) => {
      const failed = left.flatMap((entry, i) => {
        const result = results[i]
        return result !== undefined && Either.isLeft(result) ? [{ entry, failure: result.left }] : []
      })
      const again = failed.filter(({ failure }) => failure.reason === "Transient")
      left = again.map(({ entry }) => entry)
      lost ??= failed.find(({ failure }) => failure.reason !== "Transient")?.failure
      const failure = again[0]?.failure ?? lost
      return failure === undefined
        ? Effect.void
        : new NotDone({ again: again.length > 0, message: `${failure.reason}: ${failure.message}` })
    }),
    Effect.retry({
      schedule: retry,
      while: (error) => (error._tag === "NotDone" ? error.again : queue.errorKind(error) !== "fatal")
    })
  )
}

const delaysLost =
  "failed messages come again after its visibility timeout, and not after the delays of their retry policy"

export const queueBehind = (client: Effect.Effect<Service, unknown>): QueueBehind => {
  const found = new Map<string, Queue>()
  const said = new Set<string>()
  /** By queue: what one refuses, another may take. */
  const refused = new Set<string>()
  const one = Effect.unsafeMakeSemaphore(1)

  const warnOnce = (text: string, error: unknown) =>
    Effect.suspend(() => {
      if (said.has(text)) return Effect.void
      said.add(text)
      return Effect.logWarning(`${text}: ${Reason.of(error)}`)
    })

  const find = (arn: string): Effect.Effect<Queue | undefined> =>
    Effect.suspend(() => {
      const queue = found.get(arn)
      if (queue !== undefined) return Effect.succeed(queue)
      return SqsLeaseQueue.make(arn, { receiveRetry: retry }).pipe(
        Effect.provideServiceEffect(SqsClient, client),
        Effect.tap((queue) => Effect.sync(() => found.set(arn, queue))),
        Effect.catchAll((error) =>
          warnOnce(
            `${arn} cannot be looked up (needs sqs:GetQueueUrl and sqs:GetQueueAttributes): ${delaysLost}, and none is dead-lettered`,
            error
          )
        ),
        Effect.map((queue) => queue ?? undefined)
      )
    }).pipe(one.withPermits(1))

  /** In calls of as many entries as SQS takes, one after another: of a group the order matters. */
  const inCalls = <A>(
    arn: string,
    all: ReadonlyArray<A>,
    within: Duration.Duration,
    call: (queue: Queue, entries: ReadonlyArray<A>) => Effect.Effect<ReadonlyArray<LeaseQueue.EntryResult>, SqsError>,
    problem: string
  ): Effect.Effect<void> =>
    Effect.suspend(() => {
      const text = `messages of ${arn} ${problem}`
      if (all.length === 0 || refused.has(text)) return Effect.void
      return Effect.flatMap(find(arn), (queue) => {
        if (queue === undefined) return Effect.void
        return Effect.forEach(
          Arr.chunksOf(all, mostEntries),
          (entries) =>
            sendAll(queue, entries, (some) => call(queue, some)).pipe(
              // What is wrong with some entries keeps no others from being sent.
              Effect.catchTag("NotDone", (some) => warnOnce(text, some.message)),
              // Nor does a call that fails, but where the others may not come before it.
              Effect.catchIf(
                (error) => !queue.limits.ordered && queue.errorKind(error) !== "fatal",
                (error) => warnOnce(text, error)
              )
            ),
          { concurrency: queue.limits.ordered ? 1 : 4, discard: true }
        ).pipe(
          Effect.catchAll((error) => {
            if (queue.errorKind(error) === "fatal") refused.add(text)
            return warnOnce(text, error)
          })
        )
      }).pipe(
        Effect.interruptible,
        Effect.timeoutOption(within),
        Effect.flatMap((done) =>
          Option.isSome(done) ? Effect.void : warnOnce(text, "the function's time was over before all of them were")
        )
      )
    })

  return {
    known: (arn) => found.get(arn),
    find,
    setLeases: (arn, entries, within) =>
      inCalls(
        arn,
        entries,
        within,
        (queue, some) => queue.setLease(some),
        `cannot be delayed or given back (needs sqs:ChangeMessageVisibility): ${delaysLost}`
      ),
    deleteAll: (arn, leases, within) =>
      inCalls(
        arn,
        leases,
        within,
        (queue, some) => queue.ack(some),
        "cannot be deleted (needs sqs:DeleteMessage): those that are done come again with the others"
      )
  }
}
