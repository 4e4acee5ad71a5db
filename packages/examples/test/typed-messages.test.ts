/** The example of typed messages: as it is played through the emulator, its document, and its handlers without SQS. */
import { describe, expect, it } from "@effect/vitest"
import { Consumer } from "@millrace/core"
import { MemoryChannel } from "@millrace/core/testing"
import { Effect, Logger, LogLevel, Stream } from "effect"
import * as Story from "../src/Story.js"
import { document } from "../src/typed-messages/Document.js"
import { fulfil } from "../src/typed-messages/Fulfilment.js"
import { Mail, mails, OrderCancelled, OrderPlaced, orders } from "../src/typed-messages/Messages.js"
import { play } from "../src/typed-messages/Play.js"

describe("typed messages", () => {
  it.effect("through SQS: each order reaches its handler, in its version; the rest are dead letters", () =>
    Effect.gen(function* () {
      const outcome = yield* Story.simulated(play.pipe(Logger.withMinimumLogLevel(LogLevel.None)))
      expect(outcome.mails.map(({ text, to }) => `${to}: ${text}`).sort()).toEqual([
        "ada: 2 parcels of order 1 are on their way",
        "ada: order 1 is cancelled",
        "bob: 1 parcels of order 2 are on their way"
      ])
      expect(outcome.deadLetters.map((body) => JSON.parse(body).type).sort()).toEqual([
        "com.example.OrderPlaced.v2",
        "com.example.OrderPraised"
      ])
    })
  )

  it.effect("without SQS: typed messages in, typed mails out", () =>
    Effect.gen(function* () {
      const source = yield* MemoryChannel.make(orders, { ordered: true })
      const double = yield* MemoryChannel.make(mails)
      yield* source.send(OrderPlaced.of({ order: "1", customer: "ada", lines: [{ sku: "lamp", count: 3 }] }))
      yield* source.send(OrderCancelled.of({ order: "1", customer: "ada" }))
      yield* Consumer.stream(source.queue, { drainWhenIdle: 0, wait: "1 second" }).pipe(fulfil(double), Stream.runDrain)
      expect(yield* double.sent).toEqual([
        Mail.of({ to: "ada", text: "3 parcels of order 1 are on their way" }),
        Mail.of({ to: "ada", text: "order 1 is cancelled" })
      ])
    }).pipe(Logger.withMinimumLogLevel(LogLevel.None), (program) => Story.simulated(program))
  )

  it("its document names the queues, and each message in every version that is read", () => {
    const { channels, operations } = document
    expect(Object.values(channels).map(({ address }) => address)).toEqual(["shop-orders.fifo", "shop-mails"])
    expect(Object.keys(channels["orders"]?.messages ?? {})).toEqual(["OrderPlaced.v2", "OrderPlaced", "OrderCancelled"])
    expect(Object.keys(operations)).toEqual(["receive.orders", "send.mails"])
    expect(Object.keys(document.components.schemas)).toContain("Line")
  })
})
