import { assert, describe, it } from "@effect/vitest"
import { type LeaseQueue, Pipeline, RetryPolicy } from "@millrace/core"
import { Data, Duration, Effect, Either, FastCheck, Layer, Schedule, Stream, TestClock } from "effect"
import { SqsEmulator } from "../src/emulator/index.js"
import { SqsClient, SqsConsumer, SqsError, SqsLeaseQueue } from "../src/index.js"

const max = 10
const now = { max, wait: Duration.zero, attemptId: undefined }
const reasons = (results: ReadonlyArray<LeaseQueue.EntryResult>) =>
  results.map(Either.match({ onLeft: ({ reason }) => reason, onRight: () => "done" }))

/** The client of the context, with some operations answered by the test. */
const withClient = (change: (client: SqsClient.Service) => Partial<SqsClient.Service>) =>
  Layer.effect(
    SqsClient.SqsClient,
    Effect.map(SqsClient.SqsClient, (client) => ({ ...client, ...change(client) }))
  )

describe("SqsLeaseQueue.make", () => {
  it.effect("says what the queue is: its name, lease, limits, and whether it is ordered", () =>
    Effect.gen(function* () {
      const orders = yield* SqsLeaseQueue.make("orders")
      assert.strictEqual(orders.name, "orders")
      assert.strictEqual(Duration.toSeconds(orders.leaseDuration), 45)
      assert.strictEqual(orders.limits.batchSize, 10)
      assert.strictEqual(Duration.toSeconds(orders.limits.maxWait), 20)
      assert.strictEqual(Duration.toHours(orders.limits.maxLease), 12)
      assert.isFalse(orders.limits.ordered)
      assert.isUndefined(orders.deadLetter)
      const fifo = yield* SqsLeaseQueue.make("orders.fifo")
      assert.isTrue(fifo.limits.ordered)
      assert.isFunction(fifo.deadLetter)
    }).pipe(
      Effect.provide(
        SqsEmulator.layer({
          queues: {
            orders: { visibilityTimeout: "45 seconds" },
            "orders.fifo": { deadLetter: { queue: "dead.fifo", maxReceiveCount: 3 } }
          }
        })
      )
    )
  )

  it.effect("a visibility timeout that cannot lease is refused: the option's, and the queue's own", () =>
    Effect.gen(function* () {
      for (const visibilityTimeout of ["999 millis", "43201 seconds", 0, Duration.infinity] as const) {
        const error = yield* Effect.flip(SqsLeaseQueue.make("orders", { visibilityTimeout }))
        assert.strictEqual(error._tag, "InvalidOptions")
        assert.match(error.message, /from 1 ?s(econd)? to 12 ?h(ours)?/)
      }
      const error = yield* Effect.flip(SqsLeaseQueue.make("zero"))
      assert.match(error.message, /the queue zero has a visibility timeout of 0.*write `visibilityTimeout`/)
      const queue = yield* SqsLeaseQueue.make("zero", { visibilityTimeout: "1500 millis" })
      assert.strictEqual(Duration.toSeconds(queue.leaseDuration), 2)
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { orders: {}, zero: { visibilityTimeout: 0 } } })))
  )
})

