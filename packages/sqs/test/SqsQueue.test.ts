import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Either, FastCheck, Fiber, Layer, TestClock } from "effect"
import { SqsEmulator } from "../src/emulator/index.js"
import { SqsClient, SqsError, SqsQueue } from "../src/index.js"

const account = "123456789012"
const base = FastCheck.stringMatching(/^[A-Za-z0-9_-]{1,75}$/)
const name = FastCheck.tuple(base, FastCheck.boolean()).map(([text, fifo]) => (fifo ? `${text}.fifo` : text))
const accounts = FastCheck.stringMatching(/^[0-9]{12}$/)
const regions = FastCheck.constantFrom("us-east-1", "eu-west-3", "ap-southeast-2", "us-gov-west-1", "cn-north-1")

const parsed = (queue: string) => Either.getOrThrowWith(SqsQueue.parse(queue), (error) => new Error(error.message))
const problem = (queue: string) => Either.match(SqsQueue.parse(queue), { onLeft: (e) => e.message, onRight: () => "" })

describe("SqsQueue.parse", () => {
  it("a name, a URL and an ARN of one queue agree in name, account, region and order", () => {
    FastCheck.assert(
      FastCheck.property(name, accounts, regions, (queue, account, region) => {
        const fifo = queue.endsWith(".fifo")
        assert.deepStrictEqual(parsed(queue), {
          name: queue,
          fifo,
          url: undefined,
          region: undefined,
          account: undefined
        })
        const arn = `arn:${region.startsWith("cn") ? "aws-cn" : "aws"}:sqs:${region}:${account}:${queue}`
        assert.deepStrictEqual(parsed(arn), { name: queue, fifo, url: undefined, region, account })
        for (const host of [
          `sqs.${region}.amazonaws.com`,
          `sqs.${region}.amazonaws.com.cn`,
          `sqs-fips.${region}.amazonaws.com`,
          `sqs.${region}.api.aws`,
          `${region}.queue.amazonaws.com`,
          `vpce-0a1b2c-3d4e.sqs.${region}.vpce.amazonaws.com`
        ]) {
          const url = `https://${host}/${account}/${queue}`
          assert.deepStrictEqual(parsed(url), { name: queue, fifo, url, region, account })
        }
        for (const path of [`${account}/${queue}`, `queue/${region}/${account}/${queue}`]) {
          const url = `http://localhost:4566/${path}`
          assert.deepStrictEqual(parsed(url), { name: queue, fifo, url, region: undefined, account })
        }
      })
    )
  })

  it("the oldest URLs are of us-east-1; a server of one's own may leave the account out", () => {
    assert.strictEqual(parsed(`https://queue.amazonaws.com/${account}/orders`).region, "us-east-1")
    assert.strictEqual(parsed("http://localhost:9324/queue/orders").account, undefined)
  })

  it("what is a name's neighbour is refused: length, characters, suffix", () => {
    FastCheck.assert(
      FastCheck.property(base, FastCheck.constantFrom(".", " ", "é", "$", ".fif", ".FIFO", "\n"), (text, bad) => {
        assert.match(problem(text + bad), /characters that a queue's name cannot have/)
      })
    )
    FastCheck.assert(
      FastCheck.property(FastCheck.stringMatching(/^[A-Za-z0-9_-]{81,100}$/), (text) => {
        assert.match(problem(text), /at most 80/)
      })
    )
    assert.match(problem(`${"a".repeat(76)}.fifo`), /at most 80/)
    assert.match(problem(""), /names no queue/)
    assert.match(problem(".fifo"), /names no queue/)
  })

  it.each([
    "arn:aws:sns:us-east-1:123456789012:orders",
    "arn:aws:sqs:us-east-1:123:orders",
    "arn:aws:sqs::123456789012:orders",
    "arn:aws:sqs:us-east-1:123456789012:orders:more",
    "https://sqs.us-east-1.amazonaws.com/orders",
    "https://sqs.us-east-1.amazonaws.com/123/orders",
    "https://sqs.us-east-1.amazonaws.com/",
    "https://sqs.us-east-1.amazonaws.com/123456789012/orders?Action=ReceiveMessage",
    "sqs.us-east-1.amazonaws.com/123456789012/orders",
    "teams/orders"
  ])("%s is refused, with the forms that can be written", (queue) => {
    assert.match(problem(queue), /Write a name .* a URL .* or an ARN/)
  })

  it("never throws, whatever it is given", () => {
    FastCheck.assert(FastCheck.property(FastCheck.string(), (text) => void SqsQueue.parse(text)))
    FastCheck.assert(FastCheck.property(FastCheck.webUrl(), (text) => void SqsQueue.parse(text)))
    FastCheck.assert(FastCheck.property(FastCheck.string(), (text) => void SqsQueue.parse(`arn:${text}`)))
  })
})

const emulator = (queues: SqsEmulator.Options["queues"] = {}) => SqsEmulator.layer({ queues, accountId: account })

describe("SqsQueue.resolve", () => {
  it.effect("a name, a URL and an ARN find the same queue, with what its attributes say", () =>
    Effect.gen(function* () {
      const queue = yield* SqsQueue.resolve("orders.fifo")
      assert.strictEqual(queue.arn, `arn:aws:sqs:us-east-1:${account}:orders.fifo`)
      assert.strictEqual(queue.region, "us-east-1")
      assert.strictEqual(queue.account, account)
      assert.isTrue(queue.fifo)
      assert.strictEqual(Duration.toSeconds(queue.visibilityTimeout), 45)
      assert.strictEqual(Duration.toDays(queue.retention), 4)
      assert.deepStrictEqual(queue.deadLetter, {
        arn: `arn:aws:sqs:us-east-1:${account}:dead.fifo`,
        maxReceiveCount: 3
      })
      assert.deepStrictEqual(yield* SqsQueue.resolve(queue.url), queue)
      assert.deepStrictEqual(yield* SqsQueue.resolve(queue.arn), queue)
      const { calls } = yield* SqsEmulator.SqsEmulator
      const before = yield* calls
      assert.strictEqual(yield* SqsQueue.resolve(queue), queue)
      assert.deepStrictEqual(yield* calls, before, "a queue that was found is not asked for again")
      assert.isUndefined((yield* SqsQueue.resolve("dead.fifo")).deadLetter)
    }).pipe(
      Effect.provide(
        emulator({
          "orders.fifo": { visibilityTimeout: "45 seconds", deadLetter: { queue: "dead.fifo", maxReceiveCount: 3 } }
        })
      )
    )
  )

  it.effect("a queue that does not exist says so, and what to check", () =>
    Effect.gen(function* () {
      const client = yield* SqsClient.SqsClient
      const error = yield* Effect.flip(SqsQueue.resolve("nowhere"))
      assert.strictEqual(error._tag, "QueueDoesNotExist")
      assert.match(error.message, /^"nowhere" was not found: .* Check its name \(that of a FIFO queue ends in \.fifo\)/)
      const fifo = yield* Effect.flip(SqsQueue.resolve("nowhere.fifo"))
      assert.match(fifo.message, /^"nowhere\.fifo" was not found: .* Check its name, and the region/)
      const url = (yield* client.createQueue({ QueueName: "orders" })).replace("orders", "nowhere")
      const byUrl = yield* Effect.flip(SqsQueue.resolve(url))
      assert.strictEqual(byUrl._tag, "QueueDoesNotExist")
      assert.include(byUrl.message, url)
    }).pipe(Effect.provide(emulator()))
  )

  it.effect("a queue of another region, account or name than the one that answers is refused", () =>
    Effect.gen(function* () {
      const answers = Layer.mock(SqsClient.SqsClient, {
        getQueueUrl: () => Effect.succeed(`https://sqs.us-east-1.amazonaws.com/${account}/orders`),
        getQueueAttributes: () => Effect.succeed({ QueueArn: `arn:aws:sqs:us-east-1:${account}:orders` })
      })
      for (const [queue, said] of [
        [`arn:aws:sqs:eu-west-1:${account}:orders`, /of region eu-west-1.*arn:aws:sqs:us-east-1/],
        [`https://sqs.eu-west-1.amazonaws.com/${account}/orders`, /of region eu-west-1/],
        ["arn:aws:sqs:us-east-1:000000000000:orders", /of account 000000000000/],
        ["http://localhost:4566/queue/others", /of name others/]
      ] as const) {
        const error = yield* Effect.flip(Effect.provide(SqsQueue.resolve(queue), answers))
        assert.strictEqual(error._tag, "InvalidQueue", queue)
        assert.match(error.message, said)
      }
    })
  )

  it.effect("counts are asked for anew each time", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const queue = yield* SqsQueue.resolve("orders")
      yield* sqs.send("orders", ["a", "b", SqsEmulator.message("c", { delay: "1 minute" })])
      yield* sqs.client.receiveMessage({ QueueUrl: queue.url })
      assert.deepStrictEqual(yield* SqsQueue.counts(queue), { visible: 1, inFlight: 1, delayed: 1 })
    }).pipe(Effect.provide(emulator({ orders: {} })))
  )
})

