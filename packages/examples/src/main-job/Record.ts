/** The job's own record: which messages were sent, and what the handler did with each. The verdict is drawn from it. */
import type { Delivery } from "@millrace/core/Delivery"
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import { Clock, Context, Duration, Effect, Exit, Layer } from "effect"

export interface Service {
  readonly sent: (messageIds: ReadonlyArray<string>) => Effect.Effect<void>
  readonly allSent: Effect.Effect<void>
  /** The same handler, with every run noted by message id. */
  readonly noting: <A, D extends Delivery<unknown, unknown>, B, E, R>(
    handler: (body: A, delivery: D) => Effect.Effect<B, E, R>
  ) => (body: A, delivery: D) => Effect.Effect<B, E, R>
  /** Completes when all is sent and each message was handled with success, or when nothing was for `patience`. */
  readonly done: (patience: Duration.Duration) => Effect.Effect<void>
  /** Completes when so many messages were handled with success. */
  readonly handled: (messages: number) => Effect.Effect<void>
  readonly look: Effect.Effect<Look>
  /** Messages whose last run failed, until the queue has been told. */
  readonly failing: Set<string>
}

export interface Look {
  readonly sent: ReadonlySet<string>
  /** How often each message was handled with success. */
  readonly successes: ReadonlyMap<string, number>
  readonly failures: number
  /** Of ordered queues: the groups, and the runs that overlapped another of their group or came behind a later one. */
  readonly order: { readonly groups: number; readonly broken: number }
  /** When the queue had taken the first message, and when the last was handled, in milliseconds since the epoch. */
  readonly firstSentAt: number
  readonly lastSuccessAt: number
  /** How long the latest successful runs took, in milliseconds. */
  readonly latest: ReadonlyArray<number>
}

export class Record extends Context.Tag("Record")<Record, Service>() {}

const latestKept = 2_000

const make = Effect.gen(function* () {
  const sent = new Set<string>()
  const successes = new Map<string, number>()
  const failing = new Set<string>()
  /** Sent and not handled yet. */
  const waiting = new Set<string>()
  let latest: Array<number> = []
  let failures = 0
  /** By group: the last that was handled, and how many run. */
  const groups = new Map<string, { last: string; running: number }>()
  let outOfOrder = 0
  const milestones: Array<{ readonly count: number; readonly latch: Effect.Latch }> = []
  let allSent = false
  let firstSentAt = yield* Clock.currentTimeMillis
  let lastSuccessAt = firstSentAt
  const complete = yield* Effect.makeLatch()
  const openWhenComplete = Effect.suspend(() => (allSent && waiting.size === 0 ? complete.open : Effect.void))

  const succeeded = (id: string, startedAt: number, now: number) => {
    successes.set(id, (successes.get(id) ?? 0) + 1)
    waiting.delete(id)
    lastSuccessAt = now
    latest.push(now - startedAt)
    if (latest.length > 2 * latestKept) latest = latest.slice(-latestKept)
  }

  const stalled = (patience: Duration.Duration): Effect.Effect<void> =>
    Effect.gen(function* () {
      const left = lastSuccessAt + Duration.toMillis(patience) - (yield* Clock.currentTimeMillis)
      if (left <= 0) return
      yield* Effect.sleep(left)
      yield* stalled(patience)
    })

  /** Notes that a run of an ordered group begins; what it gives back notes its end. */
  const begun = ({ group, sequence }: LeaseQueue.Message) => {
    if (group === undefined || sequence === undefined) return () => {}
    const state = groups.get(group) ?? { last: "", running: 0 }
    groups.set(group, state)
    if (state.running > 0 || sequence <= state.last) outOfOrder++
    state.running++
    return (succeeded: boolean) => {
      state.running--
      if (succeeded) state.last = sequence
    }
  }

  const service: Service = {
    failing,
    sent: (ids) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        if (sent.size === 0) firstSentAt = now
        for (const id of ids) {
          sent.add(id)
          // It may have been handled before the answer to its send was here.
          if (!successes.has(id)) waiting.add(id)
        }
      }),
    allSent: Effect.suspend(() => {
      allSent = true
      return openWhenComplete
    }),
    noting: (handler) => (body, delivery) => {
      const { id } = delivery.message
      return Effect.flatMap(Clock.currentTimeMillis, (startedAt) => {
        const ended = begun(delivery.message)
        return handler(body, delivery).pipe(
          Effect.onExit((exit) => Effect.sync(() => ended(Exit.isSuccess(exit)))),
          Effect.tapErrorCause(() =>
            Effect.sync(() => {
              failures++
              failing.add(id)
            })
          ),
          Effect.tap(() =>
            Effect.flatMap(Clock.currentTimeMillis, (now) => {
              succeeded(id, startedAt, now)
              for (const { count, latch } of milestones) if (successes.size >= count) latch.unsafeOpen()
              return openWhenComplete
            })
          )
        )
      })
    },
    done: (patience) => Effect.raceFirst(complete.await, stalled(patience)),
    handled: (count) =>
      Effect.gen(function* () {
        const latch = yield* Effect.makeLatch(successes.size >= count)
        milestones.push({ count, latch })
        yield* latch.await
      }),
    look: Effect.sync(() => ({
      order: { groups: groups.size, broken: outOfOrder },
      sent,
      successes,
      failures,
      firstSentAt,
      lastSuccessAt,
      latest: latest.slice(-latestKept)
    }))
  }
  return service
})

export const layer: Layer.Layer<Record> = Layer.effect(Record, make)