describe("SqsLeaseQueue.receive", () => {
  it.effect("a message comes with all that SQS tells of it, its attributes whole", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const queue = yield* SqsLeaseQueue.make("orders.fifo")
      yield* TestClock.adjust("10 seconds")
      const attributes = {
        text: { DataType: "String", StringValue: "é" },
        whole: { DataType: "Number.int", StringValue: "7" },
        png: { DataType: "Binary.image/png", BinaryValue: Uint8Array.of(0, 255, 128) }
      }
      yield* sqs.send("orders.fifo", [SqsEmulator.message("body", { group: "g", attributes })])
      yield* TestClock.adjust("5 seconds")
      const [message] = yield* queue.receive(now)
      assert.strictEqual(message?.body, "body")
      assert.strictEqual(message?.attempt, 1)
      assert.strictEqual(message?.group, "g")
      assert.match(message?.sequence ?? "", /^\d{20}$/)
      assert.strictEqual(message?.sentAt, 10_000)
      assert.strictEqual(message?.firstReceivedAt, 15_000)
      assert.strictEqual(message?.lease.messageId, message?.id)
      assert.strictEqual(message?.system["MessageGroupId"], "g")
      assert.deepStrictEqual(message?.attributes, {
        text: { type: "String", value: "é" },
        whole: { type: "Number", value: "7", label: "int" },
        png: { type: "Binary", value: Uint8Array.of(0, 255, 128), label: "image/png" }
      })
      yield* queue.setLease([{ lease: message?.lease ?? { messageId: "", handle: "" }, duration: Duration.zero }])
      const [again] = yield* queue.receive(now)
      assert.strictEqual(again?.attempt, 2)
      assert.notStrictEqual(again?.lease.handle, message?.lease.handle)
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { "orders.fifo": {} } })))
  )

  it.effect("a fair queue's groups are told, but its messages are not ordered", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const queue = yield* SqsLeaseQueue.make("orders")
      yield* sqs.send("orders", [SqsEmulator.message("body", { group: "tenant" })])
      const [message] = yield* queue.receive(now)
      assert.strictEqual(message?.group, "tenant")
      assert.isUndefined(message?.sequence)
      assert.isFalse(queue.limits.ordered)
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { orders: {} } })))
  )

  it.effect("asks for whole seconds, never more than SQS takes, and names its attempt on FIFO queues only", () =>
    Effect.gen(function* () {
      const asked: Array<SqsClient.ReceiveMessageRequest> = []
      const spy = withClient(() => ({
        receiveMessage: (request) => {
          asked.push(request)
          return Effect.succeed([])
        }
      }))
      const receive = (name: string, options: SqsLeaseQueue.Options, wait: Duration.DurationInput) =>
        SqsLeaseQueue.make(name, options).pipe(
          Effect.flatMap((queue) => queue.receive({ max: 3, wait: Duration.decode(wait), attemptId: "again" })),
          Effect.provide(spy)
        )
      yield* receive("orders", {}, "300 millis")
      yield* receive("orders.fifo", { visibilityTimeout: "2500 millis" }, "1 minute")
      assert.deepStrictEqual(
        asked.map(({ MaxNumberOfMessages, ReceiveRequestAttemptId, VisibilityTimeout, WaitTimeSeconds }) => [
          MaxNumberOfMessages,
          WaitTimeSeconds,
          VisibilityTimeout,
          ReceiveRequestAttemptId
        ]),
        [
          [3, 1, 30, undefined],
          [3, 20, 3, "again"]
        ]
      )
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { orders: {}, "orders.fifo": {} } })))
  )

  it.effect("what a receive of a FIFO queue brought is told from what another did", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const received = (name: string) =>
        Effect.gen(function* () {
          yield* sqs.send(
            name,
            ["a", "b", "c"].map((body) => SqsEmulator.message(body, { group: body }))
          )
          const queue = yield* SqsLeaseQueue.make(name)
          const some = (max: number) => queue.receive({ max, wait: Duration.zero, attemptId: `${max}` })
          return [...(yield* some(2)), ...(yield* some(1))].map(({ receive }) => receive)
        })
      const [first, second, third] = yield* received("orders.fifo")
      assert.isNumber(first)
      assert.strictEqual(second, first)
      assert.notStrictEqual(third, first)
      assert.deepStrictEqual(yield* received("orders"), [undefined, undefined, undefined])
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { orders: {}, "orders.fifo": {} } })))
  )

  it.effect("its lease runs as long as it says, whatever the queue's own was changed to meanwhile", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const queue = yield* SqsLeaseQueue.make("orders")
      yield* sqs.client.setQueueAttributes({
        QueueUrl: sqs.queueUrl("orders"),
        Attributes: { VisibilityTimeout: "5" }
      })
      yield* sqs.send("orders", ["a"])
      yield* queue.receive(now)
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual((yield* sqs.snapshot("orders")).inFlight, 1)
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* sqs.snapshot("orders")).inFlight, 0)
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { orders: {} } })))
  )
})

