import { gzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Pipeline, RetryPolicy } from "@millrace/core"
import { SqsClient, SqsConsumer, SqsDeadLetter, type SqsEncoding, SqsError } from "@millrace/sqs"
import { Fault, SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import { Chunk, Data, Effect, Either, Fiber, Layer, Redacted, Schedule, Stream, TestClock } from "effect"

class NoSuchCustomer extends Data.TaggedError("NoSuchCustomer")<{ readonly message: string }> {}

const arn = (name: string) => `arn:aws:sqs:us-east-1:000000000000:${name}`

/** Two sources of one dead-letter queue, the same with groups, and a queue beside them. */
const queues = {
  orders: { deadLetter: { queue: "dead", maxReceiveCount: 1 } },
  bills: { deadLetter: { queue: "dead", maxReceiveCount: 1 } },
  "orders.fifo": { deadLetter: { queue: "dead.fifo", maxReceiveCount: 1 } },
  other: {},
  "other.fifo": {}
}

const emulated = <A, E>(
  run: (sqs: SqsEmulator.Service) => Effect.Effect<A, E, SqsEmulator.SqsEmulator | SqsClient.SqsClient>
) => Effect.flatMap(SqsEmulator.SqsEmulator, run).pipe(Effect.provide(SqsEmulator.layer({ queues })))

/** As SQS dead-letters: received too often. */
const deadLetter = (sqs: SqsEmulator.Service, queue: string, ...sent: ReadonlyArray<unknown>) =>
  Effect.gen(function* () {
    yield* sqs.send(queue, sent)
    const receive = sqs.client.receiveMessage({
      QueueUrl: sqs.queueUrl(queue),
      MaxNumberOfMessages: 10,
      VisibilityTimeout: 0
    })
    yield* Effect.repeat(receive, { until: (messages) => messages.length === 0 })
  })

/** Runs what waits for time to pass. */
const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* TestClock.adjust("20 seconds")
    return yield* Fiber.join(fiber)
  })

const held = (sqs: SqsEmulator.Service, queue: string) =>
  Effect.map(sqs.messages(queue), (messages) => messages.map(({ body }) => body))

const bodies = (letters: ReadonlyArray<SqsDeadLetter.DeadLetter>) => letters.map(({ body }) => body)

describe("SqsDeadLetter.peek", () => {
  it.effect("shows messages with their source and leaves them visible; each look counts as a receive", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* deadLetter(sqs, "orders", SqsEmulator.message("a", { attributes: { k: "v" } }), "b")
        const letters = yield* SqsDeadLetter.peek("dead")
        assert.deepStrictEqual(bodies(letters), ["a", "b"])
        assert.strictEqual(letters[0]?.source, arn("orders"))
        assert.isUndefined(letters[0]?.reason)
        assert.deepStrictEqual(letters[0]?.attributes, { k: { type: "String", value: "v" } })
        assert.strictEqual(letters[0]?.receiveCount, 2)
        assert.deepInclude(yield* sqs.snapshot("dead"), { visible: 2, inFlight: 0 })
        assert.strictEqual((yield* SqsDeadLetter.peek("dead"))[0]?.receiveCount, 3)
        assert.strictEqual((yield* sqs.calls).ReceiveMessage, 4, "two looks, and two receives of the test")
      })
    )
  )

  it.effect("looks at as many as it was asked for, over several receives, each message once", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* sqs.send(
          "dead",
          Array.from({ length: 30 }, (_, n) => `m${n}`)
        )
        assert.strictEqual(new Set(bodies(yield* SqsDeadLetter.peek("dead", { max: 25 }))).size, 25)
        assert.strictEqual(new Set(bodies(yield* SqsDeadLetter.peek("dead", { max: 1_000 }))).size, 30)
        assert.strictEqual((yield* SqsDeadLetter.peek("dead", { max: 1 })).length, 1)
        assert.deepStrictEqual(yield* inTime(SqsDeadLetter.peek("dead.fifo")), [])
        const error = yield* Effect.flip(SqsDeadLetter.peek("dead", { max: 0 }))
        assert.strictEqual(error.message, "max is 0; write a whole number from 1 to 1000")
      })
    )
  )
})

