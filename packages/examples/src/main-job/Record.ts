/** The job's own record: which messages were sent, and what the handler did with each. The verdict is drawn from it. */
import type { Delivery } from "@millrace/core/Delivery"
import { Clock, Context, Duration, Effect, Layer } from "effect"

export interface Service {
  readonly sent: (messageIds: ReadonlyArray<string>) => Effect.Effect<void>
  readonly allSent: Effect.Effect<void>
  /** The same handler, with every run noted by message id. */
  readonly noting: <A, D extends Delivery<unknown, unknown>, B, E, R>(
    handler: (body: A, delivery: D) => Effect.Effect<B, E, R>
  ) => (body: A, delivery: D) => Effect.Effect<B, E, R>
  /** Completes when all is sent and each message was handled with success, or when nothing was for `patience`. */
  readonly done: (patience: Duration.Duration) => Effect.Effect<void>
  readonly look: Effect.Effect<Look>
  /** Messages whose last run failed, until the queue has been told. */
  readonly failing: Set<string>
}

export interface Look {
  readonly sent: ReadonlySet<string>
  /** How often each message was handled with success. */
  readonly successes: ReadonlyMap<string, number>
  readonly failures: number
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
      return Effect.flatMap(Clock.currentTimeMillis, (startedAt) =>
        handler(body, delivery).pipe(
          Effect.tapErrorCause(() =>
            Effect.sync(() => {
              failures++
              failing.add(id)
            })
          ),
          Effect.tap(() =>
            Effect.flatMap(Clock.currentTimeMillis, (now) => {
              succeeded(id, startedAt, now)
              return openWhenComplete
            })
          )
        )
      )
    },
    done: (patience) => Effect.raceFirst(complete.await, stalled(patience)),
    look: Effect.sync(() => ({
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
