/** One of the processes of the quota's test: its own queue, which is never empty, and a limiter in Redis. Prints when its handlers began. */
import * as RateLimiter from "@effect/experimental/RateLimiter"
import * as RedisStore from "@effect/experimental/RateLimiter/Redis"
import { Consumer, Pipeline, Quota } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Clock, Console, Effect, Layer, Stream } from "effect"

const [, , prefix = "", limit = "", seconds = ""] = process.argv

const program = Effect.gen(function* () {
  const quota = yield* Quota.make(yield* RateLimiter.RateLimiter, {
    name: "api",
    limit: Number(limit),
    // On a busy machine nobody may ask for a tenth of a second.
    burst: Number(limit) / 10,
    otherwise: "fail"
  })
  const queue = yield* MemoryQueue.make({ latency: "5 millis" })
  yield* queue.send(Array.from({ length: 20_000 }, (_, i) => String(i)))
  const began: Array<number> = []
  yield* Consumer.stream(queue, { quota, maxInFlight: 200 }).pipe(
    Pipeline.process(
      () =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          began.push(now)
        }),
      { concurrency: 50 }
    ),
    Stream.runDrain,
    Effect.timeoutOption(`${Number(seconds)} seconds`)
  )
  yield* Console.log(JSON.stringify(began))
})

const Limiter = RateLimiter.layer.pipe(
  Layer.provide(RedisStore.layerStore({ host: "127.0.0.1", port: 6379, db: 15, prefix }))
)

await Effect.runPromise(Effect.provide(program, Limiter))
