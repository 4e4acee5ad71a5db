/** One run of `sendBack` by itself: leases that run out in it, what fails in it, and what its calls say. */
import { assert, describe, it } from "@effect/vitest"
import { Simulation } from "@millrace/core/testing"
import { SqsClient, SqsDeadLetter, SqsQueue } from "@millrace/sqs"
import { Fault, SqsEmulator } from "@millrace/sqs/emulator"
import { Duration, Effect, Schedule } from "effect"
import type { SendBackReport } from "../../src/internal/deadLetter/letters.js"
import * as SendBack from "../../src/internal/deadLetter/sendBack.js"

const arn = (name: string, account = "000000000000") => `arn:aws:sqs:us-east-1:${account}:${name}`

const queues = {
  dead: {},
  "dead.fifo": {},
  orders: { deadLetter: { queue: "dead", maxReceiveCount: 1 } },
  strangers: { deadLetter: { queue: "other", maxReceiveCount: 1 } },
  other: {},
  "other.fifo": {}
}

const simulated =
  <E>(program: (sqs: SqsEmulator.Service) => Effect.Effect<unknown, E, SqsClient.SqsClient>) =>
  () =>
    Simulation.checkInTurns(
      { seeds: 1, maxElapsed: "1 day" },
      Effect.flatMap(SqsEmulator.SqsEmulator, program).pipe(Effect.provide(SqsEmulator.layer({ queues })))
    )

/** As `SqsDeadLetter.sendBack` does it, with leases of 2 seconds and a look of 5 at what may come. */
const sendBack = (
  from: string,
  to: string | undefined,
  settings: Partial<SendBack.Settings> = {}
): Effect.Effect<SendBackReport, unknown, SqsClient.SqsClient> =>
  Effect.gen(function* () {
    const run = yield* SendBack.make({
      source: yield* SqsQueue.resolve(from),
      to: to === undefined ? undefined : yield* SqsQueue.resolve(to),
      fromMessage: SqsDeadLetter.fromMessage,
      filter: () => true,
      edit: ({ body }) => body,
      encodings: [],
      max: Number.POSITIVE_INFINITY,
      visibilityTimeout: "2 seconds",
      wait: Duration.seconds(5),
      retry: Schedule.recurs(1),
      perSecond: undefined,
      ...settings
    })
    yield* run.toTheEnd
    return run.report()
  })

const letters = (n: number, name = "m") => Array.from({ length: n }, (_, i) => `${name}${i}`)

/** Sent to the dead-letter queue by hand, a second before all else. */
const seed = (sqs: SqsEmulator.Service, queue: string, bodies: ReadonlyArray<string>) =>
  Effect.zipLeft(
    sqs.send(
      queue,
      bodies.map((body) => SqsEmulator.message(body, { group: body[0] }))
    ),
    Effect.sleep("1 second")
  )

const held = (sqs: SqsEmulator.Service, queue: string) =>
  Effect.map(sqs.messages(queue), (messages) => messages.map(({ body }) => body))

const failures = ({ failed }: SendBackReport) =>
  failed.map(({ letter, reason, sent }) => `${letter.body}${sent ? ", sent" : ""}: ${reason}`)

