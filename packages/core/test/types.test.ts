// @effect-diagnostics floatingEffect:off
// What must not compile is not run.
/**
 * The types of the public surface: what is inferred through a pipeline, and what must not compile. `tsc` checks it; run,
 * it only makes the pipelines and runs none.
 */
import {
  Consumer,
  type Delivery,
  type InvalidOptions,
  type LeaseQueue,
  Pipeline,
  RetryPolicy,
  Settlement,
  Tunable
} from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Context, Data, Effect, Either, type Exit, ParseResult, Schedule, Schema, type Scope, Stream } from "effect"
import { describe, expectTypeOf, it } from "vitest"

class OutOfStock extends Data.TaggedError("OutOfStock")<{ readonly sku: string }> {}
class HttpError extends Data.TaggedError("HttpError")<{ readonly status: number }> {}
class Shop extends Context.Tag("Shop")<Shop, { readonly open: boolean }>() {}
class Rates extends Context.Tag("Rates")<Rates, { readonly chf: number }>() {}

const Order = Schema.Struct({ order_id: Schema.Number })
type Order = typeof Order.Type

declare const queue: LeaseQueue.LeaseQueue<HttpError>
declare const orders: Stream.Stream<Delivery.Delivery<Order, Delivery.DecodeError>, HttpError>

type Own = Delivery.HandlerDefect | Delivery.HandlerTimeout

/** Looks at types alone: nothing in it is run. */
const types = (name: string, _body: () => void) => it(name, () => {})

describe("a consumer", () => {
  types("fails with its queue's errors and refused options, and needs nothing", () => {
    expectTypeOf(Consumer.stream(queue)).toEqualTypeOf<
      Stream.Stream<Delivery.Delivery<string>, HttpError | InvalidOptions.InvalidOptions>
    >()
    expectTypeOf(Consumer.make(queue)).toEqualTypeOf<
      Effect.Effect<Consumer.Consumer<HttpError>, InvalidOptions.InvalidOptions, Scope.Scope>
    >()
    expectTypeOf(Effect.runSync(MemoryQueue.make())).toMatchTypeOf<
      LeaseQueue.LeaseQueue<MemoryQueue.MemoryQueueError>
    >()
  })

  types("takes the options that there are", () => {
    Consumer.stream(queue, { maxInFlight: 5, wait: "5 seconds", linger: 0, heartbeat: false })
    Consumer.stream(queue, { maxInFlight: undefined })
    // @ts-expect-error no such option
    Consumer.stream(queue, { maxInflight: 5 })
    // @ts-expect-error not a time
    Consumer.stream(queue, { wait: "5 secs" })
    // @ts-expect-error a text
    Consumer.stream(queue, { maxInFlight: "5" })
    // @ts-expect-error the source of a pipeline is a queue
    Consumer.stream("orders")
  })
})

