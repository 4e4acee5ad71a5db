/** Services like SQS, which say less than AWS does, or say it otherwise. */
import { assert, describe, it } from "@effect/vitest"
import { Pipeline } from "@millrace/core"
import { ConfigProvider, Effect, Either, Fiber, Logger, Stream, TestClock } from "effect"
import { SqsEmulator } from "../src/emulator/index.js"
import { SqsClient, SqsConsumer, SqsDeadLetter, SqsQueue } from "../src/index.js"
import * as FakeServer from "./support/FakeServer.js"

/** The emulator's client, with answers as another service gives them. */
const changed = (change: (sqs: SqsClient.Service) => Partial<SqsClient.Service>) =>
  Effect.map(SqsClient.SqsClient, (sqs) => SqsClient.SqsClient.of({ ...sqs, ...change(sqs) }))

const arns: Readonly<Record<string, (name: string) => string | undefined>> = {
  Scaleway: (name) => `arn:scw:sqs:fr-par:project-7d9a8f9e-0000-4000-8000-000000000000:${name}`,
  Yandex: (name) => `yrn:yc:ymq:ru-central1:b1g8ad42m6he1ooql78r:${name}`,
  GoAWS: (name) => `arn:aws:sqs:local:queue:${name}`,
  "without region and account": (name) => `arn:aws:sqs:::${name}`,
  "a bare name": (name) => name,
  "none at all": () => undefined
}

describe.each(Object.entries(arns))("ARNs: %s", (_, arnOf) => {
  it.effect("a queue is found by name, URL and its ARN, and its dead letters go where its policy says", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const asked: Array<string | undefined> = []
      const client = yield* changed((aws) => ({
        getQueueUrl: (request) => {
          asked.push(request.QueueOwnerAWSAccountId)
          return aws.getQueueUrl(request)
        },
        getQueueAttributes: (request) =>
          Effect.map(aws.getQueueAttributes(request), ({ QueueArn = "", RedrivePolicy, ...rest }) => {
            const arn = arnOf(QueueArn.split(":").at(-1) ?? "")
            return {
              ...rest,
              ...(arn !== undefined && { QueueArn: arn }),
              ...(RedrivePolicy !== undefined && {
                RedrivePolicy: JSON.stringify({ deadLetterTargetArn: arnOf("dead") ?? "dead", maxReceiveCount: 3 })
              })
            }
          })
      }))
      yield* Effect.gen(function* () {
        const queue = yield* SqsQueue.resolve("orders")
        assert.strictEqual(queue.name, "orders")
        assert.strictEqual(queue.arn, arnOf("orders") ?? queue.url)
        assert.deepStrictEqual(yield* SqsQueue.resolve(queue.url), {
          ...queue,
          account: queue.account || "000000000000"
        })
        assert.strictEqual((yield* SqsQueue.resolve(queue.arn)).url, queue.url)
        assert.isTrue(
          asked.every((account) => account === undefined),
          "no owner that AWS's API does not take"
        )
        yield* sqs.send("orders", ["poison"])
        yield* SqsConsumer.stream("orders").pipe(
          Stream.mapEffect((delivery) => delivery.deadLetter("no good")),
          Stream.take(1),
          Stream.runDrain
        )
        assert.strictEqual((yield* sqs.snapshot("dead")).visible, 1)
        const [letter] = yield* SqsDeadLetter.peek("dead")
        assert.strictEqual(letter?.source, queue.arn)
      }).pipe(Effect.provideService(SqsClient.SqsClient, client))
    }).pipe(
      Effect.provide(
        SqsEmulator.layer({ queues: { dead: {}, orders: { deadLetter: { queue: "dead", maxReceiveCount: 3 } } } })
      )
    )
  )
})

describe("what is said of a message", () => {
  it.live("is asked for by both names", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make(({ operation }) => ({
        body:
          operation === "GetQueueUrl"
            ? { QueueUrl: "http://x/000000000000/orders" }
            : operation === "GetQueueAttributes"
              ? { Attributes: {} }
              : {}
      }))
      yield* Effect.gen(function* () {
        yield* SqsDeadLetter.peek("orders")
        yield* Effect.timeoutOption(Stream.runDrain(SqsConsumer.stream("orders", { pollGrace: 0 })), "300 millis")
      }).pipe(Effect.provide(FakeServer.layer(server.url)))
      const receives = server.calls.filter(({ operation }) => operation === "ReceiveMessage")
      assert.isAtLeast(receives.length, 2)
      for (const { body } of receives) {
        assert.deepStrictEqual(body.AttributeNames, ["All"])
        assert.deepStrictEqual(body.MessageSystemAttributeNames, ["All"])
      }
    }).pipe(Effect.scoped)
  )

  it.effect("without its group a FIFO queue is one group, without its count it is warned about, once each", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const said: Array<string> = []
      const logger = Logger.make(({ message }) => said.push(String(message)))
      yield* sqs.send(
        "orders.fifo",
        ["a", "b", "a", "b", "a", "b"].map((group, i) => SqsEmulator.message(String(i), { group }))
      )
      const client = yield* changed((aws) => ({
        receiveMessage: (request) =>
          Effect.map(aws.receiveMessage(request), (messages) =>
            messages.map(
              ({ Attributes: { ApproximateReceiveCount, MessageGroupId, ...Attributes } = {}, ...rest }) => ({
                ...rest,
                Attributes
              })
            )
          )
      }))
      let running = 0
      let most = 0
      const handled: Array<string> = []
      const fiber = yield* SqsConsumer.stream("orders.fifo").pipe(
        Pipeline.process((body) =>
          Effect.suspend(() => {
            most = Math.max(most, ++running)
            handled.push(body)
            return Effect.delay(
              Effect.sync(() => {
                running -= 1
              }),
              "1 second"
            )
          })
        ),
        Stream.take(6),
        Stream.runDrain,
        Effect.provideService(SqsClient.SqsClient, client),
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Effect.fork
      )
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(fiber)
      assert.strictEqual(most, 1)
      assert.strictEqual(handled.length, 6)
      assert.strictEqual(said.filter((line) => /MessageGroupId/.test(line)).length, 1)
      assert.strictEqual(said.filter((line) => /ApproximateReceiveCount/.test(line)).length, 1)
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { "orders.fifo": {} } })))
  )
})

describe("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", () => {
  const buildWith = (ignore: string) =>
    Effect.either(
      Effect.provide(SqsClient.SqsClient, SqsClient.layerConfig()).pipe(
        Effect.withConfigProvider(
          ConfigProvider.fromMap(
            new Map([
              ["AWS_REGION", "us-east-1"],
              ["AWS_ENDPOINT_URL", "no URL"],
              ["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", ignore]
            ])
          )
        )
      )
    )

  it.effect("leaves the configured endpoint out where it is true", () =>
    Effect.gen(function* () {
      for (const ignore of ["true", "True"]) assert.isTrue(Either.isRight(yield* buildWith(ignore)), ignore)
      for (const ignore of ["false", ""]) {
        const result = yield* buildWith(ignore)
        assert.strictEqual(Either.isLeft(result) && result.left._tag, "InvalidOptions", `"${ignore}"`)
      }
    })
  )
})
