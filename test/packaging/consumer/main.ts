import { Pipeline } from "@millrace/core"
import { SqsConsumer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Stream } from "effect"

const handled = SqsConsumer.stream("orders").pipe(
  Pipeline.process((body) => Effect.succeed(body), { concurrency: 2 }),
  Stream.take(3)
)

const program = Effect.gen(function* () {
  const sqs = yield* SqsEmulator.SqsEmulator
  yield* sqs.send("orders", ["a", "b", "c"])
  console.log(`handled ${[...(yield* Stream.runCollect(handled))].sort().join(", ")}`)
})

await Effect.runPromise(Effect.provide(program, SqsEmulator.layer({ queues: { orders: {} } })))
