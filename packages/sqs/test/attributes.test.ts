/** Attributes whose names mean something to JavaScript. */
import { assert, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { SqsLeaseQueue, SqsQueue } from "../src/index.js"
import * as FakeServer from "./support/FakeServer.js"

it.scoped("an attribute called `__proto__` or `constructor` arrives as any other", () =>
  Effect.gen(function* () {
    const body =
      '{"Messages":[{"MessageId":"m","ReceiptHandle":"h","Body":"b","MD5OfBody":"92eb5ffee6ae2fec3ad71c777531578f","MessageAttributes":{"__proto__":{"DataType":"String","StringValue":"p"},"constructor":{"DataType":"Number","StringValue":"1"}}}]}'
    const server = yield* FakeServer.make(({ operation }) =>
      operation === "ReceiveMessage"
        ? { body }
        : {
            body: {
              QueueUrl: "http://localhost/000000000000/q",
              Attributes: { QueueArn: "arn:aws:sqs:us-east-1:000000000000:q", VisibilityTimeout: "30" }
            }
          }
    )
    yield* Effect.gen(function* () {
      const queue = yield* SqsLeaseQueue.make(yield* SqsQueue.resolve("q"))
      const [message] = yield* queue.receive({ max: 1, wait: Duration.zero, attemptId: undefined })
      assert.deepStrictEqual(
        Object.entries(message?.attributes ?? {}).map(([name, { value }]) => `${name} ${value}`),
        ["__proto__ p", "constructor 1"]
      )
    }).pipe(Effect.provide(FakeServer.layer(server.url)))
  })
)