describe("SqsDeadLetter.stream", () => {
  it.effect("what a consumer dead-lettered comes with its reason; the attributes are the message's own", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* sqs.send("orders", [SqsEmulator.message("a", { attributes: { k: "v" } })])
        yield* SqsConsumer.stream("orders").pipe(
          Pipeline.process(() => Effect.fail(new NoSuchCustomer({ message: "number 7 is not known" })), {
            retry: RetryPolicy.deadLetter
          }),
          Stream.runDrain,
          Effect.fork
        )
        yield* sqs.settled("orders", 1)
        const letters: Array<SqsDeadLetter.DeadLetter> = []
        yield* SqsDeadLetter.stream("dead").pipe(
          Pipeline.process((letter) => Effect.sync(() => letters.push(letter))),
          Stream.runDrain,
          Effect.fork
        )
        yield* sqs.settled("dead", 1)
        assert.strictEqual(letters[0]?.body, "a")
        assert.strictEqual(letters[0]?.reason, "NoSuchCustomer: number 7 is not known")
        assert.strictEqual(letters[0]?.attempt, 1)
        assert.strictEqual(letters[0]?.source, arn("orders"))
        assert.strictEqual(letters[0]?.error, "NoSuchCustomer")
        assert.deepStrictEqual(letters[0]?.attributes, { k: { type: "String", value: "v" } })
      })
    )
  )
})

