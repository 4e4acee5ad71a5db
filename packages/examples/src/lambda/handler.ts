/**
 * The function as it is deployed: this file, bundled as `index.mjs`, is the code of `deploy/lambda.yaml`.
 *
 *   npx esbuild src/lambda/handler.ts --bundle --minify --platform=node --target=node22 --format=esm --outfile=index.mjs
 */
import { Pipeline, RetryPolicy } from "@millrace/core"
import { SqsLambda } from "@millrace/sqs/lambda"
import { Effect, Schedule } from "effect"
import { Order } from "./Orders.js"
import * as Warehouse from "./Warehouse.js"

/** What no attempt can help is dead-lettered with its reason; a busy warehouse is asked again, a second later and so on. */
const retry = RetryPolicy.match({
  OutOfStock: RetryPolicy.deadLetter,
  Busy: RetryPolicy.redeliver(Schedule.exponential("1 second"), { attempts: 5 })
}).pipe(RetryPolicy.orElse(RetryPolicy.standard))

export const handler = SqsLambda.handler(
  (deliveries) =>
    deliveries.pipe(
      Pipeline.decodeJson(Order),
      Pipeline.process((order) => Effect.flatMap(Warehouse.Warehouse, ({ ship }) => ship(order)), {
        concurrency: 10,
        retry
      })
    ),
  { layer: Warehouse.layer, reportBatchItemFailures: true }
)
