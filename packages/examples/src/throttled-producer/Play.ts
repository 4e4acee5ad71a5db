/** A producer that could send 20 orders a second, and a consumer that does 2: with and without a throttle. */
import { Pipeline, Throttle } from "@millrace/core"
import { SendRate, SqsBacklog, SqsConsumer, SqsProducer, SqsQueue } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Clock, Effect, Schedule, Stream } from "effect"
import * as Orders from "../backpressure/Orders.js"

/** How many orders may wait. */
export const target = 200

/** What a play lasts, in seconds. */
export const until = 1_200

/** From here on the throttle has found its rate. */
export const settledAfter = 600

export interface Sample {
  /** Seconds from the beginning. */
  readonly at: number
  /** Waiting in the queue. */
  readonly backlog: number
  /** Sent so far, and done so far. */
  readonly sent: number
  readonly done: number
  /** What the producer may send, in orders a second. */
  readonly rate: number
}

export interface Played {
  readonly name: string
  readonly samples: ReadonlyArray<Sample>
  /** Calls to read the queue's counts. */
  readonly readings: number
}

export const strategies = {
  unthrottled: Throttle.constant(Orders.perSecond),
  throttled: Throttle.targetBacklog(target, { max: Orders.perSecond })
} as const

export const play = (name: string, strategy: Throttle.Strategy) =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const queue = yield* SqsQueue.resolve(Orders.queue)
    const before = (yield* sqs.calls).GetQueueAttributes ?? 0
    const throttle = yield* Throttle.make(yield* SqsBacklog.make(queue), strategy)
    const producer = yield* SqsProducer.make(queue, {
      rate: yield* SendRate.make({ perSecond: throttle.rate, burst: 1 }),
      // What may not be sent yet waits where it comes from.
      buffer: 10
    })
    yield* Stream.repeat(Stream.succeed(Orders.order(1)), Schedule.fixed(1000 / Orders.perSecond)).pipe(
      Stream.run(producer.sink),
      Effect.forkScoped
    )
    yield* SqsConsumer.stream(queue, { maxInFlight: 10 }).pipe(
      Pipeline.process(() => Effect.sleep("500 millis"), { concurrency: 1 }),
      Stream.runDrain,
      Effect.forkScoped
    )
    const begunAt = yield* Clock.currentTimeMillis
    const samples: Array<Sample> = []
    for (let at = 0; at <= until; at += 10) {
      yield* Effect.sleep(Math.max(0, begunAt + at * 1000 - (yield* Clock.currentTimeMillis)))
      const { deleted, sent, visible } = yield* sqs.snapshot(Orders.queue)
      samples.push({ at, backlog: visible, sent, done: deleted, rate: throttle.rate.unsafeGet() })
    }
    const { GetQueueAttributes: readings = 0 } = yield* sqs.calls
    const played: Played = { name, samples, readings: readings - before }
    return played
  }).pipe(
    Effect.scoped,
    Effect.provide(
      SqsEmulator.layer({
        queues: { [Orders.queue]: { visibilityTimeout: Orders.visibilityTimeout } },
        latency: "10 millis"
      })
    )
  )

export interface Figures {
  readonly sent: number
  readonly done: number
  readonly mostWaiting: number
  readonly waitingAtEnd: number
  /** The least and the most that waited, once the throttle had found its rate. */
  readonly settled: { readonly least: number; readonly most: number }
  readonly rateAtEnd: number
  readonly readings: number
}

export const figures = ({ readings, samples }: Played): Figures => {
  const backlogs = samples.map(({ backlog }) => backlog)
  const settled = samples.filter(({ at }) => at >= settledAfter).map(({ backlog }) => backlog)
  const last = samples.at(-1)
  return {
    sent: last?.sent ?? 0,
    done: last?.done ?? 0,
    mostWaiting: Math.max(...backlogs),
    waitingAtEnd: last?.backlog ?? 0,
    settled: { least: Math.min(...settled), most: Math.max(...settled) },
    rateAtEnd: last?.rate ?? 0,
    readings
  }
}