describe("stages", () => {
  types("decodeJson: the Schema's type, its requirements, and DecodeError on the delivery, not on the stream", () => {
    expectTypeOf(Consumer.stream(queue).pipe(Pipeline.decodeJson(Order))).toEqualTypeOf<
      Stream.Stream<Delivery.Delivery<Order, Delivery.DecodeError>, HttpError | InvalidOptions.InvalidOptions>
    >()
    const Priced = Schema.transformOrFail(Schema.Number, Schema.Number, {
      strict: true,
      decode: (price) => Effect.map(Rates, ({ chf }) => price * chf),
      encode: ParseResult.succeed
    })
    expectTypeOf(Consumer.stream(queue).pipe(Pipeline.decodeJson(Priced))).toEqualTypeOf<
      Stream.Stream<Delivery.Delivery<number, Delivery.DecodeError>, HttpError | InvalidOptions.InvalidOptions, Rates>
    >()
    // @ts-expect-error JSON has been decoded already
    orders.pipe(Pipeline.decodeJson(Order))
    // @ts-expect-error the bodies are texts
    Consumer.stream(queue).pipe(Pipeline.decode(Schema.NumberFromSelf))
  })

  types("process: results, errors of the stream, requirements of the handler", () => {
    const processed = orders.pipe(
      Pipeline.process(({ order_id }) =>
        Effect.gen(function* () {
          const { open } = yield* Shop
          if (!open) return yield* new OutOfStock({ sku: "a" })
          return `order ${order_id}`
        })
      )
    )
    // What the handler failed with is the policy's: it is no failure of the stream.
    expectTypeOf(processed).toEqualTypeOf<Stream.Stream<string, HttpError | InvalidOptions.InvalidOptions, Shop>>()
  })

  types("an inline handler keeps its error type where the policy is a function", () => {
    orders.pipe(
      Pipeline.process(
        (order, delivery) => {
          expectTypeOf(order).toEqualTypeOf<Order>()
          expectTypeOf(delivery).toEqualTypeOf<Delivery.Delivery<Order, Delivery.DecodeError>>()
          return Effect.gen(function* () {
            if (order.order_id > 0) return yield* new OutOfStock({ sku: "a" })
            return yield* new HttpError({ status: 500 })
          })
        },
        {
          retry: (failure, delivery) => {
            expectTypeOf(failure).toEqualTypeOf<OutOfStock | HttpError | Delivery.DecodeError | Own>()
            expectTypeOf(delivery).toEqualTypeOf<Delivery.Delivery<Order, Delivery.DecodeError>>()
            return failure._tag === "OutOfStock" ? RetryPolicy.deadLetter : RetryPolicy.standard
          }
        }
      )
    )
  })

  types("a policy for certain errors goes where there are no others", () => {
    const onHttp: RetryPolicy.RetryPolicy<HttpError> = RetryPolicy.redeliver(Schedule.identity<HttpError>())
    const http = () => Effect.fail(new HttpError({ status: 500 }))
    expectTypeOf(RetryPolicy.leave).toMatchTypeOf<RetryPolicy.RetryPolicy<HttpError>>()
    expectTypeOf(RetryPolicy.orElse(onHttp, RetryPolicy.leave)).toEqualTypeOf<RetryPolicy.RetryPolicy<HttpError>>()
    expectTypeOf(onHttp.pipe(RetryPolicy.orElse(RetryPolicy.leave))).toEqualTypeOf<RetryPolicy.RetryPolicy<HttpError>>()
    // @ts-expect-error a defect is a failure too
    orders.pipe(Pipeline.process(http, { retry: onHttp }))
    orders.pipe(
      Pipeline.process(http, {
        retry: RetryPolicy.match<HttpError>({ HttpError: onHttp }).pipe(RetryPolicy.orElse(RetryPolicy.deadLetter))
      })
    )
    // @ts-expect-error a function of the schedule's input must take what may come
    RetryPolicy.redeliver<OutOfStock>(Schedule.identity<HttpError>())
  })

  types("mapEffect and settle: an earlier stage's failure is known where the policy stands", () => {
    const mapped = orders.pipe(
      Pipeline.mapEffect(({ order_id }) =>
        Effect.flatMap(Rates, () => Effect.fail(new OutOfStock({ sku: `${order_id}` })))
      ),
      Pipeline.map((never) => never as string)
    )
    expectTypeOf(mapped).toEqualTypeOf<
      Stream.Stream<
        Delivery.Delivery<string, Delivery.DecodeError | OutOfStock>,
        HttpError | InvalidOptions.InvalidOptions,
        Rates
      >
    >()
    const settled = mapped.pipe(
      Pipeline.settle({
        retry: (failure) => {
          expectTypeOf(failure).toEqualTypeOf<Delivery.DecodeError | OutOfStock | Own>()
          return RetryPolicy.deadLetter
        }
      })
    )
    expectTypeOf(settled).toEqualTypeOf<Stream.Stream<string, HttpError | InvalidOptions.InvalidOptions, Rates>>()
  })

  types("processBatches: each message's own failure and the batch's", () => {
    const batches = orders.pipe(
      Pipeline.processBatches(
        (bodies, deliveries) => {
          expectTypeOf(bodies).toEqualTypeOf<ReadonlyArray<Order>>()
          expectTypeOf(deliveries).toEqualTypeOf<ReadonlyArray<Delivery.Delivery<Order, Delivery.DecodeError>>>()
          const each = bodies.map(
            ({ order_id }): Either.Either<number, OutOfStock> =>
              order_id > 0 ? Either.right(order_id) : Either.left(new OutOfStock({ sku: "a" }))
          )
          return Effect.zipRight(
            Effect.if(true, { onTrue: () => Effect.void, onFalse: () => new HttpError({ status: 1 }) }),
            Effect.as(Shop, each)
          )
        },
        {
          max: 10,
          retry: (failure) => {
            expectTypeOf(failure).toEqualTypeOf<OutOfStock | HttpError | Delivery.DecodeError | Own>()
            return RetryPolicy.leave
          }
        }
      )
    )
    expectTypeOf(batches).toEqualTypeOf<Stream.Stream<number, HttpError | InvalidOptions.InvalidOptions, Shop>>()
    // A handler that answers with nothing.
    expectTypeOf(orders.pipe(Pipeline.processBatches(() => Effect.void, { max: 10 }))).toEqualTypeOf<
      Stream.Stream<never, HttpError | InvalidOptions.InvalidOptions>
    >()
    // @ts-expect-error how many?
    orders.pipe(Pipeline.processBatches(() => Effect.void, {}))
    // @ts-expect-error the answer is no Either for each
    orders.pipe(Pipeline.processBatches((bodies) => Effect.succeed(bodies.length), { max: 10 }))
  })

  types("split: parts are deliveries, which fail as their message may have failed before", () => {
    const parts = orders.pipe(Pipeline.split(({ order_id }) => [String(order_id)]))
    expectTypeOf(parts).toEqualTypeOf<
      Stream.Stream<Delivery.Delivery<string, Delivery.DecodeError>, HttpError | InvalidOptions.InvalidOptions>
    >()
    // @ts-expect-error a number has no parts
    orders.pipe(Pipeline.split(({ order_id }) => order_id))
    // @ts-expect-error what is asynchronous goes into mapEffect
    orders.pipe(Pipeline.split(async ({ order_id }) => [order_id]))
  })

  types("coalesce: deliveries as they were; a fold makes one body of two", () => {
    expectTypeOf(
      orders.pipe(Pipeline.coalesce({ key: ({ order_id }) => String(order_id), fold: (_, next) => next }))
    ).toEqualTypeOf<
      Stream.Stream<Delivery.Delivery<Order, Delivery.DecodeError>, HttpError | InvalidOptions.InvalidOptions>
    >()
    // @ts-expect-error without a key nothing belongs together
    orders.pipe(Pipeline.coalesce({ within: "1 second" }))
    // @ts-expect-error a fold gives a body
    orders.pipe(Pipeline.coalesce({ key: "group", fold: (before: Order) => before.order_id }))
  })

  types(
    "around: the middleware's failures are known to the policy, and what it provides is no need of the stream",
    () => {
      // Shop is what the middleware needs, Tenant what it provides, Rates what the handler needs beside it.
      class Tenant extends Context.Tag("Tenant")<Tenant, string>() {}
      const rated = (_: Order) =>
        Effect.zipRight(Rates, Effect.zipRight(Tenant, Effect.fail(new OutOfStock({ sku: "a" }))))
      type Expected = Stream.Stream<never, HttpError | InvalidOptions.InvalidOptions, Shop | Rates>
      const findTenant = Effect.flatMap(Shop, ({ open }) =>
        open ? Effect.succeed("a") : new HttpError({ status: 404 })
      )
      const flat = orders.pipe(
        Pipeline.around(
          (handler: Pipeline.Handler<Tenant>) =>
            Effect.flatMap(findTenant, (tenant) => Effect.provideService(handler, Tenant, tenant)),
          (deliveries) =>
            deliveries.pipe(
              Pipeline.process(rated, {
                retry: (failure, delivery) => {
                  expectTypeOf(failure).toEqualTypeOf<OutOfStock | HttpError | Delivery.DecodeError | Own>()
                  expectTypeOf(delivery).toEqualTypeOf<Delivery.Delivery<Order, Delivery.DecodeError | HttpError>>()
                  return RetryPolicy.leave
                }
              })
            )
        )
      )
      expectTypeOf(flat).toEqualTypeOf<Expected>()
      // Written as a generator, and with the stage itself as the pipeline.
      const generated = orders.pipe(
        Pipeline.around(
          (handler: Pipeline.Handler<Tenant>, [delivery]) =>
            Effect.gen(function* () {
              expectTypeOf(delivery).toEqualTypeOf<Delivery.Delivery<unknown, unknown>>()
              const { open } = yield* Shop
              if (!open) return yield* new HttpError({ status: 404 })
              return yield* Effect.provideService(handler, Tenant, "a")
            }),
          Pipeline.process((order) => rated(order), {
            retry: (failure) => (failure._tag === "HttpError" ? RetryPolicy.leave : RetryPolicy.standard)
          })
        )
      )
      expectTypeOf(generated).toEqualTypeOf<Expected>()
      // One that provides nothing, and adds nothing to the types.
      expectTypeOf(
        orders.pipe(
          Pipeline.around(
            (handler) => Effect.withSpan(handler, "order"),
            Pipeline.mapEffect(() => Rates)
          ),
          Pipeline.settle()
        )
      ).toEqualTypeOf<Stream.Stream<{ readonly chf: number }, HttpError | InvalidOptions.InvalidOptions, Rates>>()
      // What it is said to provide and does not is needed.
      expectTypeOf(
        orders.pipe(
          Pipeline.around(
            (handler: Pipeline.Handler<Tenant>) => handler,
            Pipeline.process(() => Tenant)
          )
        )
      ).toEqualTypeOf<Stream.Stream<string, HttpError | InvalidOptions.InvalidOptions, Tenant>>()
      // @ts-expect-error the handler is left out
      orders.pipe(Pipeline.around(() => Effect.void, Pipeline.settle()))
    }
  )

  types("batch gives batches of deliveries", () => {
    expectTypeOf(orders.pipe(Pipeline.batch({ max: 10 }))).toEqualTypeOf<
      Stream.Stream<Pipeline.Batch<Order, Delivery.DecodeError>, HttpError | InvalidOptions.InvalidOptions>
    >()
    // A batch is a delivery of many.
    expectTypeOf(
      orders.pipe(
        Pipeline.batch({ max: 10 }),
        Pipeline.mapEffect((batch) => Effect.as(Shop, batch.length)),
        Pipeline.settle()
      )
    ).toEqualTypeOf<Stream.Stream<number, HttpError | InvalidOptions.InvalidOptions, Shop>>()
    orders.pipe(
      Pipeline.batch({ max: 10 }),
      // @ts-expect-error its body is a list
      Pipeline.process((order: Order) => Effect.succeed(order))
    )
  })

  types("wrong uses do not compile", () => {
    // @ts-expect-error not deliveries
    Stream.make("a").pipe(Pipeline.process(() => Effect.void))
    // @ts-expect-error the body is an Order
    orders.pipe(Pipeline.process((_: string) => Effect.void))
    // @ts-expect-error a handler is an effect
    orders.pipe(Pipeline.process(() => 1))
    // @ts-expect-error no such option
    orders.pipe(Pipeline.process(() => Effect.void, { concurency: 1 }))
    // @ts-expect-error no such way to sequence
    orders.pipe(Pipeline.process(() => Effect.void, { sequence: "groups" }))
    // @ts-expect-error a key is a text
    orders.pipe(Pipeline.process(() => Effect.void, { sequence: ({ order_id }) => order_id }))
    // @ts-expect-error a policy, not a settlement
    orders.pipe(Pipeline.process(() => Effect.fail("no"), { retry: () => Settlement.ack }))
    // @ts-expect-error mapEffect does not settle, so it has no policy
    orders.pipe(Pipeline.mapEffect(() => Effect.void, { retry: RetryPolicy.leave }))
  })

  types("merged streams of two queues: the errors of both", () => {
    const merged = Stream.merge(
      orders,
      Consumer.stream(Effect.runSync(MemoryQueue.make())).pipe(Pipeline.decodeJson(Order))
    )
    expectTypeOf(merged.pipe(Pipeline.process(({ order_id }) => Effect.succeed(order_id)))).toEqualTypeOf<
      Stream.Stream<number, HttpError | MemoryQueue.MemoryQueueError | InvalidOptions.InvalidOptions>
    >()
  })

  types("slots and bounds may be tunable", () => {
    const tuned = Effect.map(Tunable.make("slots", 5), (concurrency) =>
      orders.pipe(Pipeline.process(() => Effect.void, { concurrency }))
    )
    expectTypeOf(tuned).toEqualTypeOf<
      Effect.Effect<Stream.Stream<void, HttpError | InvalidOptions.InvalidOptions>, InvalidOptions.InvalidOptions>
    >()
  })
})