describe("sendBack: what fails", () => {
  it(
    "is not tried again where SQS will never take it, and the report says why",
    simulated((sqs) =>
      Effect.gen(function* () {
        yield* seed(sqs, "dead", ["a", "b"])
        yield* sqs.faults.script("SendMessageBatch", [
          Fault.failEntries([0], { code: "InvalidMessageContents", senderFault: true, message: "no" })
        ])
        const report = yield* sendBack("dead", "other")
        assert.deepStrictEqual([report.sentBack, ...failures(report)], [1, "a: InvalidMessageContents: no"])
        assert.strictEqual((yield* sqs.calls).SendMessageBatch, 1)
      })
    )
  )

  it(
    "may be deleted when it comes again, and is no failure then; it is not sent twice, and nothing deleted is released",
    simulated((sqs) =>
      Effect.gen(function* () {
        yield* seed(sqs, "dead", ["a"])
        yield* sqs.faults.script("DeleteMessageBatch", [Fault.failEntries(), Fault.failEntries()])
        assert.deepStrictEqual(yield* sendBack("dead", "other"), { sentBack: 1, kept: 0, failed: [] })
        assert.deepStrictEqual([yield* held(sqs, "dead"), yield* held(sqs, "other")], [[], ["a"]])
        assert.isUndefined((yield* sqs.calls).ChangeMessageVisibilityBatch)
      })
    )
  )

  it(
    "to be deleted counts for `max`: it has been sent",
    simulated((sqs) =>
      Effect.gen(function* () {
        yield* seed(sqs, "dead", letters(15))
        yield* sqs.faults.script("DeleteMessageBatch", [Fault.failEntries(), Fault.failEntries()])
        const report = yield* sendBack("dead", "other", { max: 12, visibilityTimeout: "1 minute" })
        assert.lengthOf(yield* held(sqs, "other"), 12)
        assert.deepInclude(report, { sentBack: 2, kept: 3 })
        assert.strictEqual((yield* sqs.calls).ReceiveMessage, 2)
      })
    )
  )

  // Each way to fail: its group stays in order when what follows comes later.
  it.each([
    ["by `filter`", { filter: ({ body }: SqsDeadLetter.DeadLetter) => body !== "g0" || assert.fail("no") }],
    ["by `edit`", { edit: ({ body }: SqsDeadLetter.DeadLetter) => (body === "g0" ? assert.fail("no") : body) }],
    ["in its call", { perSecond: 10 }]
  ])("%s stops its group, also for what comes in a later receive", (_, settings) =>
    simulated((sqs) =>
      Effect.gen(function* () {
        yield* seed(sqs, "dead.fifo", [...letters(9, "a"), "g0", "g1"])
        if ("perSecond" in settings)
          yield* sqs.faults.script("SendMessageBatch", [Fault.failEntries([9]), Fault.failEntries()])
        const report = yield* sendBack("dead.fifo", "other.fifo", settings)
        assert.deepInclude(report, { sentBack: 9, kept: 0 })
        const [first = "", ...others] = failures(report)
        assert.match(first, /^g0: (`filter` threw|`edit`|InternalError)/)
        assert.deepStrictEqual(others, ["g1: an earlier message of its group could not be sent back"])
        assert.deepStrictEqual(yield* held(sqs, "dead.fifo"), ["g0", "g1"])
      })
    )()
  )

  it(
    "in its call stops what follows of its group in the next",
    simulated((sqs) =>
      Effect.gen(function* () {
        yield* seed(sqs, "dead.fifo", ["g0", "g1", "h0"])
        yield* sqs.faults.script("SendMessageBatch", [Fault.failEntries(), Fault.failEntries()])
        const report = yield* sendBack("dead.fifo", "other.fifo", { perSecond: 1, visibilityTimeout: "1 minute" })
        assert.deepStrictEqual([report.sentBack, report.failed.length], [1, 2])
        assert.deepStrictEqual(yield* held(sqs, "other.fifo"), ["h0"])
      })
    )
  )
})

describe("sendBack: what it goes through", () => {
  it(
    "ends after three receives in a row that show nothing new",
    simulated((sqs) =>
      Effect.gen(function* () {
        yield* seed(sqs, "dead", letters(12))
        const report = yield* sendBack("dead", "other", { filter: () => false })
        assert.deepStrictEqual(report, { sentBack: 0, kept: 12, failed: [] })
        // Two that show something, and three.
        assert.strictEqual((yield* sqs.calls).ReceiveMessage, 5)
      })
    )
  )

  it(
    "begins to count anew when something new comes",
    simulated((sqs) =>
      Effect.gen(function* () {
        yield* seed(sqs, "dead", ["a"])
        const late = seed(sqs, "dead", ["b"]).pipe(Effect.delay("5 seconds"))
        const [report] = yield* Effect.all([sendBack("dead", "other", { filter: () => false }), late], {
          concurrency: 2
        })
        assert.strictEqual(report.kept, 2)
        assert.isAtLeast((yield* sqs.calls).ReceiveMessage ?? 0, 6)
      })
    )
  )

  it(
    "receives no more when `max` is reached",
    simulated((sqs) =>
      Effect.gen(function* () {
        yield* seed(sqs, "dead", letters(15))
        assert.deepStrictEqual(yield* sendBack("dead", "other", { max: 10 }), { sentBack: 10, kept: 0, failed: [] })
        assert.strictEqual((yield* sqs.calls).ReceiveMessage, 1)
      })
    )
  )

  it(
    "keeps what was sent after the start, and sends what came back into sight",
    simulated((sqs) =>
      Effect.gen(function* () {
        yield* seed(sqs, "dead", ["a", "b", "c"])
        yield* sqs.client.receiveMessage({
          QueueUrl: sqs.queueUrl("dead"),
          MaxNumberOfMessages: 1,
          VisibilityTimeout: 4
        })
        const late = seed(sqs, "dead", ["late"]).pipe(Effect.delay("1 second"))
        const [report] = yield* Effect.all([sendBack("dead", "other"), late], { concurrency: 2 })
        assert.deepStrictEqual(report, { sentBack: 3, kept: 1, failed: [] })
        assert.deepStrictEqual(yield* held(sqs, "dead"), ["late"])
      })
    )
  )

  it(
    "at so many a second, whatever the time is",
    simulated((sqs) =>
      Effect.gen(function* () {
        yield* seed(sqs, "dead", letters(5))
        yield* Effect.sleep("1 hour")
        const [took] = yield* Effect.timed(sendBack("dead", "other", { perSecond: 1, visibilityTimeout: "1 minute" }))
        assert.strictEqual(Math.floor(Duration.toSeconds(took)), 9)
      })
    )
  )
})

