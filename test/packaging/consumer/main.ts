import { Consumer, Pipeline } from "@millrace/core"
import { SqsLeaseQueue } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Stream } from "effect"

const program = Effect.gen(function* () {
  const sqs = yield* SqsEmulator.SqsEmulator
  yield* sqs.send("orders", ["a", "b", "c"])
  const queue = yield* SqsLeaseQueue.make("orders")
  const handled = Consumer.stream(queue).pipe(
    Pipeline.process((body) => Effect.succeed(body)),
    Stream.take(3)
  )
  console.log(`handled ${[...(yield* Stream.runCollect(handled))].join(", ")}`)
})

await Effect.runPromise(Effect.provide(program, SqsEmulator.layer({ queues: { orders: {} } })))
