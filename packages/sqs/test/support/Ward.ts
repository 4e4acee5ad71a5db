/**
 * A consumer on the emulator in virtual time, with what is wrong drawn up as plain data: messages come by chance at a
 * rate, handlers take a time by chance, and the diagnosis is taken as of a running program.
 */
import {
  Circuit,
  Consumer,
  Diagnosis,
  type Figures,
  type LeaseQueue,
  Pipeline,
  ProcessLoad,
  RetryPolicy
} from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import { SqsBacklog, SqsClient, type SqsError, SqsLeaseQueue } from "@millrace/sqs"
import { type Fault, SqsEmulator } from "@millrace/sqs/emulator"
import { Cause, Clock, type Duration, Effect, Exit, Logger, LogLevel, Random, Schedule, Scope, Stream } from "effect"

export interface Run {
  /** Seconds from the beginning. */
  readonly at: number
  /** Handlers that run, this one included. */
  readonly running: number
  readonly body: string
  readonly group: string | undefined
  readonly attempt: number
  readonly first: boolean
  /** From 0 to 1, by chance. */
  readonly draw: number
}

export interface Case {
  readonly fifo?: boolean
  /** In seconds. Default 30. */
  readonly visibilityTimeout?: number
  readonly latency?: Duration.DurationInput
  readonly inFlightLimit?: number
  /** Messages a second, at a second. */
  readonly arrivals: (at: number) => number
  /** Messages that wait at the beginning. */
  readonly backlog?: number
  /** Messages that another consumer has received and does not ack. */
  readonly hoarded?: number
  readonly group?: ((draw: number) => string) | undefined
  /** In milliseconds, on average. */
  readonly handler: (run: Run) => number
  /** How much it varies: 0 not at all, 1 as waiting times do. Default 0.5. */
  readonly spread?: number
  readonly fails?: (run: Run) => boolean
  /** Never ends for these. */
  readonly hangs?: (run: Run) => boolean
  readonly slots: number
  readonly consumer?: Consumer.Options
  /** `maxInFlight`. Default 100. */
  readonly permits?: number
  /** How the handler is run: by itself (the default), once for ten messages, or after a quick stage. */
  readonly stages?: "batches" | "two" | undefined
  /** Consumers beside the one that is watched. */
  readonly others?: number
  /** Ends the consumer then, and starts it anew after 3 seconds. */
  readonly deployAt?: number | undefined
  readonly odds?: Fault.Odds
  readonly operations?: ReadonlyArray<Fault.Operation>
  readonly faultsFrom?: number
  readonly load?: (at: number) => ProcessLoad.Load
  readonly wrap?: (
    queue: LeaseQueue.LeaseQueue<SqsError.SqsError>
  ) => Effect.Effect<LeaseQueue.LeaseQueue<SqsError.SqsError>>
  /** A circuit before the handler, which opens when it fails. */
  readonly circuit?: boolean
  /** Something done at a second. */
  readonly meanwhile?: (
    consumer: Consumer.Consumer<SqsError.SqsError>,
    sqs: SqsEmulator.Service
  ) => Effect.Effect<unknown, unknown>
  /** Seconds. Default 180. */
  readonly until?: number
  readonly options?: Diagnosis.WatchOptions
}

const idle: ProcessLoad.Load = { utilization: 0.3, delay: 1, delayP99: 4 }

/** A Poisson number: how many come where so many are expected. */
const poisson = (expected: number) =>
  Effect.gen(function* () {
    let left = expected
    let count = 0
    for (;;) {
      left += Math.log(1 - (yield* Random.next))
      if (left < 0) return count
      count++
    }
  })

export interface Seen {
  readonly diagnosis: Diagnosis.Diagnosis
  readonly figures: Figures.Figures
}

