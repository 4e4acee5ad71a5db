/** When SQS gave an answer, by its `Date` and this computer's clock. */
import { SQSClient } from "@aws-sdk/client-sqs"
import { assert, describe, it } from "@effect/vitest"
import { Clock, DateTime, Effect, Random } from "effect"
import { SqsClient } from "../src/index.js"
import { AnswerTimes } from "../src/internal/client/answerTimes.js"
import * as FakeServer from "./support/FakeServer.js"

const dateOf = (millis: number) => DateTime.toDateUtc(DateTime.unsafeMake(millis)).toUTCString()

const clients = [
  ["layer", FakeServer.layer],
  [
    "layerFrom",
    (endpoint: string) =>
      SqsClient.layerFrom(
        new SQSClient({
          region: "us-east-1",
          endpoint,
          maxAttempts: 1,
          credentials: { accessKeyId: "test", secretAccessKey: "test" }
        })
      )
  ]
] as const

describe("when an answer was given", () => {
  it.effect("is never told later than it was, and exactly as it looks unless it is old, whatever the clocks say", () =>
    Effect.gen(function* () {
      for (let seed = 0; seed < 100; seed++) {
        yield* Effect.gen(function* () {
          const times = new AnswerTimes()
          // This computer's clock less SQS's.
          let ahead = yield* Random.nextIntBetween(-600_000, 600_000)
          let now = 1_700_000_000_000 + (yield* Random.nextIntBetween(0, 1000))
          let known = 0
          for (let call = 0; call < 60; call++) {
            if ((yield* Random.next) < 0.03) {
              ahead += yield* Random.nextIntBetween(-60_000, 60_000)
              known = 0
            }
            const sentAt = now + ahead
            now += yield* Random.nextIntBetween(1, (yield* Random.nextBoolean) ? 60 : 20_000)
            const given = now + ahead
            const date = dateOf(now)
            now += yield* Random.nextIntBetween(1, 60)
            const old = (yield* Random.next) < 0.2
            if (old) now += yield* Random.nextIntBetween(3000, 100_000)
            const seenAt = now + ahead
            const told = times.givenAt(date, sentAt, seenAt)
            assert.isAtLeast(told, sentAt)
            assert.isAtMost(told, seenAt)
            if (!old && known > 5) assert.isAtLeast(told, Math.min(seenAt, given - 2100), `seed ${seed}, call ${call}`)
            if (old && known > 5) assert.isAtMost(told, given, `seed ${seed}, call ${call}`)
            if (!old) known++
            now += yield* Random.nextIntBetween(1, 2000)
          }
        }).pipe(Effect.withRandom(Random.make(seed)))
      }
    })
  )

  it("is when it was seen where its date is none", () => {
    const times = new AnswerTimes()
    for (const date of [undefined, "", "yesterday", ["a"]]) assert.strictEqual(times.givenAt(date, 10, 20), 20)
  })

  it.scoped.each(clients)("goes with the messages of a client over HTTP: %s", ([, layer]) =>
    Effect.gen(function* () {
      const clock = yield* Clock.clockWith(Effect.succeed)
      let passed = 1_700_000_000_000
      let suspendedFor = 0
      const now = () => clock.unsafeCurrentTimeMillis() + passed
      const message = { MessageId: "m", ReceiptHandle: "h", Body: "b", MD5OfBody: "92eb5ffee6ae2fec3ad71c777531578f" }
      const server = yield* FakeServer.make(({ operation }) => {
        const headers = { date: dateOf(now()) }
        // The process is suspended between the answer and its first bytes.
        passed += suspendedFor
        return { headers, body: operation === "ReceiveMessage" ? { Messages: [message] } : {} }
      })
      const elsewhen: Clock.Clock = {
        ...clock,
        [Clock.ClockTypeId]: clock[Clock.ClockTypeId],
        sleep: (duration) => clock.sleep(duration),
        unsafeCurrentTimeMillis: now,
        unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos()
      }
      const age = Effect.gen(function* () {
        const sqs = yield* SqsClient.SqsClient
        const [received] = yield* sqs.receiveMessage({ QueueUrl: "http://localhost/0/orders", WaitTimeSeconds: 0 })
        return now() - (received?.LeasedAt ?? Number.NaN)
      })
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* age, 0)
        suspendedFor = 90_000
        const late = yield* age
        assert.isAtLeast(late, 90_000)
        assert.isAtMost(late, 92_000)
      }).pipe(Effect.provide(layer(server.url)), Effect.withClock(elsewhen))
    })
  )
})