describe("SqsDeadLetter.sendBack", () => {
  it.effect("each message goes back to its own source, with attributes, group and trace, without the reasons", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        const attributes = { k: "v", "millrace-dead-letter-reason": "why", "millrace-dead-letter-source": "other" }
        yield* deadLetter(sqs, "orders", SqsEmulator.message("of orders", { attributes, group: "g" }))
        yield* deadLetter(sqs, "bills", "of bills")
        // Dead-lettered by a consumer, which says where from.
        const MessageSystemAttributes = { AWSTraceHeader: { DataType: "String", StringValue: "Root=1-2" } }
        yield* sqs.client.sendMessage({
          QueueUrl: sqs.queueUrl("dead"),
          MessageBody: "traced",
          MessageAttributes: {
            "millrace-dead-letter-source": { DataType: "String", StringValue: "bills" }
          },
          MessageSystemAttributes
        })
        const report = yield* inTime(SqsDeadLetter.sendBack("dead"))
        assert.deepStrictEqual(report, { sentBack: 3, kept: 0, failed: [] })
        assert.deepStrictEqual(yield* held(sqs, "dead"), [])
        const [back] = yield* sqs.messages("orders")
        assert.deepInclude(back, { body: "of orders", group: "g" })
        assert.deepStrictEqual(back?.attributes, { k: { DataType: "String", StringValue: "v" } })
        assert.sameMembers([...(yield* held(sqs, "bills"))], ["of bills", "traced"])
        const received = yield* sqs.client.receiveMessage({
          QueueUrl: sqs.queueUrl("bills"),
          MaxNumberOfMessages: 10,
          MessageSystemAttributeNames: ["AWSTraceHeader"]
        })
        const traced = received.find(({ Body }) => Body === "traced")
        assert.deepStrictEqual(traced?.Attributes, { AWSTraceHeader: "Root=1-2" })
      })
    )
  )

  it.effect("a source that a sender has made up is not believed: the letter stays, and says what to do", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        // `other` has no redrive policy that names this queue, and the second queue is not there at all.
        for (const forged of ["other", "arn:aws:sqs:us-east-1:999999999999:elsewhere"]) {
          yield* sqs.client.sendMessage({
            QueueUrl: sqs.queueUrl("dead"),
            MessageBody: forged,
            MessageAttributes: { "millrace-dead-letter-source": { DataType: "String", StringValue: forged } }
          })
        }
        const report = yield* inTime(SqsDeadLetter.sendBack("dead"))
        assert.deepStrictEqual([report.sentBack, report.failed.length], [0, 2])
        assert.deepStrictEqual(yield* sqs.messages("other"), [])
        assert.lengthOf(yield* held(sqs, "dead"), 2)
        // Who names the queue knows it.
        assert.deepInclude(yield* inTime(SqsDeadLetter.sendBack("dead", { to: "other" })), { sentBack: 2 })
      })
    )
  )

  it.effect("no more a second than it is told to", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* deadLetter(sqs, "orders", ...Array.from({ length: 25 }, (_, n) => `${n}`))
        const fiber = yield* Effect.fork(SqsDeadLetter.sendBack("dead", { to: "other", perSecond: 5 }))
        const sent = Effect.map(sqs.messages("other"), (messages) => messages.length)
        yield* TestClock.adjust("2 seconds")
        const early = yield* sent
        assert.isAtLeast(early, 5)
        assert.isAtMost(early, 15)
        yield* TestClock.adjust("30 seconds")
        assert.deepInclude(yield* Fiber.join(fiber), { sentBack: 25 })
        const rate = yield* Effect.flip(SqsDeadLetter.sendBack("dead", { to: "other", perSecond: 501 }))
        assert.include(rate.message, "perSecond is 501; write a whole number from 1 to 500")
      })
    )
  )

  it.effect("a selection, with edited bodies; what is kept is visible again at the end", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* deadLetter(sqs, "orders", ...Array.from({ length: 25 }, (_, n) => `${n}`))
        const report = yield* inTime(
          SqsDeadLetter.sendBack("dead", {
            to: "other",
            filter: ({ body }) => Number(body) % 2 === 0,
            edit: ({ body }) => `edited ${body}`
          })
        )
        assert.deepStrictEqual(report, { sentBack: 13, kept: 12, failed: [] })
        assert.sameMembers(
          [...(yield* held(sqs, "other"))],
          Array.from({ length: 13 }, (_, n) => `edited ${2 * n}`)
        )
        assert.deepInclude(yield* sqs.snapshot("dead"), { visible: 12, inFlight: 0 })
      })
    )
  )

  it.effect("compressed bodies are seen as text, go back as they were, and are compressed again where edited", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        const attributes = { "content-encoding": "gzip", k: "v" }
        const gzip = (text: string) => gzipSync(text).toString("base64")
        const texts = ["kept", "sent", "long", "short"].map((name) => `${name} ${"x".repeat(3000)}`)
        const [kept = "", sent = "", long = "", short = ""] = texts
        yield* deadLetter(
          sqs,
          "orders",
          ...[kept, sent, long, short].map((text) => SqsEmulator.message(gzip(text), { attributes })),
          SqsEmulator.message("not gzip", { attributes }),
          SqsEmulator.message('["a.Pointer",{"s3BucketName":"b","s3Key":"k"}]', {
            attributes: { ExtendedPayloadSize: 3000, k: "v" }
          })
        )
        const seen = bodies(yield* SqsDeadLetter.peek("dead"))
        assert.sameMembers([...seen].slice(0, 5), [kept, sent, long, short, "not gzip"])
        const report = yield* inTime(
          SqsDeadLetter.sendBack("dead", {
            to: "other",
            filter: ({ body }) => body !== kept,
            edit: ({ body }) =>
              body === long ? `edited ${body}` : body === short ? "edited" : body.startsWith("[") ? "in place" : body
          })
        )
        assert.deepStrictEqual(report, { sentBack: 5, kept: 1, failed: [] })
        const names = (attributes: object) => Object.keys(attributes).sort().join()
        assert.sameMembers(
          (yield* sqs.messages("other")).map(({ attributes, body }) => `${body} | ${names(attributes)}`),
          [
            `${gzip(sent)} | content-encoding,k`,
            `${gzip(`edited ${long}`)} | content-encoding,k`,
            "edited | k",
            "not gzip | content-encoding,k",
            "in place | k"
          ]
        )
        assert.deepStrictEqual(yield* held(sqs, "dead"), [gzip(kept)])
      })
    )
  )

  it.effect("an encoded body is opened when it is read, and each time: a list of letters holds none open", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        let opened = 0
        const attributes = { "content-encoding": "counted" }
        const encoding: SqsEncoding.Encoding = {
          attributes,
          encode: () => undefined,
          decode: (body) => {
            opened++
            if (body === "bad") throw new Error("a bug")
            return Either.right(`opened ${body}`)
          }
        }
        yield* deadLetter(sqs, "orders", ...["a", "bad"].map((body) => SqsEmulator.message(body, { attributes })))
        const letters = yield* SqsDeadLetter.peek("dead", { encodings: [encoding] })
        assert.strictEqual(opened, 0)
        // One whose encoding throws is as it was received.
        assert.sameMembers(bodies(letters), ["opened a", "bad"])
        assert.strictEqual(opened, 2)
        bodies(letters)
        assert.strictEqual(opened, 4)
      })
    )
  )

  it.effect(
    "a function of the user's that throws concerns its letter alone, and no later one of its group overtakes",
    () =>
      emulated((sqs) =>
        Effect.gen(function* () {
          yield* deadLetter(sqs, "orders", "a", "bad filter", "bad edit", "b")
          const throws = (body: string, at: string) => {
            if (body === at) throw new Error(`no ${at}`)
            return body
          }
          const { failed, sentBack } = yield* inTime(
            SqsDeadLetter.sendBack("dead", {
              filter: ({ body }) => throws(body, "bad filter") !== "",
              edit: ({ body }) => throws(body, "bad edit")
            })
          )
          assert.strictEqual(sentBack, 2)
          assert.sameMembers(
            failed.map(({ letter, reason }) => `${letter.body}: ${reason}`),
            ["bad filter: `filter` threw: no bad filter", "bad edit: `edit`, or its encoding, threw: no bad edit"]
          )
          assert.sameMembers(yield* held(sqs, "dead"), ["bad filter", "bad edit"])
        })
      )
  )

  it.effect("no more than `max`", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* deadLetter(sqs, "orders", ...Array.from({ length: 25 }, (_, n) => `${n}`))
        const report = yield* inTime(SqsDeadLetter.sendBack("dead", { max: 12 }))
        assert.deepInclude(report, { sentBack: 12, failed: [] })
        assert.deepInclude(yield* sqs.snapshot("dead"), { visible: 13, inFlight: 0 })
        assert.strictEqual((yield* Effect.flip(SqsDeadLetter.sendBack("dead", { max: 0 })))._tag, "InvalidOptions")
      })
    )
  )

  it.effect("what cannot be sent stays, says why, and holds up nothing else", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* sqs.send("dead", ["by hand"])
        yield* deadLetter(sqs, "orders", "too long", "empty", "good")
        const { failed, sentBack } = yield* inTime(
          SqsDeadLetter.sendBack("dead", {
            edit: ({ body }) => (body === "too long" ? "x".repeat(1_048_577) : body === "empty" ? "" : body)
          })
        )
        assert.strictEqual(sentBack, 1)
        assert.deepStrictEqual(
          failed.map(({ letter, reason, sent }) => [letter.body, /source|bytes|empty/.exec(reason)?.[0], sent]),
          [
            ["by hand", "source", false],
            ["too long", "bytes", false],
            ["empty", "empty", false]
          ]
        )
        assert.deepInclude(yield* sqs.snapshot("dead"), { visible: 3, inFlight: 0, deleted: 1 })
      })
    )
  )

  it.effect("entries that SQS could not take or delete just now are tried again alone", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* deadLetter(sqs, "orders", "a", "b", "c")
        yield* sqs.faults.script("SendMessageBatch", [Fault.throttle, Fault.failEntries([1])])
        yield* sqs.faults.script("DeleteMessageBatch", [Fault.failEntries([0, 2]), Fault.fail()])
        assert.deepStrictEqual(yield* inTime(SqsDeadLetter.sendBack("dead")), { sentBack: 3, kept: 0, failed: [] })
        assert.deepStrictEqual(yield* held(sqs, "orders"), ["a", "c", "b"])
        assert.deepInclude(yield* sqs.snapshot("dead"), { deleted: 3 })
      })
    )
  )

  it.effect("what was sent and could not be deleted is reported as being in both queues", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* deadLetter(sqs, "orders", "a", "b")
        yield* sqs.faults.script("DeleteMessageBatch", [Fault.failEntries([1]), Fault.failEntries()])
        const report = yield* inTime(SqsDeadLetter.sendBack("dead", { retry: Schedule.recurs(1) }))
        assert.strictEqual(report.sentBack, 1)
        assert.deepInclude(report.failed[0], { sent: true })
        assert.match(report.failed[0]?.reason ?? "", /it was sent, and could not be deleted: InternalError/)
        assert.deepStrictEqual(yield* held(sqs, "orders"), ["a", "b"])
        assert.deepStrictEqual(yield* held(sqs, "dead"), ["b"])
      })
    )
  )

  it.effect("a call that fails for good stops the run, says what was done, and gives back what it held", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* deadLetter(sqs, "orders", ...Array.from({ length: 15 }, (_, n) => `${n}`))
        const denied = Fault.fail((operation) => new SqsError.AccessDenied({ operation, message: "denied." }))
        yield* sqs.faults.script("SendMessageBatch", [Fault.none, denied])
        const error = yield* inTime(Effect.flip(SqsDeadLetter.sendBack("dead")))
        if (error._tag !== "SendBackStopped") return assert.fail(error.message)
        assert.strictEqual(error.report.sentBack, 10)
        assert.match(error.message, /^denied\. Until then 10 messages were sent back/)
        assert.deepInclude(yield* sqs.snapshot("dead"), { visible: 5, inFlight: 0 })
      })
    )
  )

  // A consumer that fails still dead-letters at once what comes back.
  it.effect("what is dead-lettered anew is kept: no endless loop", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* sqs.send("dead", ["a", "b"])
        yield* SqsConsumer.stream("orders").pipe(
          Pipeline.process(() => Effect.fail("still broken"), { retry: RetryPolicy.deadLetter }),
          Stream.runDrain,
          Effect.fork
        )
        yield* TestClock.adjust("1 second")
        const report = yield* inTime(SqsDeadLetter.sendBack("dead", { to: "orders" }))
        assert.strictEqual(report.sentBack, 2)
        assert.isAtMost(report.kept, 2)
        assert.deepInclude(yield* sqs.snapshot("orders"), { sent: 2, deleted: 2 })
      })
    )
  )

  // Where this machine's clock is ahead of SQS's, no time tells what was sent by the run itself.
  it.effect("what SQS dead-letters anew is known for what the run has sent, whatever the clocks say", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* deadLetter(sqs, "orders", "a", "b")
        const earlier = (message: SqsClient.ReceivedMessage): SqsClient.ReceivedMessage => ({
          ...message,
          Attributes: {
            ...message.Attributes,
            SentTimestamp: `${Number(message.Attributes?.["SentTimestamp"]) - 60_000}`
          }
        })
        const behind: SqsClient.Service = {
          ...sqs.client,
          receiveMessage: (input) => Effect.map(sqs.client.receiveMessage(input), (messages) => messages.map(earlier))
        }
        const failing = sqs.client.receiveMessage({ QueueUrl: sqs.queueUrl("orders"), VisibilityTimeout: 0 })
        yield* Effect.fork(Effect.repeat(failing, Schedule.spaced("100 millis")))
        const report = yield* inTime(
          Effect.provideService(SqsDeadLetter.sendBack("dead", { max: 9 }), SqsClient.SqsClient, behind)
        )
        assert.deepStrictEqual(report, { sentBack: 2, kept: 2, failed: [] })
      })
    )
  )

  it.effect("FIFO: what is kept is given back from the tails of its groups to their heads", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        const sent = ["g", "h", "i"].flatMap((group) =>
          Array.from({ length: 5 }, (_, n) => SqsEmulator.message(`${group}${n}`, { group }))
        )
        yield* sqs.send("dead.fifo", sent)
        const bodyOf = new Map<string, string>()
        const received: Array<string> = []
        const released: Array<string> = []
        const seen: SqsClient.Service = {
          ...sqs.client,
          receiveMessage: (input) =>
            Effect.tap(sqs.client.receiveMessage(input), (messages) => {
              for (const { Body, ReceiptHandle } of messages) {
                bodyOf.set(ReceiptHandle, Body)
                received.push(Body)
              }
            }),
          changeMessageVisibilityBatch: (input) => {
            for (const { ReceiptHandle } of input.Entries) released.push(bodyOf.get(ReceiptHandle) ?? "unknown")
            return sqs.client.changeMessageVisibilityBatch(input)
          }
        }
        const report = yield* inTime(
          Effect.provideService(
            SqsDeadLetter.sendBack("dead.fifo", { to: "other.fifo", filter: () => false }),
            SqsClient.SqsClient,
            seen
          )
        )
        assert.deepStrictEqual(report, { sentBack: 0, kept: 15, failed: [] })
        assert.deepStrictEqual(released, received.reverse())
      })
    )
  )

  it.effect("FIFO: groups go back in order, and the rest of a group does not overtake one that cannot", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        const message = (group: string, body: string) => SqsEmulator.message(body, { group })
        yield* sqs.send("dead.fifo", [
          ...Array.from({ length: 12 }, (_, n) => message("g", `g${n}`)),
          message("h", "h0"),
          message("h", "h1"),
          message("h", "h2")
        ])
        const report = yield* inTime(
          SqsDeadLetter.sendBack("dead.fifo", {
            to: "other.fifo",
            edit: ({ body }) => (body === "h1" ? "" : body)
          })
        )
        assert.strictEqual(report.sentBack, 13)
        assert.deepStrictEqual(
          report.failed.map(({ letter: { body } }) => body),
          ["h1", "h2"]
        )
        const back = yield* sqs.messages("other.fifo")
        assert.deepStrictEqual(
          back.filter(({ group }) => group === "g").map(({ body }) => body),
          Array.from({ length: 12 }, (_, n) => `g${n}`)
        )
        assert.deepStrictEqual(yield* held(sqs, "dead.fifo"), ["h1", "h2"])
      })
    )
  )

  it.effect("FIFO: a run after one that died between send and delete makes no duplicates within five minutes", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* sqs.send("dead.fifo", [
          SqsEmulator.message("a", { group: "g" }),
          SqsEmulator.message("b", { group: "g" })
        ])
        const sendBack = SqsDeadLetter.sendBack("dead.fifo", { to: "other.fifo" })
        yield* sqs.faults.script("DeleteMessageBatch", [
          Fault.fail((operation) => new SqsError.AccessDenied({ operation, message: "died" }))
        ])
        assert.strictEqual((yield* inTime(Effect.flip(sendBack)))._tag, "SendBackStopped")
        assert.deepInclude(yield* sqs.snapshot("dead.fifo"), { deleted: 0 })
        yield* TestClock.adjust("2 minutes")
        assert.deepInclude(yield* inTime(sendBack), { sentBack: 2 })
        assert.deepStrictEqual(yield* held(sqs, "other.fifo"), ["a", "b"])
        assert.deepStrictEqual(yield* held(sqs, "dead.fifo"), [])
      })
    )
  )

  it.effect("an interruption waits until what was sent is deleted, and releases the rest", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* deadLetter(sqs, "orders", ...Array.from({ length: 15 }, (_, n) => `${n}`))
        yield* sqs.faults.script("DeleteMessageBatch", [Fault.delay("3 seconds")])
        const fiber = yield* Effect.fork(SqsDeadLetter.sendBack("dead", { to: "other" }))
        yield* TestClock.adjust("1 second")
        yield* inTime(Fiber.interrupt(fiber))
        assert.deepInclude(yield* sqs.snapshot("other"), { visible: 10 })
        assert.deepInclude(yield* sqs.snapshot("dead"), { visible: 5, inFlight: 0, deleted: 10 })
      })
    )
  )

  it.effect("the dead-letter queue itself is no destination", () =>
    emulated(() =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(SqsDeadLetter.sendBack("dead", { to: arn("dead") }))
        assert.strictEqual(error._tag, "InvalidOptions")
        const moved = yield* Effect.flip(Stream.runDrain(SqsDeadLetter.moveAll("dead", { to: arn("dead") })))
        assert.strictEqual(moved._tag, "InvalidOptions")
      })
    )
  )
})

