/** The queue behind a function's events: what is asked of it is done, or it is said that it was not. */
import { assert, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Logger, LogLevel, TestClock } from "effect"
import { Fault, SqsEmulator } from "../src/emulator/index.js"
import { SqsClient, SqsError, SqsLeaseQueue } from "../src/index.js"
import { queueBehind } from "../src/internal/lambda/queueBehind.js"

const arnOf = (queue: string) => `arn:aws:sqs:us-east-1:000000000000:${queue}`
const emulator = SqsEmulator.layer({ queues: { orders: {}, "orders.fifo": {}, others: {} } })
const within = Duration.seconds(10)

/** Messages of a queue that are leased, and what is behind it; what is warned of is in `said`. */
const leased = (queue: string, count: number) =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    yield* sqs.send(
      queue,
      Array.from({ length: count }, (_, i) => `${i}`)
    )
    const source = yield* SqsLeaseQueue.make(queue)
    const messages = yield* source.receive({ max: 10, wait: Duration.zero, attemptId: "attempt" })
    assert.lengthOf(messages, count)
    return messages.map(({ lease }) => lease)
  })

const heard = () => {
  const said: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    if (logLevel === LogLevel.Warning) said.push(String(message))
  })
  return { said, listen: Effect.provide(Logger.replace(Logger.defaultLogger, logger)) }
}

it.scoped("what one queue refuses is asked of another all the same", () =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const { listen, said } = heard()
    const back = queueBehind(Effect.succeed(yield* SqsClient.SqsClient))
    const denied = Fault.fail((operation) => new SqsError.AccessDenied({ operation, message: "denied" }))
    yield* sqs.faults.script("DeleteMessageBatch", [denied])
    const [orders, others] = [yield* leased("orders", 1), yield* leased("others", 1)]
    for (let i = 0; i < 2; i++) yield* listen(back.deleteAll(arnOf("orders"), orders, within))
    yield* listen(back.deleteAll(arnOf("others"), others, within))
    assert.strictEqual((yield* sqs.calls).DeleteMessageBatch, 2, "what was refused is not asked for again")
    assert.lengthOf(yield* sqs.messages("orders"), 1)
    assert.lengthOf(yield* sqs.messages("others"), 0)
    assert.lengthOf(said, 1)
  }).pipe(Effect.provide(emulator))
)

it.scoped("an entry that the queue could not take just now is sent again, by itself", () =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const { listen, said } = heard()
    const back = queueBehind(Effect.succeed(yield* SqsClient.SqsClient))
    const leases = yield* leased("orders", 3)
    yield* sqs.faults.script("DeleteMessageBatch", [Fault.failEntries([0, 2]), Fault.failEntries([2])])
    const deleting = yield* Effect.fork(listen(back.deleteAll(arnOf("orders"), leases, within)))
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(deleting)
    assert.lengthOf(yield* sqs.messages("orders"), 0)
    assert.strictEqual((yield* sqs.calls).DeleteMessageBatch, 2, "the second call has no third entry that could fail")
    assert.deepStrictEqual(said, [])
  }).pipe(Effect.provide(emulator))
)

it.scoped("entries that are not done in the end are warned of, with what is wrong with them", () =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    for (const [fault, calls] of [
      [Fault.failEntries([0]), 3],
      [Fault.failEntries([0], { code: "AccessDenied", senderFault: true }), 1]
    ] as const) {
      const { listen, said } = heard()
      const back = queueBehind(Effect.succeed(yield* SqsClient.SqsClient))
      const before = (yield* sqs.calls).DeleteMessageBatch ?? 0
      const leases = yield* leased("orders", 2)
      yield* sqs.faults.script("DeleteMessageBatch", Array(calls).fill(fault))
      const deleting = yield* Effect.fork(listen(back.deleteAll(arnOf("orders"), leases, within)))
      // What will not be taken later is not waited for.
      if (calls > 1) yield* TestClock.adjust("1 second")
      yield* Fiber.join(deleting)
      assert.strictEqual((yield* sqs.calls).DeleteMessageBatch, before + calls)
      assert.lengthOf(said, 1)
      assert.match(said[0] ?? "", /orders cannot be deleted .*The emulator was told to fail this entry/)
    }
  }).pipe(Effect.provide(emulator))
)

/** As many of one queue as an invocation may have, of which only the count matters here. */
const others = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ messageId: `${i}`, handle: `handle ${i}` }))

it.scoped(
  "a call that fails in the end keeps no others from being made, but on a FIFO queue, where they have an order",
  () =>
    Effect.gen(function* () {
      for (const [queue, deletes] of [
        ["orders", [10, 5]],
        ["orders.fifo", []]
      ] as const) {
        const { listen, said } = heard()
        const sent: Array<number> = []
        const client = yield* SqsClient.SqsClient
        const back = queueBehind(
          Effect.succeed({
            ...client,
            deleteMessageBatch: ({ Entries: entries = [] }) =>
              entries[0]?.ReceiptHandle === "handle 0"
                ? Effect.fail(new SqsError.TransportError({ operation: "DeleteMessageBatch", message: "no answer" }))
                : Effect.suspend(() => {
                    sent.push(entries.length)
                    const answer = { Successful: entries.map(({ Id }) => ({ Id: Id ?? "" })), Failed: [] }
                    return Effect.delay(Effect.succeed(answer), "1 second")
                  })
          })
        )
        const deleting = yield* Effect.fork(listen(back.deleteAll(arnOf(queue), others(25), within)))
        yield* TestClock.adjust("5 seconds")
        yield* Fiber.join(deleting)
        assert.deepStrictEqual(
          sent.toSorted((a, b) => b - a),
          [...deletes],
          queue
        )
        assert.lengthOf(said, 1)
        assert.match(said[0] ?? "", /cannot be deleted .*no answer/)
      }
    }).pipe(Effect.provide(emulator))
)

it.scoped("what is wrong is said once, however often; and for nothing to do no queue is looked up", () =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const { listen, said } = heard()
    const back = queueBehind(Effect.succeed(yield* SqsClient.SqsClient))
    yield* listen(back.deleteAll(arnOf("orders"), [], within))
    assert.deepStrictEqual(yield* sqs.calls, {})
    const fault = Fault.failEntries([0], { code: "AccessDenied", senderFault: true })
    yield* sqs.faults.script("DeleteMessageBatch", [fault, fault])
    const leases = yield* leased("orders", 1)
    for (let i = 0; i < 2; i++) yield* listen(back.deleteAll(arnOf("orders"), leases, within))
    assert.strictEqual((yield* sqs.calls).DeleteMessageBatch, 2)
    assert.lengthOf(said, 1)
  }).pipe(Effect.provide(emulator))
)

it.scoped("a time that is over before all was done is warned of", () =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const { listen, said } = heard()
    const back = queueBehind(Effect.succeed(yield* SqsClient.SqsClient))
    const leases = yield* leased("orders", 1)
    yield* sqs.faults.script("DeleteMessageBatch", [Fault.delay("1 minute")])
    const deleting = yield* Effect.fork(listen(back.deleteAll(arnOf("orders"), leases, Duration.seconds(1))))
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(deleting)
    assert.lengthOf(said, 1)
    assert.match(said[0] ?? "", /orders cannot be deleted .*the function's time was over/)
  }).pipe(Effect.provide(emulator))
)
