/** One consumer of the fleet: its pipeline, its handlers, and what is done to it. */
import { Circuit, Consumer, Delivery, type InvalidOptions, Pipeline, RetryPolicy, Tunable } from "@millrace/core"
import { SqsClient, type SqsError, SqsLeaseQueue, type SqsQueue } from "@millrace/sqs"
import type { SqsEmulator } from "@millrace/sqs/emulator"
import { Cause, type Clock, Duration, Effect, Exit, Fiber, Option, Random, Schedule, Schema, Stream } from "effect"
import type { Book, Item, Settled, Worker } from "./Book.js"
import * as Link from "./Link.js"
import type { ConsumerOptions, Scenario } from "./Scenario.js"
import * as Watch from "./Watch.js"

const Job = Schema.Struct({ id: Schema.String, key: Schema.String })
interface Job extends Schema.Schema.Type<typeof Job> {}

type Deliveries = Stream.Stream<Delivery.Delivery<string>, SqsError.SqsError>

/** What the members of a fleet share. */
export interface World {
  readonly scenario: Scenario
  readonly sqs: SqsEmulator.Service
  readonly queue: SqsQueue.SqsQueue
  readonly book: Book
  readonly clock: Clock.Clock
  readonly now: () => number
  readonly jumpedBy: () => number
  /** The chaos is over: handlers are quick and succeed. */
  readonly isCalm: () => boolean
  /** A consumer's stream has failed, as it may where it is denied. */
  readonly failed: (denial: Link.Denial) => Effect.Effect<void>
  readonly broken: (what: string) => void
  readonly note: (what: () => string) => void
}

export interface Member extends Worker {
  readonly options: ConsumerOptions
  readonly link: Link.Link
  readonly settledBy: (handle: string) => Settled | undefined
  readonly isOver: () => boolean
  readonly ended: Effect.Effect<void>
  readonly drain: (millis: number) => Effect.Effect<void>
  readonly interrupt: Effect.Effect<void>
  readonly kill: (then: "hang" | "fail") => Effect.Effect<void>
  readonly pause: (millis: number) => Effect.Effect<void>
  readonly retune: (maxInFlight: number) => Effect.Effect<void>
  readonly figures: Effect.Effect<string>
}

const fate = ({ isCalm, scenario: { work } }: World): Effect.Effect<void, "refused" | "down"> =>
  Effect.gen(function* () {
    if (isCalm()) return yield* Effect.sleep(10)
    yield* Effect.sleep(Math.floor((yield* Random.next) ** 5 * work.longest))
    // It may have become calm meanwhile.
    if (isCalm()) return
    const { dies, fails, isDown, neverEnds } = work
    const drawn = yield* Random.next
    if (drawn < fails) return yield* Effect.fail("refused" as const)
    if (drawn < fails + isDown) return yield* Effect.fail("down" as const)
    if (drawn < fails + isDown + dies) return yield* Effect.dieMessage("a defect")
    if (drawn < fails + isDown + dies + neverEnds) return yield* Effect.never
  })

const isDown = (failure: unknown): boolean => failure === "down"

/** The options' policy, with what it decides taken down. */
const policyOf = ({ book, scenario }: World, worker: Worker, options: ConsumerOptions) => {
  const delay = Duration.millis(options.delay)
  const again = RetryPolicy.redeliver(options.growing ? Schedule.exponential(delay) : Schedule.spaced(delay), {
    attempts: options.attempts
  })
  const patient =
    options.inPlace === 0
      ? again
      : RetryPolicy.inPlace(Schedule.intersect(Schedule.spaced("100 millis"), Schedule.recurs(options.inPlace))).pipe(
          RetryPolicy.orElse(again)
        )
  const usual = RetryPolicy.orElse(patient, RetryPolicy[options.last])
  // What never decodes must end somewhere.
  const poison = scenario.maxReceiveCount === undefined ? RetryPolicy.discard : RetryPolicy[options.last]
  const decided = ({ _tag }: RetryPolicy.Decision) =>
    _tag === "DeadLetter" && scenario.maxReceiveCount === undefined ? "Leave" : _tag
  const policy: RetryPolicy.RetryPolicy<unknown> = {
    ...usual,
    decide: (failure, delivery) =>
      Effect.tap((failure instanceof Delivery.DecodeError ? poison : usual).decide(failure, delivery), (decision) =>
        Effect.sync(() =>
          book.decide(worker, delivery, Option.match(decision, { onNone: () => "Leave", onSome: decided }))
        )
      )
  }
  return policy
}

