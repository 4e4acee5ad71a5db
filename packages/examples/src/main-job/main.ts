/**
 * GitHub webhooks through an SQS queue: sent, received, decoded, worked on, counted, and deleted only then.
 *
 *   npm start -- --help
 */
import { NodeRuntime } from "@effect/platform-node"
import { Diagnosis, Pipeline, ProcessLoad, RetryPolicy } from "@millrace/core"
import { SqsBacklog } from "@millrace/sqs"
import { Console, Duration, Effect, Layer, Random, Schedule, Stream } from "effect"
import * as Cli from "../Cli.js"
import * as Monitor from "../Monitor.js"
import * as Aws from "./Aws.js"
import * as Crew from "./Crew.js"
import * as Emulated from "./Emulated.js"
import * as Evidence from "./Evidence.js"
import * as Load from "./Load.js"
import * as Options from "./Options.js"
import * as Record from "./Record.js"
import * as Report from "./Report.js"
import * as Tally from "./Tally.js"
import { Target } from "./Target.js"
import * as Verdict from "./Verdict.js"
import * as View from "./View.js"
import { Webhook } from "./Webhook.js"
import { work } from "./Work.js"

/** A failure comes back after 1, 2, 4, 8, then 10 seconds; after ten attempts it is the queue's to decide. */
const delays = Schedule.exponential("1 second").pipe(Schedule.union(Schedule.spaced("10 seconds")))
const retry = RetryPolicy.redeliver(delays, { attempts: 10 }).pipe(RetryPolicy.orElse(RetryPolicy.leave))

const job = (options: Options.Options) =>
  Effect.gen(function* () {
    const { concurrency, maxInFlight, messages, seed } = options
    const { place, queue } = yield* Target
    const record = yield* Record.Record
    yield* Console.log(`${messages} GitHub webhooks through the queue ${queue.name} of ${place}; seed ${seed}\n`)

    const crew = yield* Crew.make(queue, {
      maxInFlight,
      takeOver: record.handled(messages / 2),
      done: record.done(Duration.times(queue.visibilityTimeout, 3))
    })
    const counting = Stream.fromIterable(crew.streams).pipe(
      Stream.flatMap((deliveries) =>
        deliveries.pipe(
          Pipeline.decodeJson(Webhook),
          Pipeline.process(record.noting(work(seed)), { concurrency, retry })
        )
      ),
      Stream.runFold(Tally.empty, Tally.add)
    )

    const backlog = yield* SqsBacklog.make(queue, { every: "1 second", window: "10 seconds" })
    const watched = yield* Diagnosis.of(crew.figures, backlog, { every: "1 second" })
    const entry = (consumer: Crew.Crew["consumers"]["first"]) => ({ consumer, backlog, controls: { pause: true } })
    const { first, second } = crew.consumers
    const monitor =
      options.dashboard === undefined
        ? undefined
        : yield* Monitor.serve({
            port: options.dashboard,
            every: "500 millis",
            consumers: Effect.succeed({ first: entry(first), second: entry(second) })
          })
    const [tally] = yield* Effect.scoped(
      Effect.zipRight(
        View.live(crew.stats),
        Effect.all([counting, Load.send(queue, messages)], { concurrency: "unbounded" })
      )
    )
    const diagnosis = yield* watched.now
    const verdict = Verdict.judge(yield* Evidence.gather(crew.stats, tally, maxInFlight))
    yield* Report.print(tally, verdict, diagnosis, options)
    if (monitor !== undefined) return yield* Monitor.stay(monitor)
    return Verdict.exitCode(verdict)
  }).pipe(Effect.scoped)

const main = Effect.gen(function* () {
  const options = yield* Options.read(process.argv.slice(2))
  if (options === undefined) return yield* Effect.as(Console.log(Options.usage), 0)
  return yield* job(options).pipe(
    options.queue === undefined ? Effect.provide(Emulated.layer(options)) : Effect.provide(Aws.layer(options.queue)),
    Effect.provide(Layer.merge(Record.layer, ProcessLoad.layer)),
    Effect.withRandom(Random.make(options.seed))
  )
})

NodeRuntime.runMain(Cli.exitWith(main, Options.usage), { teardown: Cli.teardown })
