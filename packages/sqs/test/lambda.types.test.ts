// @effect-diagnostics missingEffectContext:off
// What must not compile is expected not to.
/** The types of `SqsLambda.handler`: a layer is asked for where the pipeline needs one, and nowhere else. */
import { Pipeline } from "@millrace/core"
import { SqsLambda } from "@millrace/sqs/lambda"
import { Context, Effect, Layer, Schema, Stream } from "effect"
import { expectTypeOf, it } from "vitest"

class Shop extends Context.Tag("Shop")<Shop, { readonly ship: (sku: string) => Effect.Effect<void, "closed"> }>() {}
const shop = Layer.succeed(Shop, { ship: () => Effect.void })
const ship = (sku: string) => Effect.flatMap(Shop, (service) => service.ship(sku))
const Order = Schema.parseJson(Schema.Struct({ sku: Schema.String }))

const types = (name: string, _body: () => void) => it(name, () => {})

types("a pipeline written in place that needs nothing takes options without a layer, or none", () => {
  const reportBatchItemFailures = true
  const handler = SqsLambda.handler(
    (deliveries) =>
      deliveries.pipe(
        Pipeline.decode(Order),
        Pipeline.process((order) => {
          expectTypeOf(order).toEqualTypeOf<{ readonly sku: string }>()
          return Effect.void
        })
      ),
    { reportBatchItemFailures }
  )
  expectTypeOf(handler).toEqualTypeOf<SqsLambda.Handler>()
  SqsLambda.handler((deliveries) => deliveries.pipe(Pipeline.process(Effect.log)))
  SqsLambda.handler(Pipeline.process(Effect.log), { reportBatchItemFailures })
  SqsLambda.handler(Stream.take(0), { margin: "1 second" })
  SqsLambda.handler((deliveries) =>
    deliveries.pipe(Pipeline.process(() => Effect.addFinalizer(() => Effect.void), { concurrency: 2 }))
  )
  SqsLambda.handler((deliveries) => deliveries.pipe(Pipeline.process(Effect.log)), { layer: shop })
})

types("a pipeline that needs a service takes its layer, and does not compile without", () => {
  SqsLambda.handler((deliveries) => deliveries.pipe(Pipeline.process(ship)), { layer: shop })
  SqsLambda.handler(Pipeline.process(ship), { layer: shop, reportBatchItemFailures: true })
  SqsLambda.handler(
    (deliveries) =>
      deliveries.pipe(
        Pipeline.process((sku) => Effect.addFinalizer(() => Effect.orDie(ship(sku))), { concurrency: 2 })
      ),
    { layer: shop }
  )
  // @ts-expect-error it needs the shop
  SqsLambda.handler((deliveries) => deliveries.pipe(Pipeline.process(ship)))
  // @ts-expect-error it needs the shop
  SqsLambda.handler(Pipeline.process(ship), { reportBatchItemFailures: true })
  // @ts-expect-error not any layer
  SqsLambda.handler(Pipeline.process(ship), { layer: Layer.empty })
})