const pipelineOf = (world: World, worker: Worker, options: ConsumerOptions) =>
  Effect.gen(function* () {
    const { book, scenario, sqs } = world
    const retry = policyOf(world, worker, options)
    const circuit = options.circuit
      ? yield* Circuit.make({
          trips: isDown,
          threshold: { minimum: 3, window: "10 seconds" },
          probeAfter: "1700 millis"
        })
      : undefined

    // Looked at only where order is judged by it.
    const queueHolds =
      options.keyed || scenario.order === "strict" || scenario.order === "ackAhead"
        ? Effect.withClock(Effect.orDie(sqs.messages(world.queue.name)), world.clock)
        : Effect.succeed([])
    /** One run of a handler, for all of `items`, that the book knows of. */
    const noted = <A, E>(
      items: ReadonlyArray<Item>,
      work: (worked: (i: number) => void) => Effect.Effect<A, E>
    ): Effect.Effect<A, E> =>
      Effect.acquireUseRelease(
        Effect.map(queueHolds, (messages) => book.begin(worker, items, messages)),
        (runs) =>
          work((i) => {
            const run = runs[i]
            if (run !== undefined) book.succeed(run)
          }),
        (runs) => Effect.sync(() => book.end(runs))
      )
    const itemOf = (delivery: Item["delivery"], job: Job | undefined): Item => ({
      delivery,
      key: options.keyed ? job?.key : undefined
    })
    const handle = (job: Job, delivery: Item["delivery"]) =>
      noted([itemOf(delivery, job)], (worked) => Effect.map(fate(world), () => worked(0)))
    const handleAll = (jobs: ReadonlyArray<Job>, deliveries: ReadonlyArray<Item["delivery"]>) =>
      noted(
        deliveries.map((delivery, i) => itemOf(delivery, jobs[i])),
        (worked) => Effect.forEach(jobs, (_, i) => Effect.either(Effect.map(fate(world), () => worked(i))))
      )
    const handleInTime = (job: Job, delivery: Item["delivery"]) =>
      options.timeout === undefined
        ? handle(job, delivery)
        : Effect.timeoutFail(handle(job, delivery), { duration: options.timeout, onTimeout: () => "refused" as const })

    const ordering: Pipeline.ConcurrencyOptions<Job> = {
      concurrency: options.concurrency,
      sequence: options.keyed ? ({ key }) => key : scenario.order === "none" ? "none" : "auto",
      ackAhead: scenario.order === "ackAhead"
    }
    const processing = {
      ...ordering,
      retry,
      circuit,
      timeout: options.timeout,
      holdLimit: options.holdLimit,
      onFailure: scenario.order === "skip" ? "skip" : "block"
    } as const
    return (deliveries: Deliveries): Stream.Stream<unknown, SqsError.SqsError | InvalidOptions.InvalidOptions> => {
      const jobs = deliveries.pipe(Pipeline.decodeJson(Job))
      switch (options.pipeline) {
        case "process":
          return jobs.pipe(Pipeline.process(handle, processing))
        case "processBatches":
          return jobs.pipe(Pipeline.processBatches(handleAll, { ...processing, ...options.batch }))
        case "mapEffect":
          return jobs.pipe(Pipeline.mapEffect(handleInTime, ordering), Pipeline.settle({ retry }))
      }
    }
  })

/**
 * Starts a consumer, denied where that is said. It ends by what is done to it, or by itself where it takes only so many.
 */
