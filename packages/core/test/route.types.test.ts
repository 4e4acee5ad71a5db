// @effect-diagnostics floatingEffect:off
// What must not compile is not run.
/** The types of messages, channels and routes: what is inferred, and what must not compile. */
import { Channel, type Delivery, type InvalidOptions, Message, Pipeline, RetryPolicy } from "@millrace/core"
import { Context, Data, DateTime, Effect, Schema, Stream } from "effect"
import { expectTypeOf, it } from "vitest"

class OutOfStock extends Data.TaggedError("OutOfStock")<{ readonly sku: string }> {}
class Refused extends Data.TaggedError("Refused")<{}> {}
class Shop extends Context.Tag("Shop")<Shop, { readonly open: boolean }>() {}

const Placed = Message.make("Placed", { schema: Schema.Struct({ sku: Schema.String }), group: ({ sku }) => sku })
const Cancelled = Message.make("Cancelled", { schema: Schema.Struct({ id: Schema.Number }) })
const Shipped = Message.make("Shipped", { schema: Schema.Struct({ at: Schema.Date }) })
const shop = Channel.make("shop", { messages: [Placed, Cancelled] })

const stream: Stream.Stream<Delivery.Delivery<string>> = Stream.empty
const types = (name: string, _body: () => void) => it(name, () => {})

types("a route infers each handler's result, requirements and failure, and its body from the channel", () => {
  const routed = stream.pipe(
    Pipeline.route(shop, {
      Placed: ({ sku }, delivery) => {
        expectTypeOf(delivery.body).toMatchTypeOf<Effect.Effect<{ readonly sku: string }>>()
        return sku === "" ? Effect.fail(new OutOfStock({ sku })) : Effect.succeed("placed" as const)
      },
      Cancelled: {
        handler: ({ id }) => (id === 0 ? Effect.fail(new Refused()) : Effect.as(Shop, id)),
        concurrency: 2,
        timeout: "5 seconds",
        retry: RetryPolicy.deadLetter
      }
    })
  )
  expectTypeOf(routed).toEqualTypeOf<Stream.Stream<"placed" | number, InvalidOptions.InvalidOptions, Shop>>()
})

types("the route's own policy is told of unknown messages and of every handler's failure", () => {
  stream.pipe(
    Pipeline.route(
      shop,
      { Placed: ({ sku }) => Effect.fail(new OutOfStock({ sku })), Cancelled: () => Effect.void },
      {
        retry: (failure) => {
          expectTypeOf(failure._tag).toEqualTypeOf<
            "OutOfStock" | "UnknownMessage" | "DecodeError" | "HandlerDefect" | "HandlerTimeout"
          >()
          return RetryPolicy.standard
        }
      }
    )
  )
})

types("a missing, misspelt or additional handler does not compile", () => {
  // @ts-expect-error Cancelled has no handler
  stream.pipe(Pipeline.route(shop, { Placed: () => Effect.void }))
  // @ts-expect-error it is Cancelled
  stream.pipe(Pipeline.route(shop, { Placed: () => Effect.void, Canceled: () => Effect.void }))
  const more = { Placed: () => Effect.void, Cancelled: () => Effect.void, Shipped: () => Effect.void }
  // @ts-expect-error there is no Shipped
  stream.pipe(Pipeline.route(shop, more))
  // @ts-expect-error a body has no name
  stream.pipe(Pipeline.route(shop, { Placed: ({ name }) => Effect.succeed(name), Cancelled: () => Effect.void }))
  // @ts-expect-error no such option
  stream.pipe(Pipeline.route(shop, { Placed: { handler: () => Effect.void, slots: 1 }, Cancelled: () => Effect.void }))
  // @ts-expect-error a handler is an effect
  stream.pipe(Pipeline.route(shop, { Placed: () => 1, Cancelled: () => Effect.void }))
})

types("what a channel carries is a union by name; nothing else encodes", () => {
  expectTypeOf<Channel.Value<typeof shop>>().toEqualTypeOf<
    Message.Value<"Placed", { readonly sku: string }> | Message.Value<"Cancelled", { readonly id: number }>
  >()
  const encode = Channel.encode(shop)
  encode(Placed.of({ sku: "a" }))
  // @ts-expect-error not of the channel
  encode(Shipped.of({ at: DateTime.toDateUtc(DateTime.unsafeMake(0)) }))
  // @ts-expect-error not its data
  encode(Placed.of({ id: 1 }))
  // @ts-expect-error another message
  Placed.pipe(Message.lift(Cancelled, () => ({ sku: "a" })))
})

types("decodeChannel gives the union, and the failures", () => {
  expectTypeOf(stream.pipe(Pipeline.decodeChannel(shop))).toEqualTypeOf<
    Stream.Stream<Delivery.Delivery<Channel.Value<typeof shop>, Channel.UnknownMessage | Delivery.DecodeError>>
  >()
})

types("maxAge adds Stale, tap adds its failure and keeps the body", () => {
  const tapped = stream.pipe(
    Pipeline.maxAge("1 minute"),
    Pipeline.tap((body: string) => (body === "" ? Effect.fail(new Refused()) : Effect.as(Shop, 1)))
  )
  expectTypeOf(tapped).toEqualTypeOf<
    Stream.Stream<Delivery.Delivery<string, Delivery.Stale | Refused>, InvalidOptions.InvalidOptions, Shop>
  >()
})