const program = (scenario: Case) =>
  Effect.scoped(
    Effect.gen(function* () {
      const name = scenario.fifo === true ? "work.fifo" : "work"
      const sqs = yield* SqsEmulator.make({
        latency: scenario.latency ?? "10 millis",
        keepDeleted: 0,
        inFlightLimit: scenario.inFlightLimit,
        queues: {
          [name]: {
            visibilityTimeout: `${scenario.visibilityTimeout ?? 30} seconds`,
            deadLetter: { queue: scenario.fifo === true ? "dead.fifo" : "dead", maxReceiveCount: 1000 }
          }
        }
      })
      const begunAt = yield* Clock.currentTimeMillis
      const seconds = Effect.map(Clock.currentTimeMillis, (now) => (now - begunAt) / 1000)
      const message = (n: number) =>
        Effect.map(Random.next, (draw) =>
          SqsEmulator.message(`m${n}`, {
            group: scenario.group?.(draw) ?? (scenario.fifo === true ? `g${Math.floor(draw * 200)}` : undefined)
          })
        )
      let sent = 0
      const send = (count: number) =>
        Effect.gen(function* () {
          const messages = []
          for (let i = 0; i < count; i++) messages.push(yield* message(sent++))
          yield* sqs.send(name, messages)
        })
      const { hoarded = 0 } = scenario
      yield* sqs.send(
        name,
        Array.from({ length: hoarded }, (_, n) => SqsEmulator.message(`h${n}`, { group: `h${n}` }))
      )
      yield* sqs.client
        .receiveMessage({ QueueUrl: sqs.queueUrl(name), MaxNumberOfMessages: 10, VisibilityTimeout: 3600 })
        .pipe(
          Effect.repeatN(Math.ceil(hoarded / 10) - 1),
          Effect.when(() => hoarded > 0)
        )
      yield* send(scenario.backlog ?? 0)
      yield* Effect.gen(function* () {
        const count = yield* poisson(scenario.arrivals(yield* seconds) / 5)
        if (count > 0) yield* send(count)
      }).pipe(Effect.repeat(Schedule.fixed("200 millis")), Effect.fork)

      const client = sqs.client
      const queue = yield* SqsLeaseQueue.make(name).pipe(Effect.provideService(SqsClient.SqsClient, client))
      const wrapped = scenario.wrap === undefined ? queue : yield* scenario.wrap(queue)
      let running = 0
      const seen = new Set<string>()
      const handle = (body: string, delivery: { readonly message: LeaseQueue.Message }) =>
        Effect.gen(function* () {
          running++
          const run: Run = {
            at: yield* seconds,
            running,
            body,
            group: delivery.message.group,
            attempt: delivery.message.attempt,
            first: !seen.has(body),
            draw: yield* Random.next
          }
          seen.add(body)
          if (scenario.hangs?.(run) === true) return yield* Effect.never
          const spread = scenario.spread ?? 0.5
          const chance = 1 - spread + spread * -Math.log(1 - (yield* Random.next))
          yield* Effect.sleep(scenario.handler(run) * chance)
          if (scenario.fails?.(run) === true) return yield* Effect.fail({ _tag: "Refused" as const })
        }).pipe(
          Effect.ensuring(
            Effect.sync(() => {
              running--
            })
          )
        )
      const circuit = scenario.circuit === true ? yield* Circuit.make({ trips: () => true }) : undefined
      const retry = RetryPolicy.redeliver(Schedule.spaced("2 seconds"), { attempts: 100 }).pipe(
        RetryPolicy.orElse(RetryPolicy.deadLetter)
      )
      const concurrency = scenario.slots
      const pipeline = (deliveries: Consumer.Consumer<SqsError.SqsError>["stream"]) => {
        switch (scenario.stages) {
          case "batches":
            return deliveries.pipe(
              Pipeline.processBatches(([body = ""], [delivery]) => (delivery ? handle(body, delivery) : Effect.void), {
                max: 10,
                within: "500 millis",
                concurrency,
                retry
              }),
              Stream.runDrain
            )
          case "two":
            return deliveries.pipe(
              Pipeline.mapEffect((body) => Effect.as(Effect.sleep("50 millis"), body), {
                concurrency: 4 * concurrency
              }),
              Pipeline.process(handle, { concurrency, circuit, retry }),
              Stream.runDrain
            )
          default:
            return Stream.runDrain(Pipeline.process(handle, { concurrency, circuit, retry })(deliveries))
        }
      }
      const start = Effect.gen(function* () {
        const scope = yield* Scope.make()
        const consumer = yield* Consumer.make(wrapped, {
          maxInFlight: scenario.permits ?? 100,
          ...scenario.consumer
        }).pipe(Scope.extend(scope))
        yield* Effect.forkIn(pipeline(consumer.stream), scope)
        return { consumer, end: Scope.close(scope, Exit.void) }
      })
      let now = yield* start
      const { consumer } = now
      yield* Effect.repeatN(start, (scenario.others ?? 0) - 1).pipe(Effect.when(() => (scenario.others ?? 0) > 0))
      if (scenario.deployAt !== undefined) {
        yield* Effect.gen(function* () {
          yield* now.end
          yield* Effect.sleep("3 seconds")
          now = yield* start
        }).pipe(Effect.delay(`${scenario.deployAt} seconds`), Effect.fork)
      }
      const current = Effect.suspend(() => now.consumer.figures)
      const backlog = yield* SqsBacklog.make(name).pipe(Effect.provideService(SqsClient.SqsClient, client))
      const watched = yield* Diagnosis.of(current, backlog, {
        ...scenario.options,
        inFlightLimit: scenario.inFlightLimit
      }).pipe(Effect.provide(ProcessLoad.layerOf(Effect.map(seconds, (at) => scenario.load?.(at) ?? idle))))
      if (scenario.odds !== undefined) {
        const { odds, operations } = scenario
        yield* Effect.sleep(`${scenario.faultsFrom ?? 0} seconds`).pipe(
          Effect.zipRight(
            sqs.faults.random(
              odds,
              operations ?? ["ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"]
            )
          ),
          Effect.fork
        )
      }
      if (scenario.meanwhile !== undefined) yield* Effect.fork(scenario.meanwhile(consumer, sqs))
      yield* Effect.sleep(`${scenario.until ?? 180} seconds`)
      const diagnosis = yield* watched.now
      const figures = yield* current
      if (diagnosis === undefined) return yield* Effect.dieMessage("no diagnosis")
      return { diagnosis, figures }
    })
  ).pipe(Logger.withMinimumLogLevel(LogLevel.None))

export const run = (seed: number, scenario: Case): Seen => {
  const { exit } = Simulation.run(seed, program(scenario), { maxWakes: 20_000_000 })
  if (Exit.isFailure(exit)) throw new Error(Cause.pretty(exit.cause))
  return exit.value
}

export const found = (diagnosis: Diagnosis.Diagnosis): string =>
  diagnosis.findings.map(({ _tag, score }) => `${_tag} ${score.toFixed(2)}`).join(", ")