export const start = (
  world: World,
  name: string,
  options: ConsumerOptions,
  denial: Link.Denial | undefined
): Effect.Effect<Member> =>
  Effect.gen(function* () {
    const { book, note, now, scenario } = world
    const link = yield* Link.make(world.sqs.client)
    if (denial !== undefined) link.deny(denial)
    const broken = (what: string) => {
      if (!link.isCut()) world.broken(what)
    }
    // What fails in a batch runs again in place by itself, so that a slot runs more than one handler then.
    const split = options.pipeline === "processBatches" && options.inPlace > 0
    const concurrency = split ? Number.POSITIVE_INFINITY : options.concurrency
    const worker: Worker = {
      name,
      concurrency,
      isDead: link.isCut,
      clock: () => link.clock.unsafeCurrentTimeMillis()
    }
    const maxInFlight = yield* Effect.orDie(Tunable.make("maxInFlight", options.maxInFlight))
    let retuned = { at: Number.NEGATIVE_INFINITY, from: 0 }
    let over = false
    let paused = false
    let made: { readonly consumer: Consumer.Consumer<SqsError.SqsError>; readonly watch: Watch.Watch } | undefined

    const life = Effect.gen(function* () {
      const watch = Watch.make(yield* SqsLeaseQueue.make(world.queue), {
        name,
        // What was decided by the old bound at the moment of the change may be sent at that moment.
        bound: () => Math.max(maxInFlight.unsafeGet(), now() - world.jumpedBy() <= retuned.at ? retuned.from : 0),
        book,
        now,
        ahead: link.steppedAhead,
        jumpedBy: world.jumpedBy,
        lenient: options.circuit && options.pipeline === "processBatches",
        broken,
        note
      })
      const { fatalGrace, heartbeat, linger, pollGrace } = options
      const consumer = yield* Consumer.make(watch.queue, {
        name,
        maxInFlight,
        heartbeat,
        linger: Math.min(linger, scenario.visibility * 500),
        pollGrace,
        fatalGrace,
        rate: options.rate === undefined ? undefined : { perSecond: options.rate }
      })
      made = { consumer, watch }
      const results = (yield* pipelineOf(world, worker, options))(consumer.stream)
      yield* Stream.runDrain(options.take === undefined ? results : Stream.take(results, options.take))
    }).pipe(
      Effect.scoped,
      Effect.provideService(SqsClient.SqsClient, link.client),
      Effect.onExit((exit) =>
        Effect.gen(function* () {
          over = true
          note(() => `${name} has ended`)
          if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) {
            const denial = link.denial()
            const why = Option.match(Cause.failureOption(exit.cause), { onNone: () => "", onSome: ({ _tag }) => _tag })
            if (denial === undefined || !link.wasDenied(why)) {
              broken(`${name} failed: ${Cause.pretty(exit.cause)}`)
            } else if (!link.isCut()) {
              note(() => `${name} has failed: ${why}`)
              yield* world.failed(denial)
            }
          }
          if (made === undefined) return
          const { acked, deadLettered, inFlight, left, lost, received, released, retried } = yield* made.consumer.stats
          // The dead must come to rest too.
          if (inFlight !== 0) world.broken(`permits: ${name} ended with ${inFlight} in flight`)
          const ends = acked + deadLettered + left + lost + released + retried
          if (ends !== received) world.broken(`one settlement: ${name} received ${received} and ended ${ends}`)
        })
      ),
      Effect.withClock(link.clock),
      Effect.exit,
      Effect.asVoid
    )
    // Whoever starts it need not stay.
    const fiber = yield* Effect.forkDaemon(life)
    const within = Effect.withClock(link.clock)

    return {
      ...worker,
      options,
      link,
      settledBy: (handle) => made?.watch.settledBy(handle),
      isOver: () => over,
      ended: Fiber.await(fiber),
      interrupt: Fiber.interrupt(fiber),
      drain: (millis) =>
        Effect.suspend(() => {
          if (made === undefined) return Fiber.interrupt(fiber)
          const { consumer, watch } = made
          return within(consumer.drain({ deadline: millis })).pipe(
            Effect.tap((report) => Effect.sync(() => note(() => `${name} drained: ${JSON.stringify(report)}`))),
            Effect.zipRight(Effect.sync(() => watch.forbid("drained"))),
            Effect.zipRight(Fiber.await(fiber))
          )
        }),
      kill: (then) =>
        Effect.suspend(() => {
          link.cut(then)
          link.thaw()
          book.bury(worker)
          return Fiber.interruptFork(fiber)
        }),
      pause: (millis) =>
        Effect.suspend(() => {
          if (made === undefined || paused) return Effect.void
          const { consumer, watch } = made
          paused = true
          return Effect.gen(function* () {
            yield* consumer.pause
            watch.forbid("paused")
            yield* Effect.sleep(millis)
            watch.allow("paused")
            paused = false
            yield* consumer.resume
          })
        }),
      retune: (value) =>
        Effect.suspend(() => {
          retuned = { at: now(), from: maxInFlight.unsafeGet() }
          return Effect.orDie(maxInFlight.set(value))
        }),
      figures: Effect.suspend(() =>
        made === undefined
          ? Effect.succeed(`${name} has not started`)
          : Effect.map(made.consumer.stats, (stats) => `${name}: ${JSON.stringify(stats)}`)
      )
    }
  })
