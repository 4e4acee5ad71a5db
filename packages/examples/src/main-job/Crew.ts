/** Two consumers, of which the second takes over half-way: the first is drained, as in a deploy. */
import type { Consumer } from "@millrace/core"
import { SqsConsumer, type SqsQueue } from "@millrace/sqs"
import { Effect, Stream } from "effect"

export const make = (
  queue: SqsQueue.SqsQueue,
  options: {
    readonly maxInFlight: number
    readonly takeOver: Effect.Effect<void>
    readonly done: Effect.Effect<void>
  }
) =>
  Effect.gen(function* () {
    const { done, maxInFlight, takeOver } = options
    const first = yield* SqsConsumer.make(queue, {
      name: "first",
      maxInFlight,
      drainWhen: Effect.raceFirst(takeOver, done)
    })
    const second = yield* SqsConsumer.make(queue, { name: "second", maxInFlight, drainWhen: done })
    let working = first
    const takesOver = Effect.sync(() => {
      working = second
    })
    return {
      consumers: { first, second },
      streams: [first.stream, Stream.onStart(second.stream, takesOver)] as const,
      stats: Effect.zipWith(first.stats, second.stats, sum),
      /** Of the one that works. */
      figures: Effect.suspend(() => working.figures)
    }
  })

export type Crew = Effect.Effect.Success<ReturnType<typeof make>>

export type Figures = Pick<
  Consumer.Stats,
  "acked" | "handled" | "inFlight" | "maxInFlight" | "peakInFlight" | "polls" | "redelivered" | "settleCalls"
>

const sum = (a: Consumer.Stats, b: Consumer.Stats): Figures => ({
  acked: a.acked + b.acked,
  handled: a.handled + b.handled,
  inFlight: a.inFlight + b.inFlight,
  maxInFlight: a.maxInFlight,
  peakInFlight: Math.max(a.peakInFlight, b.peakInFlight),
  polls: a.polls + b.polls,
  redelivered: a.redelivered + b.redelivered,
  settleCalls: a.settleCalls + b.settleCalls
})
