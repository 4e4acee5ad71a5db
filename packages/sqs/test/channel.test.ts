/** The messages of a channel through SQS: what the producer takes from their declarations, and EventBridge's detail-type. */
import { expect, it } from "@effect/vitest"
import { Channel, CloudEvents, Message, Pipeline } from "@millrace/core"
import { SqsConsumer, SqsEnvelope, SqsProducer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Schema, Stream } from "effect"

const Placed = Message.make("Placed", {
  version: 2,
  schema: Schema.Struct({ order: Schema.String, customer: Schema.String }),
  group: ({ customer }) => customer,
  deduplicationId: ({ order }) => order
})
const Cancelled = Message.make("Cancelled", { schema: Schema.Struct({ order: Schema.String }), group: () => "all" })
const Ungrouped = Message.make("Ungrouped", { schema: Schema.String })

const layer = SqsEmulator.layer({ queues: { orders: {}, "orders.fifo": {} } })

for (const [queue, envelope] of [
  ["orders", undefined],
  ["orders.fifo", CloudEvents.binary({ source: "/shop" })],
  ["orders", SqsEnvelope.detailType({ source: "shop" })]
] as const) {
  it.scoped(`the producer of a channel: ${queue}, ${envelope === undefined ? "attributes" : "an envelope"}`, () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const shop = Channel.make("shop", { messages: [Placed, Cancelled], envelope })
      const producer = yield* SqsProducer.forChannel(queue, shop, { linger: 0 })
      const placed = Placed.of({ order: "1", customer: "c" })
      yield* producer.send(placed)
      if (queue === "orders.fifo") yield* producer.send(placed)
      yield* producer.send(Cancelled.of({ order: "2" }))
      const got: Array<unknown> = []
      yield* SqsConsumer.stream(queue).pipe(
        Pipeline.route(shop, {
          Placed: (body, { message }) => Effect.sync(() => got.push([body.order, message.group])),
          Cancelled: ({ order }, { message }) => Effect.sync(() => got.push([order, message.group]))
        }),
        Stream.runDrain,
        Effect.forkScoped
      )
      yield* sqs.settled(queue, 2)
      expect(got.sort()).toEqual([
        ["1", "c"],
        ["2", "all"]
      ])
    }).pipe(Effect.provide(layer))
  )
}

it.effect(
  "what the declarations say is no option of a channel's producer, and a channel is demanded, of JavaScript too",
  () =>
    Effect.gen(function* () {
      const channel = Channel.make("shop", { messages: [Placed] })
      // Without the producer, which nobody could read in a failure.
      const refusal = (of: typeof channel, options: SqsProducer.ChannelOptions) =>
        SqsProducer.forChannel("orders", of, options).pipe(Effect.asVoid, Effect.scoped, Effect.flip)
      const asGiven = (options: unknown) => options as SqsProducer.ChannelOptions
      for (const [options, says] of [
        [{ codec: SqsProducer.plain }, "codec is not an option of SqsProducer.forChannel"],
        [{ group: "all" }, "group is not an option of SqsProducer.forChannel"],
        [{ deduplicationId: "content" }, "deduplicationId is not an option of SqsProducer.forChannel"],
        [{ attributes: () => ({}) }, "attributes is a function"],
        [{ linger: "soon" }, 'linger is "soon"']
      ] as const) {
        const refused = yield* refusal(channel, asGiven(options))
        expect(refused).toMatchObject({ _tag: "InvalidOptions", message: expect.stringContaining(says) })
      }
      for (const none of [undefined, {}, Placed]) {
        const refused = yield* refusal(none as unknown as typeof channel, {})
        expect(refused).toMatchObject({ _tag: "InvalidOptions", option: "channel" })
        expect(refused.message).toContain("write what Channel.make gives")
      }
    }).pipe(Effect.provide(layer))
)

it.scoped(
  "what cannot be sent is refused: a group that FIFO demands, data that do not fit, another channel's message",
  () =>
    Effect.gen(function* () {
      const channel = Channel.make("mixed", { messages: [Placed, Ungrouped] })
      const refused = yield* Effect.flip(SqsProducer.forChannel("orders.fifo", channel))
      expect(refused.message).toContain("Ungrouped of mixed declares no group")
      const producer = yield* SqsProducer.forChannel("orders", channel)
      // @ts-expect-error not of the channel
      const foreign = yield* Effect.flip(producer.send(Cancelled.of({ order: "1" })))
      expect(foreign).toMatchObject({ _tag: "MessageRejected", reason: "NotEncodable" })
      expect(foreign.message).toContain("it is no message of mixed")
      // @ts-expect-error no order
      const unfit = yield* Effect.flip(producer.send(Placed.of({ customer: "c" })))
      expect(unfit).toMatchObject({ _tag: "MessageRejected", reason: "NotEncodable" })
    }).pipe(Effect.provide(layer))
)