describe("sendBack: what its calls say", () => {
  it(
    "no attributes and no group where there are none; and a body as long as SQS takes goes",
    simulated((sqs) =>
      Effect.gen(function* () {
        yield* sqs.send("dead", ["a"])
        yield* Effect.sleep("1 second")
        const entries: Array<unknown> = []
        const seen: SqsClient.Service = {
          ...sqs.client,
          sendMessageBatch: (input) => {
            entries.push(...input.Entries)
            return sqs.client.sendMessageBatch(input)
          }
        }
        const body = "x".repeat(1_048_576)
        const report = yield* Effect.provideService(
          sendBack("dead", "other", { edit: () => body }),
          SqsClient.SqsClient,
          seen
        )
        assert.deepInclude(report, { sentBack: 1, failed: [] })
        assert.deepStrictEqual(entries, [{ Id: "0", MessageBody: body }])
      })
    )
  )

  /** A letter that says that it is of this queue, as our consumers write it or as SQS does. */
  const from = (sqs: SqsEmulator.Service, source: string, isKnown: boolean, redrivesTo?: string) => {
    const policy = redrivesTo && JSON.stringify({ deadLetterTargetArn: redrivesTo, maxReceiveCount: 1 })
    const client: SqsClient.Service = {
      ...sqs.client,
      receiveMessage: (input) =>
        Effect.map(sqs.client.receiveMessage(input), (messages) =>
          isKnown
            ? messages.map((message) => ({
                ...message,
                Attributes: { ...message.Attributes, DeadLetterQueueSourceArn: arn(source) }
              }))
            : messages
        ),
      getQueueAttributes: (input) =>
        Effect.map(sqs.client.getQueueAttributes(input), (attributes) =>
          policy !== undefined && input.QueueUrl === sqs.queueUrl(source)
            ? { ...attributes, RedrivePolicy: policy }
            : attributes
        )
    }
    return Effect.gen(function* () {
      yield* sqs.client.sendMessage({
        QueueUrl: sqs.queueUrl("dead"),
        MessageBody: "a",
        MessageAttributes: { "millrace-dead-letter-source": { DataType: "String", StringValue: source } }
      })
      yield* Effect.sleep("1 second")
      const report = yield* Effect.provideService(sendBack("dead", undefined), SqsClient.SqsClient, client)
      return report.sentBack === 1
    })
  }

  it.each([
    ["a source with this dead-letter queue is believed", true, "orders", false, undefined],
    ["a source with another is not", false, "strangers", false, undefined],
    ["a source with none is not", false, "other", false, undefined],
    ["what SQS itself names is, though it has another now", true, "strangers", true, undefined],
    ["what SQS itself names is, though it has none now", true, "other", true, undefined],
    ["a server without ARNs has names", true, "strangers", false, "dead"],
    ["another's name is not this queue's", false, "strangers", false, "elsewhere"],
    ["a queue of the same name elsewhere is another", false, "strangers", false, arn("dead", "999999999999")]
  ] as const)("%s", (_, isSent, source, isKnown, redrivesTo) =>
    simulated((sqs) => Effect.map(from(sqs, source, isKnown, redrivesTo), (sent) => assert.strictEqual(sent, isSent)))()
  )
})
