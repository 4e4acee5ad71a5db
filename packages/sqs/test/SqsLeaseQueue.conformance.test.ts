// The port's promises, kept by an SQS queue: in process, and through the AWS SDK over HTTP. Time is virtual in both.

import { describe, it } from "@effect/vitest"
import { Conformance } from "@millrace/core/testing"
import { Effect, Layer, Redacted, TestClock } from "effect"
import { SqsEmulator, SqsHttp } from "../src/emulator/index.js"
import { SqsClient, type SqsError, SqsLeaseQueue } from "../src/index.js"

const queues = {
  orders: { deadLetter: { queue: "dead", maxReceiveCount: 1000 } },
  "orders.fifo": { deadLetter: { queue: "dead.fifo", maxReceiveCount: 1000 } }
}

const inProcess = SqsEmulator.layer({ queues })

const overHttp = Layer.unwrapEffect(
  Effect.map(SqsHttp.SqsHttp, ({ endpoint }) =>
    SqsClient.layer({
      region: "us-east-1",
      endpoint,
      credentials: { accessKeyId: "test", secretAccessKey: Redacted.make("test") }
    })
  )
).pipe(Layer.provide(SqsHttp.layer({ port: 0 })), Layer.provideMerge(SqsEmulator.layer({ queues })))

/** What was on the wire before two whole round trips has arrived after them. */
const settle = Effect.flatMap(SqsClient.SqsClient, (sqs) => Effect.zipRight(sqs.listQueues({}), sqs.listQueues({})))

const doors = [
  ["in process", inProcess, Effect.void],
  ["over HTTP", overHttp, settle]
] as const

for (const [door, layer, arrive] of doors) {
  for (const [name, deadLetterQueue] of [
    ["orders", "dead"],
    ["orders.fifo", "dead.fifo"]
  ] as const) {
    const harness = Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const context = yield* Effect.context<SqsClient.SqsClient>()
      const arrived = Effect.orDie(Effect.provide(arrive, context))
      const harness: Conformance.Harness<SqsError.SqsError> = {
        queue: yield* SqsLeaseQueue.make(name),
        send: (messages) =>
          sqs.send(
            name,
            messages.map(({ attributes = {}, body, group }) =>
              SqsEmulator.message(body, {
                group,
                attributes: Object.fromEntries(
                  Object.entries(attributes).map(([key, { type, value }]) => [
                    key,
                    typeof value === "string" ? { DataType: type, StringValue: value } : value
                  ])
                )
              })
            )
          ),
        pass: (duration) => arrived.pipe(Effect.zipRight(TestClock.adjust(duration)), Effect.zipRight(arrived)),
        deadLetters: Effect.map(sqs.messages(deadLetterQueue), (messages) => messages.map(({ body }) => body))
      }
      return harness
    })
    describe(`SqsLeaseQueue ${door}, ${name}`, () => {
      const traits = { ordered: name.endsWith(".fifo"), deadLetters: true }
      for (const { effect, name } of Conformance.cases(harness, traits)) {
        it.scoped(name, () => Effect.provide(effect, layer))
      }
    })
  }
}