describe("SqsLeaseQueue: results", () => {
  it.effect("the same message twice in one call is two entries, by position", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const queue = yield* SqsLeaseQueue.make("orders")
      yield* sqs.send("orders", ["a"])
      const [message] = yield* queue.receive(now)
      const lease = message?.lease ?? { messageId: "", handle: "" }
      const duration = Duration.seconds(30)
      assert.deepStrictEqual(
        reasons(
          yield* queue.setLease([
            { lease, duration },
            { lease, duration }
          ])
        ),
        ["done", "done"]
      )
      assert.deepStrictEqual(reasons(yield* queue.ack([lease, lease])), ["done", "done"])
      assert.deepStrictEqual(yield* queue.ack([]), [])
      assert.deepStrictEqual(yield* queue.setLease([]), [])
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { orders: {} } })))
  )

  it.effect("a lease that is over is LeaseLost: deleted (fact 11), garbage (12), FIFO and expired (15)", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const orders = yield* SqsLeaseQueue.make("orders")
      const fifo = yield* SqsLeaseQueue.make("orders.fifo")
      yield* sqs.send("orders", ["a", "b"])
      yield* sqs.send("orders.fifo", [SqsEmulator.message("a", { group: "g" })])
      const [a, b] = yield* orders.receive(now)
      const [head] = yield* fifo.receive(now)
      const lease = (message: LeaseQueue.Message | undefined) => message?.lease ?? { messageId: "", handle: "" }
      yield* orders.ack([lease(a)])
      const duration = Duration.minutes(1)
      const garbage = { messageId: "x", handle: "garbage" }
      assert.deepStrictEqual(
        reasons(yield* orders.setLease([lease(a), lease(b), garbage].map((lease) => ({ lease, duration })))),
        ["LeaseLost", "done", "LeaseLost"]
      )
      assert.deepStrictEqual(reasons(yield* orders.ack([garbage, lease(b)])), ["LeaseLost", "done"])
      yield* TestClock.adjust("31 seconds")
      assert.deepStrictEqual(reasons(yield* fifo.ack([lease(head)])), ["LeaseLost"])
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { orders: {}, "orders.fifo": {} } })))
  )

  it.effect("beyond 12 hours in all is Rejected, not lost (fact 16); beyond 12 hours at once is not even sent", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const asked: Array<ReadonlyArray<number>> = []
      const spy = withClient((client) => ({
        changeMessageVisibilityBatch: (request) => {
          asked.push(request.Entries.map((entry) => entry.VisibilityTimeout))
          return client.changeMessageVisibilityBatch(request)
        }
      }))
      const queue = yield* Effect.provide(SqsLeaseQueue.make("orders"), spy)
      yield* sqs.send("orders", ["a"])
      const [message] = yield* queue.receive(now)
      const lease = message?.lease ?? { messageId: "", handle: "" }
      yield* TestClock.adjust("10 seconds")
      const results = yield* queue.setLease([
        { lease, duration: Duration.days(1) },
        { lease, duration: Duration.hours(12) },
        { lease, duration: Duration.millis(1) }
      ])
      assert.deepStrictEqual(reasons(results), ["Rejected", "Rejected", "done"])
      assert.deepStrictEqual(reasons(yield* queue.setLease([{ lease, duration: Duration.infinity }])), ["Rejected"])
      assert.deepStrictEqual(asked, [[43_200, 1]], "times are rounded up to whole seconds")
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { orders: {} } })))
  )

  it.effect("every entry has its own result, in order, however SQS mixes and omits them", () =>
    Effect.gen(function* () {
      const kinds = FastCheck.constantFrom("done", "LeaseLost", "Transient", "Rejected", "omitted")
      const entry = (Id: string, kind: string): SqsClient.BatchFailure =>
        kind === "LeaseLost"
          ? { Id, Code: "AWS.SimpleQueueService.MessageNotInflight", SenderFault: true }
          : kind === "Transient"
            ? { Id, Code: "InternalError", SenderFault: false }
            : { Id, Code: "AWS.SimpleQueueService.AccessDenied", SenderFault: true }
      yield* Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(
            FastCheck.array(kinds, { minLength: 1, maxLength: 10 }),
            FastCheck.boolean(),
            (wanted, reversed) => {
              const all = wanted.map((kind, index) => ({ kind, Id: String(index) }))
              if (reversed) all.reverse()
              const answer: SqsClient.BatchResult<unknown> = {
                Successful: all.filter(({ kind }) => kind === "done").map(({ Id }) => ({ Id })),
                Failed: all
                  .filter(({ kind }) => kind !== "done" && kind !== "omitted")
                  .map(({ Id, kind }) => entry(Id, kind))
              }
              return Effect.gen(function* () {
                const queue = yield* SqsLeaseQueue.make("orders")
                const results = yield* queue.ack(wanted.map(() => ({ messageId: "same", handle: "same" })))
                assert.deepStrictEqual(
                  reasons(results),
                  wanted.map((kind) => (kind === "omitted" ? "Transient" : kind))
                )
              }).pipe(
                Effect.provide(
                  Layer.provide(
                    withClient(() => ({ deleteMessageBatch: () => Effect.succeed(answer) })),
                    SqsEmulator.layer({ queues: { orders: {} } })
                  )
                ),
                Effect.runPromise
              )
            }
          ),
          { numRuns: 50 }
        )
      )
    })
  )

  it.effect("a throttled entry may be tried again though SQS blames the sender", () =>
    Effect.gen(function* () {
      const queue = yield* SqsLeaseQueue.make("orders")
      assert.deepStrictEqual(reasons(yield* queue.ack([{ messageId: "m", handle: "h" }])), ["Transient"])
    }).pipe(
      Effect.provide(
        Layer.provide(
          withClient(() => ({
            deleteMessageBatch: () =>
              Effect.succeed({ Successful: [], Failed: [{ Id: "0", Code: "RequestThrottled", SenderFault: true }] })
          })),
          SqsEmulator.layer({ queues: { orders: {} } })
        )
      )
    )
  )
})

