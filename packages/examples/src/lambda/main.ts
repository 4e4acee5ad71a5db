/**
 * A Lambda function and the event source mapping in front of it, on this machine.
 *
 *   npm run lambda -- --help
 */
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { LambdaPoller, SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import { Console, Effect, Layer } from "effect"
import * as Cli from "../Cli.js"
import { count, table } from "../Format.js"
import * as Orders from "./Orders.js"
import { shipped } from "./Warehouse.js"

const usage = `Usage: npm run lambda -- [options]

Sends ${Orders.total} orders to a queue of the emulator and invokes the function of src/lambda/handler.ts with them, as
Lambda does: in batches of up to 25, five at once. Ends with 1 where an order was lost or shipped twice.

  --help  this text`

const read = Effect.try({
  try: () => parseArgs({ options: { help: { type: "boolean", default: false } } }).values,
  catch: (cause) => new Cli.BadArguments({ message: cause instanceof Error ? cause.message : String(cause) })
})

/** The module as Lambda loads it, with the environment in which it finds its queue. */
const load = (endpoint: string) =>
  Effect.promise(() => {
    Object.assign(process.env, {
      AWS_ENDPOINT_URL_SQS: endpoint,
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: "any",
      AWS_SECRET_ACCESS_KEY: "any"
    })
    return import("./handler.js")
  })

const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

const play = Effect.gen(function* () {
  const sqs = yield* SqsEmulator.SqsEmulator
  const { endpoint } = yield* SqsHttp.SqsHttp
  const { handler } = yield* load(endpoint)
  yield* sqs.send(
    Orders.queue,
    Array.from({ length: Orders.total }, (_, id) => Orders.body(id))
  )
  const poller = yield* LambdaPoller.make(Orders.queue, Effect.succeed(handler), {
    batchSize: 25,
    window: "1 second",
    timeout: "5 seconds",
    reportBatchItemFailures: true
  })
  yield* sqs.idle(Orders.queue)
  const invocations = yield* poller.invocations
  const begin = Math.min(...invocations.map(({ at }) => at))
  yield* Console.log(
    table(
      [
        ["invoked after", "messages", "reported", "outcome", "took"],
        ...invocations.map(({ at, failures, millis, outcome, records }) => [
          seconds(at - begin),
          String(records.length),
          String(failures.length),
          outcome,
          seconds(millis)
        ])
      ],
      ["right", "right", "right", "left", "right"]
    )
  )
  const letters = yield* sqs.messages(Orders.deadLetters)
  const once = [...shipped.values()].filter((times) => times === 1).length
  const isRight = once === Orders.total - 2 && shipped.size === once && letters.length === 2
  yield* Console.log(
    [
      "",
      `${count(once)} of ${count(Orders.total)} orders shipped once, ${shipped.size - once} more often; dead letters:`,
      ...letters.map(({ body }) => `  ${body}`).sort(),
      isRight ? "Each order is where it should be." : "That is wrong."
    ].join("\n")
  )
  return isRight ? 0 : 1
})

const emulator = SqsHttp.layer({ port: 0 }).pipe(
  Layer.provideMerge(
    SqsEmulator.layer({
      queues: {
        [Orders.queue]: {
          visibilityTimeout: "31 seconds",
          deadLetter: { queue: Orders.deadLetters, maxReceiveCount: 10 }
        }
      }
    })
  )
)

const main = Effect.flatMap(read, ({ help }) =>
  help ? Effect.as(Console.log(usage), 0) : Effect.scoped(Effect.provide(play, emulator))
)

// A container does not end by itself: the function's connections would keep the process for a minute.
NodeRuntime.runMain(Cli.exitWith(main, usage), {
  teardown: (exit) => Cli.teardown(exit, (code) => process.exit(code))
})