describe("SqsDeadLetter.moveAll", () => {
  const letters = (sqs: SqsEmulator.Service) => deadLetter(sqs, "orders", "a", "b", "c", "d")

  it.effect("tells how far the task is until it has ended", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* letters(sqs)
        const progress = yield* inTime(
          Stream.runCollect(SqsDeadLetter.moveAll("dead", { perSecond: 1, poll: Schedule.spaced("700 millis") }))
        )
        assert.deepStrictEqual(
          Chunk.toReadonlyArray(progress).map(({ moved, status, toMove }) => [status, moved, toMove]),
          [
            ["RUNNING", 1, 4],
            ["RUNNING", 1, 4],
            ["RUNNING", 2, 4],
            ["RUNNING", 3, 4],
            ["RUNNING", 3, 4],
            ["COMPLETED", 4, 4]
          ]
        )
        assert.deepStrictEqual(yield* held(sqs, "orders"), ["a", "b", "c", "d"])
        assert.isUndefined((yield* sqs.calls).CancelMessageMoveTask)
      })
    )
  )

  it.effect("a task that ends at once, again and again, is told from those before it", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        for (const to of ["other", "bills"]) {
          yield* sqs.send("dead", [to])
          const progress = yield* Stream.runCollect(SqsDeadLetter.moveAll("dead", { to }))
          assert.deepStrictEqual(Chunk.toReadonlyArray(progress), [{ status: "COMPLETED", moved: 1, toMove: 1 }])
          assert.deepStrictEqual(yield* held(sqs, to), [to])
        }
      })
    )
  )

  it.effect("interruption cancels the task, and so does a stream that closes early", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* letters(sqs)
        const fiber = yield* Effect.fork(Stream.runDrain(SqsDeadLetter.moveAll("dead", { perSecond: 1 })))
        yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(fiber)
        yield* TestClock.adjust("10 seconds")
        assert.deepInclude(yield* sqs.snapshot("dead"), { moved: 2, visible: 2 })
        yield* Stream.runDrain(Stream.take(SqsDeadLetter.moveAll("dead", { perSecond: 1 }), 1))
        yield* TestClock.adjust("10 seconds")
        assert.deepInclude(yield* sqs.snapshot("dead"), { moved: 3, visible: 1 })
      })
    )
  )

  it.effect("cancelMove ends it from elsewhere, and the stream ends with what was moved", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* letters(sqs)
        assert.isUndefined(yield* SqsDeadLetter.cancelMove("dead"))
        const fiber = yield* Effect.fork(Stream.runLast(SqsDeadLetter.moveAll("dead", { perSecond: 1 })))
        yield* TestClock.adjust("1500 millis")
        assert.strictEqual(yield* SqsDeadLetter.cancelMove("dead"), 2)
        yield* TestClock.adjust("1 second")
        const last = yield* Fiber.join(fiber)
        assert.deepInclude(last, { value: { status: "CANCELLED", moved: 2, toMove: 4 } })
      })
    )
  )

  it.effect("messages without a source for SQS: it fails, and says to name the destination", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* sqs.send("dead", ["by a consumer"])
        const error = yield* Effect.flip(Stream.runDrain(SqsDeadLetter.moveAll("dead")))
        assert.strictEqual(error._tag, "MoveFailed")
        assert.match(error.message, /CouldNotDetermineMessageSource\. .*name the destination \(`to`\)/)
        yield* Stream.runDrain(SqsDeadLetter.moveAll("dead", { to: "orders" }))
        assert.deepStrictEqual(yield* held(sqs, "orders"), ["by a consumer"])
        const rate = yield* Effect.flip(Stream.runDrain(SqsDeadLetter.moveAll("dead", { perSecond: 501 })))
        assert.strictEqual(rate.message, "perSecond is 501; write a whole number from 1 to 500")
      })
    )
  )

  it.effect("a lost answer starts no second task, and the one that runs is followed and cancelled", () =>
    emulated((sqs) =>
      Effect.gen(function* () {
        yield* letters(sqs)
        yield* sqs.faults.script("StartMessageMoveTask", [Fault.dropResponse])
        const fiber = yield* Effect.fork(Stream.runDrain(SqsDeadLetter.moveAll("dead", { perSecond: 1 })))
        yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(fiber)
        yield* TestClock.adjust("10 seconds")
        assert.deepInclude(yield* sqs.snapshot("dead"), { moved: 2, visible: 2 })
        assert.strictEqual((yield* sqs.calls).StartMessageMoveTask, 1)
      })
    )
  )
})