describe("SqsQueue.ensure", () => {
  const wanted: SqsQueue.EnsureOptions = {
    visibilityTimeout: "2 minutes",
    retention: "7 days",
    delay: "5 seconds",
    tags: { team: "billing" },
    attributes: { ReceiveMessageWaitTimeSeconds: "20" },
    deadLetter: { maxReceiveCount: 5 }
  }
  const changes = Effect.map(
    Effect.flatMap(SqsEmulator.SqsEmulator, (sqs) => sqs.calls),
    (calls) => [calls.CreateQueue ?? 0, calls.SetQueueAttributes ?? 0, calls.TagQueue ?? 0]
  )

  it.effect("makes the queue with its settings, tags and dead-letter queue; again, it changes nothing", () =>
    Effect.gen(function* () {
      const client = yield* SqsClient.SqsClient
      const queue = yield* SqsQueue.ensure("orders", wanted)
      assert.strictEqual(Duration.toSeconds(queue.visibilityTimeout), 120)
      assert.strictEqual(queue.attributes["DelaySeconds"], "5")
      assert.strictEqual(queue.attributes["ReceiveMessageWaitTimeSeconds"], "20")
      assert.deepStrictEqual(yield* client.listQueueTags({ QueueUrl: queue.url }), { team: "billing" })
      assert.deepStrictEqual(queue.deadLetter, { arn: `${queue.arn}-dlq`, maxReceiveCount: 5 })
      assert.strictEqual(Duration.toDays((yield* SqsQueue.resolve("orders-dlq")).retention), 14)
      const before = yield* changes
      assert.deepStrictEqual(yield* SqsQueue.ensure("orders", wanted), queue)
      assert.deepStrictEqual(yield* SqsQueue.ensure("orders"), queue, "what is not given is not looked at")
      assert.deepStrictEqual(yield* changes, before)
    }).pipe(Effect.provide(emulator()))
  )

  it.effect("refuses to change what exists and lists the differences; with update it changes only those", () =>
    Effect.gen(function* () {
      const client = yield* SqsClient.SqsClient
      yield* SqsQueue.ensure("orders", wanted)
      const other: SqsQueue.EnsureOptions = {
        visibilityTimeout: "1 minute",
        retention: "7 days",
        tags: { team: "orders", stage: "prod" },
        deadLetter: { maxReceiveCount: 3 }
      }
      const before = yield* changes
      const error = yield* Effect.flip(SqsQueue.ensure("orders", other))
      assert.strictEqual(error._tag, "QueueDiffers")
      assert.deepStrictEqual(error._tag === "QueueDiffers" ? error.differences.map(({ setting }) => setting) : [], [
        "VisibilityTimeout",
        "RedrivePolicy",
        "tag team",
        "tag stage"
      ])
      assert.match(
        error.message,
        /VisibilityTimeout is 120, wanted 60; .*tag stage is not set, wanted prod.*update: true/
      )
      assert.deepStrictEqual(yield* changes, before)
      const queue = yield* SqsQueue.ensure("orders", { ...other, update: true })
      assert.strictEqual(Duration.toSeconds(queue.visibilityTimeout), 60)
      assert.strictEqual(queue.deadLetter?.maxReceiveCount, 3)
      assert.strictEqual(queue.attributes["DelaySeconds"], "5")
      assert.deepStrictEqual(yield* client.listQueueTags({ QueueUrl: queue.url }), { team: "orders", stage: "prod" })
      yield* SqsQueue.ensure("orders", other)
    }).pipe(Effect.provide(emulator()))
  )

  it.effect("a redrive policy that counts by a number is the same as one that counts by text", () =>
    // The emulator's own option writes the count as a number.
    SqsQueue.ensure("orders", { deadLetter: { queue: "dead", maxReceiveCount: 3 } }).pipe(
      Effect.provide(emulator({ orders: { deadLetter: { queue: "dead", maxReceiveCount: 3 } } }))
    )
  )

  it.effect("a FIFO queue gets a FIFO dead-letter queue; one that exists is left as it is, by name or ARN", () =>
    Effect.gen(function* () {
      const queue = yield* SqsQueue.ensure("orders.fifo", {
        contentBasedDeduplication: true,
        deadLetter: { maxReceiveCount: 5 }
      })
      assert.strictEqual(queue.attributes["ContentBasedDeduplication"], "true")
      assert.strictEqual(queue.deadLetter?.arn, `arn:aws:sqs:us-east-1:${account}:orders-dlq.fifo`)
      const mine = yield* SqsQueue.resolve("mine")
      for (const [source, target] of [
        ["a", "mine"],
        ["b", mine.arn],
        ["c", mine.url]
      ] as const) {
        const made = yield* SqsQueue.ensure(source, { deadLetter: { queue: target, maxReceiveCount: 5 } })
        assert.strictEqual(made.deadLetter?.arn, mine.arn)
      }
      assert.deepStrictEqual(yield* SqsQueue.resolve("mine"), mine)
    }).pipe(Effect.provide(emulator({ mine: { retention: "2 days" } })))
  )

  it.effect("settings that cannot be are refused before anything is called", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [string, SqsQueue.EnsureOptions, RegExp]> = [
        ["orders", { fifo: true }, /write "orders\.fifo"/],
        ["orders.fifo", { fifo: false }, /write "orders"/],
        ["arn:aws:sqs:us-east-1:123456789012:orders", {}, /by name: write "orders"/],
        ["orders", { contentBasedDeduplication: true }, /write "orders\.fifo"/],
        ["orders", { visibilityTimeout: "13 hours" }, /visibilityTimeout.*from 0 to 43200/],
        ["orders", { visibilityTimeout: "1500 millis" }, /whole seconds/],
        ["orders", { retention: "59 seconds" }, /retention.*from 60/],
        ["orders", { delay: "16 minutes" }, /delay.*to 900/],
        ["orders", { deadLetter: { maxReceiveCount: 0 } }, /from 1 to 1000/],
        ["orders", { deadLetter: { queue: "dead.fifo", maxReceiveCount: 1 } }, /both FIFO, or neither/]
      ]
      for (const [queue, options, said] of cases) {
        const error = yield* Effect.flip(SqsQueue.ensure(queue, options))
        assert.strictEqual(error._tag, "InvalidQueue", queue)
        assert.match(error.message, said)
      }
      assert.deepStrictEqual(yield* Effect.flatMap(SqsEmulator.SqsEmulator, (sqs) => sqs.calls), {})
    }).pipe(Effect.provide(emulator()))
  )

  it.effect("a queue that is not known for a second after it was made is asked for again", () =>
    Effect.gen(function* () {
      const client = yield* SqsClient.SqsClient
      let unknown = 3
      const slow = Layer.succeed(SqsClient.SqsClient, {
        ...client,
        getQueueAttributes: (request) =>
          unknown-- > 0
            ? new SqsError.QueueDoesNotExist({ operation: "GetQueueAttributes", message: "not yet" })
            : client.getQueueAttributes(request)
      })
      const fiber = yield* Effect.fork(Effect.provide(SqsQueue.ensure("orders"), slow))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Fiber.join(fiber)).name, "orders")
    }).pipe(Effect.provide(emulator()))
  )

  it.effect("one that is made by someone else meanwhile, with other settings, is refused like one that was there", () =>
    Effect.gen(function* () {
      const client = yield* SqsClient.SqsClient
      const raced = Layer.succeed(SqsClient.SqsClient, {
        ...client,
        createQueue: (request) =>
          Effect.zipRight(client.createQueue({ QueueName: request.QueueName }), client.createQueue(request))
      })
      const error = yield* Effect.flip(
        Effect.provide(SqsQueue.ensure("orders", { visibilityTimeout: "1 minute" }), raced)
      )
      assert.strictEqual(error._tag, "QueueDiffers")
    }).pipe(Effect.provide(emulator()))
  )
})