describe("a delivery", () => {
  types("its body is an Exit, so an effect; its settlements say how they fail", () => {
    const use = (delivery: Delivery.Delivery<Order, Delivery.DecodeError>) => {
      expectTypeOf(delivery.body).toEqualTypeOf<Exit.Exit<Order, Delivery.DecodeError>>()
      expectTypeOf(Effect.map(delivery.body, ({ order_id }) => order_id)).toEqualTypeOf<
        Effect.Effect<number, Delivery.DecodeError>
      >()
      expectTypeOf(delivery.ack).toEqualTypeOf<Effect.Effect<void, Settlement.LeaseLost | Settlement.AlreadySettled>>()
      expectTypeOf(delivery.extend("1 minute")).toEqualTypeOf<Effect.Effect<void, Settlement.SettleError>>()
      // @ts-expect-error not a time
      delivery.retry("soon")
      // @ts-expect-error it is read only
      delivery.attempt = 1
    }
    expectTypeOf(use).toBeFunction()
  })

  types("one that cannot have failed goes where one may have, and not the other way round", () => {
    expectTypeOf<Delivery.Delivery<string>>().toMatchTypeOf<Delivery.Delivery<string, Delivery.DecodeError>>()
    expectTypeOf<Delivery.Delivery<"a">>().toMatchTypeOf<Delivery.Delivery<string>>()
    expectTypeOf<Delivery.Delivery<string, Delivery.DecodeError>>().not.toMatchTypeOf<Delivery.Delivery<string>>()
  })
})