describe("through the AWS SDK, over HTTP", () => {
  const served = Layer.unwrapEffect(
    Effect.map(SqsHttp.SqsHttp, ({ endpoint }) =>
      SqsClient.layer({
        endpoint,
        region: "us-east-1",
        credentials: { accessKeyId: "any", secretAccessKey: Redacted.make("any") }
      })
    )
  ).pipe(Layer.provideMerge(SqsHttp.layer({ port: 0 })), Layer.provideMerge(SqsEmulator.layer({ queues })))

  it.live("peek, stream, sendBack, moveAll and cancelMove", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      yield* deadLetter(sqs, "orders", "a", "b", "c")
      assert.deepStrictEqual(bodies(yield* SqsDeadLetter.peek("dead")), ["a", "b", "c"])

      yield* SqsDeadLetter.stream("dead").pipe(
        Stream.filter(({ message }) => message.body === "a"),
        Stream.take(1),
        Stream.runForEach((delivery) => Effect.orDie(delivery.ack))
      )
      assert.deepInclude(yield* sqs.snapshot("dead"), { deleted: 1 })

      const report = yield* SqsDeadLetter.sendBack("dead", { filter: ({ body }) => body === "b" })
      assert.deepStrictEqual(report, { sentBack: 1, kept: 1, failed: [] })
      assert.deepStrictEqual(yield* held(sqs, "orders"), ["b"])

      const progress = yield* Stream.runLast(
        SqsDeadLetter.moveAll("dead", { to: "other", poll: Schedule.spaced("10 millis") })
      )
      assert.deepInclude(progress, { value: { status: "COMPLETED", moved: 1, toMove: 1 } })
      assert.deepStrictEqual(yield* held(sqs, "other"), ["c"])

      yield* sqs.send("dead", ["d", "e"])
      yield* SqsDeadLetter.moveAll("dead", { to: "other", perSecond: 1, poll: Schedule.spaced("10 millis") }).pipe(
        Stream.tap(({ status }) =>
          status === "RUNNING"
            ? Effect.map(SqsDeadLetter.cancelMove("dead"), (n) => assert.strictEqual(n, 1))
            : Effect.void
        ),
        Stream.runLast,
        Effect.map((last) => assert.deepInclude(last, { value: { status: "CANCELLED", moved: 1, toMove: 2 } }))
      )
    }).pipe(Effect.provide(served))
  )
})