describe("SqsLeaseQueue.deadLetter", () => {
  const queues = {
    orders: { deadLetter: { queue: "dead", maxReceiveCount: 100 } },
    "orders.fifo": { deadLetter: { queue: "dead.fifo", maxReceiveCount: 100 } }
  }
  const receiveAll = (queue: LeaseQueue.LeaseQueue<SqsError.SqsError>, reason = "bad") =>
    Effect.map(queue.receive(now), (messages) =>
      messages.map((message) => ({ message, reason, error: "OutOfStock", attempt: 3 }))
    )
  const source = (name: string) => `arn:aws:sqs:us-east-1:000000000000:${name}`
  const dead = (name: string) => Effect.flatMap(SqsEmulator.SqsEmulator, (sqs) => sqs.messages(name))

  it.effect("moves the message whole: body, attributes, group and trace, with the reason beside them", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const queue = yield* SqsLeaseQueue.make("orders.fifo")
      const attributes = {
        png: { DataType: "Binary.image/png", BinaryValue: Uint8Array.of(0, 255) },
        whole: { DataType: "Number.int", StringValue: "7" }
      }
      const trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
      yield* sqs.client.sendMessage({
        QueueUrl: sqs.queueUrl("orders.fifo"),
        MessageBody: "body",
        MessageGroupId: "g",
        MessageDeduplicationId: "d",
        MessageAttributes: attributes,
        MessageSystemAttributes: { AWSTraceHeader: { DataType: "String", StringValue: trace } }
      })
      const entries = yield* receiveAll(queue, "no such item\u0000")
      assert.deepStrictEqual(reasons(yield* queue.deadLetter?.(entries) ?? Effect.succeed([])), ["done"])
      const [letter] = yield* dead("dead.fifo")
      assert.strictEqual(letter?.body, "body")
      assert.strictEqual(letter?.group, "g")
      assert.strictEqual(letter?.deduplicationId, entries[0]?.message.id)
      assert.deepStrictEqual(letter?.attributes, {
        ...attributes,
        [SqsLeaseQueue.reasonAttribute]: { DataType: "String", StringValue: "no such item?" },
        [SqsLeaseQueue.errorAttribute]: { DataType: "String", StringValue: "OutOfStock" },
        [SqsLeaseQueue.attemptAttribute]: { DataType: "Number", StringValue: "3" },
        [SqsLeaseQueue.sourceAttribute]: { DataType: "String", StringValue: source("orders.fifo") }
      })
      const [received] = yield* sqs.client.receiveMessage({
        QueueUrl: sqs.queueUrl("dead.fifo"),
        MessageSystemAttributeNames: ["All"]
      })
      assert.strictEqual(received?.Attributes?.["AWSTraceHeader"], trace)
      assert.strictEqual((yield* sqs.snapshot("orders.fifo")).deleted, 1)
    }).pipe(Effect.provide(SqsEmulator.layer({ queues })))
  )

  it.effect("our names are never taken from a sender, whatever room there is", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const queue = yield* SqsLeaseQueue.make("orders")
      const forged = {
        [SqsLeaseQueue.sourceAttribute]: source("elsewhere"),
        [SqsLeaseQueue.reasonAttribute]: "made up",
        [SqsLeaseQueue.errorAttribute]: "MadeUp",
        [SqsLeaseQueue.attemptAttribute]: "99"
      }
      for (const own of [0, 6]) {
        const fill = Object.fromEntries(Array.from({ length: own }, (_, index) => [`a${index}`, "x"]))
        yield* sqs.send("orders", [SqsEmulator.message(`${own}`, { attributes: { ...fill, ...forged } })])
        yield* queue.deadLetter?.(yield* receiveAll(queue)) ?? Effect.void
      }
      for (const { attributes } of yield* dead("dead")) {
        assert.strictEqual(attributes[SqsLeaseQueue.sourceAttribute]?.StringValue, source("orders"))
        assert.strictEqual(attributes[SqsLeaseQueue.reasonAttribute]?.StringValue, "bad")
        assert.notStrictEqual(attributes[SqsLeaseQueue.errorAttribute]?.StringValue, "MadeUp")
        assert.notStrictEqual(attributes[SqsLeaseQueue.attemptAttribute]?.StringValue, "99")
      }
    }).pipe(Effect.provide(SqsEmulator.layer({ queues })))
  )

  it.effect("a source that a sender has made up does not stay where ours does not fit beside nine others", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const queue = yield* SqsLeaseQueue.make("orders")
      const nine = Object.fromEntries(Array.from({ length: 9 }, (_, index) => [`a${index}`, "x"]))
      const attributes = { ...nine, [SqsLeaseQueue.sourceAttribute]: source("elsewhere") }
      yield* sqs.send("orders", [SqsEmulator.message("full", { attributes })])
      yield* queue.deadLetter?.(yield* receiveAll(queue)) ?? Effect.void
      const [letter] = yield* dead("dead")
      assert.sameMembers(Object.keys(letter?.attributes ?? {}), [...Object.keys(nine), SqsLeaseQueue.reasonAttribute])
    }).pipe(Effect.provide(SqsEmulator.layer({ queues })))
  )

  it.effect("a message that has ten attributes, or is as large as SQS takes, goes without the reason", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const queue = yield* SqsLeaseQueue.make("orders")
      const ten = Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`a${index}`, "x"]))
      yield* sqs.send("orders", [SqsEmulator.message("full", { attributes: ten }), "é".repeat(524_288)])
      const entries = [...(yield* receiveAll(queue)), ...(yield* receiveAll(queue))]
      assert.deepStrictEqual(reasons(yield* queue.deadLetter?.(entries) ?? Effect.succeed([])), ["done", "done"])
      const letters = yield* dead("dead")
      assert.deepStrictEqual(
        letters.map(({ attributes }) => Object.keys(attributes).length).sort((a, b) => a - b),
        [0, 10]
      )
    }).pipe(Effect.provide(SqsEmulator.layer({ queues })))
  )

  it.effect(
    "with fewer than three places left what does not fit is folded into the reason, and no attribute is lost",
    () =>
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        const queue = yield* SqsLeaseQueue.make("orders")
        for (const own of [6, 7, 9]) {
          const attributes = Object.fromEntries(Array.from({ length: own }, (_, index) => [`a${index}`, "x"]))
          yield* sqs.send("orders", [SqsEmulator.message(`${own}`, { attributes })])
          yield* queue.deadLetter?.(yield* receiveAll(queue)) ?? Effect.void
        }
        const letters = (yield* dead("dead")).map(({ attributes, body }) => [
          body,
          Object.keys(attributes).length,
          attributes[SqsLeaseQueue.reasonAttribute]?.StringValue
        ])
        const folded = `bad (from ${source("orders")}, attempt 3)`
        assert.deepStrictEqual(letters, [
          ["6", 10, "bad"],
          ["7", 10, "bad"],
          ["9", 10, folded]
        ])
      }).pipe(Effect.provide(SqsEmulator.layer({ queues })))
  )

  it.effect("near 1 MiB the reason is cut to what is left, between characters, and the message still fits", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const queue = yield* SqsLeaseQueue.make("orders")
      const named = SqsLeaseQueue.reasonAttribute.length + "String".length
      for (const room of [named + 31, named + 32, named + 41]) {
        yield* sqs.send("orders", ["x".repeat(1_048_576 - room)])
        const results = yield* queue.deadLetter?.(yield* receiveAll(queue, "é".repeat(50))) ?? Effect.succeed([])
        assert.deepStrictEqual(reasons(results), ["done"])
      }
      assert.deepStrictEqual(
        (yield* dead("dead")).map(({ attributes }) => attributes[SqsLeaseQueue.reasonAttribute]?.StringValue),
        [undefined, "é".repeat(16), "é".repeat(20)]
      )
    }).pipe(Effect.provide(SqsEmulator.layer({ queues })))
  )

  it.effect("what a policy dead-letters says which error it was, in which attempt, and where it came from", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      class OutOfStock extends Data.TaggedError("OutOfStock")<{ readonly message: string }> {}
      yield* sqs.send("orders", ["body"])
      yield* SqsConsumer.stream("orders").pipe(
        Pipeline.process(() => Effect.fail(new OutOfStock({ message: "no widgets" })), {
          retry: RetryPolicy.inPlace(Schedule.recurs(2)).pipe(RetryPolicy.orElse(RetryPolicy.deadLetter))
        }),
        Stream.runDrain,
        Effect.forkScoped
      )
      yield* sqs.settled("orders", 1)
      const [letter] = yield* dead("dead")
      const value = (name: string) => letter?.attributes[name]?.StringValue
      assert.strictEqual(value(SqsLeaseQueue.reasonAttribute), "OutOfStock: no widgets")
      assert.strictEqual(value(SqsLeaseQueue.errorAttribute), "OutOfStock")
      assert.strictEqual(value(SqsLeaseQueue.attemptAttribute), "3")
      assert.strictEqual(value(SqsLeaseQueue.sourceAttribute), source("orders"))
    }).pipe(Effect.scoped, Effect.provide(SqsEmulator.layer({ queues })))
  )

  it.effect("ten messages of 300 KB are sent in calls that SQS takes, at most 1 MiB each (fact 21)", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const queue = yield* SqsLeaseQueue.make("orders")
      yield* sqs.send(
        "orders",
        Array.from({ length: 10 }, () => "x".repeat(300_000))
      )
      const entries: Array<LeaseQueue.DeadLetterEntry> = []
      while (entries.length < 10) entries.push(...(yield* receiveAll(queue)))
      const results = yield* queue.deadLetter?.(entries) ?? Effect.succeed([])
      assert.deepStrictEqual(
        reasons(results),
        Array.from({ length: 10 }, () => "done")
      )
      assert.strictEqual((yield* sqs.calls).SendMessageBatch, 4)
      assert.strictEqual((yield* dead("dead")).length, 10)
    }).pipe(Effect.provide(SqsEmulator.layer({ queues })))
  )

  it.effect("what could not be stored is not deleted; the others are", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const spy = withClient((client) => ({
        sendMessageBatch: (request) =>
          Effect.map(
            client.sendMessageBatch({ ...request, Entries: request.Entries.filter(({ Id }) => Id !== "1") }),
            (result) => ({ ...result, Failed: [{ Id: "1", Code: "InternalError", SenderFault: false }] })
          )
      }))
      const queue = yield* Effect.provide(SqsLeaseQueue.make("orders"), spy)
      yield* sqs.send("orders", ["a", "b", "c"])
      const entries = yield* receiveAll(queue)
      assert.deepStrictEqual(reasons(yield* queue.deadLetter?.(entries) ?? Effect.succeed([])), [
        "done",
        "Transient",
        "done"
      ])
      assert.deepStrictEqual(
        (yield* sqs.messages("orders")).map(({ id }) => id),
        [entries[1]?.message.id]
      )
    }).pipe(Effect.provide(SqsEmulator.layer({ queues })))
  )

  it.effect("a delete that failed is tried again without sending the message twice", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      let failures = 2
      const spy = withClient((client) => ({
        deleteMessageBatch: (request) => {
          failures--
          if (failures === 1) {
            return new SqsError.TransportError({ operation: "DeleteMessageBatch", message: "lost" })
          }
          return failures === 0
            ? Effect.succeed({ Successful: [], Failed: [{ Id: "0", Code: "InternalError", SenderFault: false }] })
            : client.deleteMessageBatch(request)
        }
      }))
      const queue = yield* Effect.provide(SqsLeaseQueue.make("orders"), spy)
      const deadLetter = queue.deadLetter ?? (() => Effect.succeed([]))
      yield* sqs.send("orders", ["a"])
      const entries = yield* receiveAll(queue)
      assert.strictEqual((yield* Effect.flip(deadLetter(entries)))._tag, "TransportError")
      assert.deepStrictEqual(reasons(yield* deadLetter(entries)), ["Transient"])
      assert.deepStrictEqual(reasons(yield* deadLetter(entries)), ["done"])
      assert.strictEqual((yield* dead("dead")).length, 1)
      assert.strictEqual((yield* sqs.snapshot("orders")).deleted, 1)
    }).pipe(Effect.provide(SqsEmulator.layer({ queues })))
  )
})
