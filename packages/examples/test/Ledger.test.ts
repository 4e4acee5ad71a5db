import { assert, describe, it } from "@effect/vitest"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect } from "effect"
import * as Ledger from "../src/main-job/Ledger.js"

const QueueUrl = "http://localhost:9324/000000000000/webhooks"

const watched = Effect.gen(function* () {
  const sqs = yield* SqsEmulator.SqsEmulator
  yield* sqs.send("webhooks", ["a", "b", "c", "d", "e", "f"])
  const failing = new Set<string>()
  const ledger = Ledger.make(sqs.client, failing)
  const receive = (max: number) => ledger.client.receiveMessage({ QueueUrl, MaxNumberOfMessages: max })
  return { ledger, failing, receive }
})

const withQueue = Effect.provide(SqsEmulator.layer({ queues: { webhooks: {} } }))

describe("ledger", () => {
  it.effect("a message is out until its delete took effect, and its acks are counted", () =>
    Effect.gen(function* () {
      const { ledger, receive } = yield* watched
      const messages = yield* receive(4)
      assert.strictEqual(ledger.peakInFlight(), 4)
      const Entries = messages.map(({ ReceiptHandle }, i) => ({ Id: String(i), ReceiptHandle }))
      // One delete fails: that message stays out.
      yield* ledger.client.deleteMessageBatch({
        QueueUrl,
        Entries: [...Entries.slice(0, 2), { Id: "2", ReceiptHandle: "garbage" }]
      })
      yield* receive(2)
      assert.strictEqual(ledger.peakInFlight(), 4)
      assert.deepStrictEqual(
        [...ledger.acks],
        messages.slice(0, 2).map(({ MessageId }) => [MessageId, 1])
      )
    }).pipe(withQueue)
  )

  // Else heartbeats would hide messages from the bound that the verdict checks.
  it.effect("an extended message stays out, a retried or released one does not", () =>
    Effect.gen(function* () {
      const { failing, ledger, receive } = yield* watched
      const [extended, retried, released] = yield* receive(3)
      assert.isDefined(extended)
      assert.isDefined(retried)
      assert.isDefined(released)
      failing.add(retried.MessageId)
      yield* ledger.client.changeMessageVisibilityBatch({
        QueueUrl,
        Entries: [
          { Id: "0", ReceiptHandle: extended.ReceiptHandle, VisibilityTimeout: 60 },
          { Id: "1", ReceiptHandle: retried.ReceiptHandle, VisibilityTimeout: 60 },
          { Id: "2", ReceiptHandle: released.ReceiptHandle, VisibilityTimeout: 0 }
        ]
      })
      yield* receive(3)
      assert.strictEqual(ledger.peakInFlight(), 4)
    }).pipe(withQueue)
  )
})
