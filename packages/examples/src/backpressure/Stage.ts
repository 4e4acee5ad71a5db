/** Plays an act and writes down, once a second, what the queue and the handler show. */
import { type Backlog, Diagnosis } from "@millrace/core"
import { SqsBacklog, type SqsError } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Clock, Effect } from "effect"
import type { Scenario } from "./Acts.js"
import type { Watch } from "./Consumers.js"
import * as Orders from "./Orders.js"

export interface Sample {
  /** Seconds from the act's beginning. */
  readonly at: number
  /** Sent so far, and deleted so far. */
  readonly sent: number
  readonly done: number
  /** Waiting in the queue. */
  readonly backlog: number
  /** Leased, as the queue counts. */
  readonly inFlight: number
  /** Runs of the handler so far, and those for an order that it had worked on before. */
  readonly runs: number
  readonly again: number
  /** Receives sent so far. */
  readonly receives: number
}

export interface Played {
  readonly scenario: Scenario
  readonly samples: ReadonlyArray<Sample>
  /** The most in flight at any time, looked at as each order was begun. */
  readonly peakInFlight: number
  /** What the consumer said when it was asked why the queue is behind. */
  readonly diagnosis: Diagnosis.Diagnosis | undefined
}

export interface Shown {
  readonly consumer: Parameters<Watch>[0]
  readonly backlog: Backlog.Backlog<SqsError.SqsError>
}

export const play = (
  scenario: Scenario,
  onSample: (sample: Sample) => Effect.Effect<void> = () => Effect.void,
  onConsumer: (shown: Shown) => Effect.Effect<unknown> = () => Effect.void
) =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const begunAt = yield* Clock.currentTimeMillis
    const seconds = Effect.map(Clock.currentTimeMillis, (now) => (now - begunAt) / 1000)
    const samples: Array<Sample> = []
    const begun = new Set<number>()
    let runs = 0
    let again = 0
    let peakInFlight = 0
    let diagnosis: Diagnosis.Diagnosis | undefined

    const handle = (order: Orders.Order) =>
      Effect.gen(function* () {
        runs++
        if (begun.has(order.order_id)) again++
        begun.add(order.order_id)
        peakInFlight = Math.max(peakInFlight, (yield* Effect.orDie(sqs.snapshot(Orders.queue))).inFlight)
        yield* Effect.sleep(scenario.service(yield* seconds))
      })

    const sample = Effect.gen(function* () {
      const { deleted, inFlight, sent, visible } = yield* sqs.snapshot(Orders.queue)
      const { ReceiveMessage: receives = 0 } = yield* sqs.calls
      const at = Math.round(yield* seconds)
      peakInFlight = Math.max(peakInFlight, inFlight)
      const taken = { at, sent, done: deleted, backlog: visible, inFlight, runs, again, receives }
      samples.push(taken)
      yield* onSample(taken)
    })
    const everySecond = Effect.gen(function* () {
      for (let at = 0; at <= scenario.until; at++) {
        yield* Effect.sleep(Math.max(0, at * 1000 - (yield* seconds) * 1000))
        yield* sample
      }
    })

    const diagnose: Watch = (consumer) =>
      Effect.gen(function* () {
        const { diagnosedAt } = scenario
        const backlog = yield* SqsBacklog.make(Orders.queue, { every: "1 second", window: "10 seconds" })
        yield* onConsumer({ consumer, backlog })
        if (diagnosedAt === undefined) return
        const watched = yield* Diagnosis.of(consumer, backlog, { window: "10 seconds", every: "2 seconds" })
        yield* Effect.forkScoped(
          Effect.gen(function* () {
            yield* Effect.sleep(diagnosedAt * 1000 - (yield* seconds) * 1000)
            diagnosis = yield* watched.now
          })
        )
      })

    yield* sqs.send(
      Orders.queue,
      Array.from({ length: scenario.backlog }, (_, n) => Orders.order(n))
    )
    const running = Effect.all([scenario.consume(handle, diagnose), Orders.produce(scenario.backlog)], {
      concurrency: "unbounded"
    })
    yield* Effect.raceFirst(everySecond, Effect.zipRight(running, Effect.never))
    const played: Played = { scenario, samples, peakInFlight, diagnosis }
    return played
  }).pipe(
    Effect.provide(
      SqsEmulator.layer({
        queues: { [Orders.queue]: { visibilityTimeout: Orders.visibilityTimeout } },
        latency: "10 millis"
      })
    )
  )
