/** Consumers at work on a queue in memory, on the real clock: a browser knows no other. */
import { Backlog, Consumer, Pipeline, RetryPolicy, Tunable } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Bodies } from "@millrace/dashboard"
import { Data, Effect, Schedule, Stream } from "effect"

export class CardDeclined extends Data.TaggedError("CardDeclined") {}

/** Handles messages for as long as the scope is open, and more are sent meanwhile; every fifth run fails. */
export const working = (name: string, { ordered = true }: { readonly ordered?: boolean } = {}) =>
  Effect.gen(function* () {
    const memory = yield* MemoryQueue.make({ name, latency: "5 millis", ordered })
    let sent = 0
    const send = Effect.suspend(() =>
      memory.send(
        Array.from({ length: 10 }, () => ({
          body: `<img src=x onerror="document.title='taken'">secret ${sent}`,
          group: `<i>customer-${sent++ % 5}</i>`
        }))
      )
    )
    yield* Effect.repeatN(send, 19)
    yield* Effect.forkScoped(Effect.repeat(send, Schedule.spaced("100 millis")))
    const concurrency = yield* Tunable.make("concurrency", 4, { min: 1, max: 32 })
    const consumer = yield* Consumer.make(memory, { name, maxInFlight: 20 })
    const bodies = yield* Bodies.make()
    let runs = 0
    yield* consumer.stream.pipe(
      bodies.through,
      Pipeline.process(
        () => Effect.zipRight(Effect.sleep("20 millis"), ++runs % 5 === 0 ? new CardDeclined() : Effect.void),
        { concurrency, retry: RetryPolicy.redeliver(Schedule.spaced("1 second")) }
      ),
      Stream.runDrain,
      Effect.forkScoped
    )
    const backlog = yield* Backlog.make(
      {
        queue: name,
        counts: Effect.map(memory.stats, ({ inFlight, visible }) => ({ visible, inFlight, delayed: 0 })),
        deadLetters: Effect.succeed({ visible: 7, inFlight: 0, delayed: 0 }),
        errorKind: () => "transient"
      },
      {
        every: "1 second",
        groups: Effect.succeed(
          ordered ? undefined : { noisy: 1, quiet: { visible: 12, inFlight: 3, delayed: 0 }, quietOldest: undefined }
        )
      }
    )
    return { memory, consumer, concurrency, bodies, backlog }
  })
