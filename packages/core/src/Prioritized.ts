/**
 * Several queues as one stream, with one bound and shared slots: the first ones before the others, or each with its part.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Consumer from "./Consumer.js"
import type * as Delivery from "./Delivery.js"
import * as InvalidOptions from "./InvalidOptions.js"
import { fork } from "./internal/effect/fork.js"
import { together } from "./internal/effect/together.js"
import { mergeStage } from "./internal/handOver/merge.js"
import { Steady } from "./internal/lease/steady.js"
import type { Observing } from "./internal/observe/observer.js"
import { SharedPermits } from "./internal/receive/sharedPermits.js"
import { strict, weighted } from "./internal/receive/turns.js"
import type * as LeaseQueue from "./LeaseQueue.js"
import type * as Tunable from "./Tunable.js"

/** One of the queues: the first in the list comes first. */
export interface Queue<E> {
  readonly queue: LeaseQueue.LeaseQueue<E>
  /**
   * Its part of what is handed over while all have something, from 0.001. All have one, or none: without weights the first
   * queue that has something is strictly the next.
   */
  readonly weight?: number | undefined
  /** Names its consumer in metrics, logs and figures. Default: the queue's name. */
  readonly name?: string | undefined
}

/** `maxInFlight` and `drainWhenIdle` are of all queues together; the rest holds for each. */
export interface Options extends Omit<Consumer.Options, "name" | "quota" | "rate"> {
  /**
   * Without weights: which part of what the queues before it have handed over each later one is owed, so that none starves, from
   * 0 (it may) to 0.1. Default 0.004: one of 250.
   */
  readonly floor?: number | undefined
}

/** What each option may be. */
export const checks = (): InvalidOptions.Checks<Options> => {
  const { name: _name, quota: _quota, rate: _rate, ...each } = Consumer.checks
  return { ...each, floor: InvalidOptions.aNumber({ min: 0, max: 0.1 }) }
}

const queueChecks = (): InvalidOptions.Checks<Queue<never>> => ({
  queue: InvalidOptions.required(InvalidOptions.having("a LeaseQueue", "receive", "ack", "setLease", "limits")),
  weight: InvalidOptions.aNumber({ min: 0.001 }),
  name: InvalidOptions.text
})

export interface Prioritized<E> {
  /** The deliveries of all queues. Run it once. */
  readonly stream: Stream.Stream<Delivery.Delivery<string>, E>
  /** The consumer of each queue, in their order: its figures, health, pause and so on. Their streams are not for use. */
  readonly consumers: ReadonlyArray<Consumer.Consumer<E>>
  /** Drains all of them: see `Consumer.drain`. A report for each, in their order. */
  readonly drain: (options?: {
    readonly deadline?: Duration.DurationInput | undefined
  }) => Effect.Effect<ReadonlyArray<Consumer.DrainReport>>
  /** Of all of them together. */
  readonly maxInFlight: Tunable.Tunable
}

const refuse = (option: string, message: string) => new InvalidOptions.InvalidOptions({ option, message })

/** @internal Two of one name, weights for some of them, a floor beside weights. */
export const problemOf = (
  queues: ReadonlyArray<{ readonly name: string; readonly weight: number | undefined }>,
  { floor }: Options
): InvalidOptions.InvalidOptions | undefined => {
  if (queues.length === 0) return refuse("queues", "queues is empty; write the queues, the first one first")
  const names = new Set<string>()
  for (const { name } of queues) {
    if (names.has(name)) return refuse("queues", `queues has two called ${name}; write each once`)
    names.add(name)
  }
  const weights = queues.filter(({ weight }) => weight !== undefined).length
  if (weights > 0 && weights < queues.length) {
    return refuse("weight", `weight is given for ${weights} of ${queues.length} queues; write one for each, or none`)
  }
  if (weights > 0 && floor !== undefined) {
    return refuse("floor", "floor is given beside weights, which are floors themselves; leave one of them out")
  }
  return undefined
}

/**
 * Several queues as one stream, with a handle. While the first queues have messages the later ones are asked for no more than
 * the floor; a message of an earlier queue goes before what is here of a later one and no stage has taken yet (a stage takes
 * up to a quarter of its slots' number ahead). Nobody waits for another's long poll, and each delivery settles at its own
 * queue.
 *
 * Fails with `InvalidOptions` where an option cannot work: two queues of one name, fewer permits than queues.
 */
export const make = <E>(
  queues: ReadonlyArray<Queue<E>>,
  options: Options = {}
): Effect.Effect<Prioritized<E>, InvalidOptions.InvalidOptions, Scope.Scope> =>
  Effect.gen(function* () {
    const { consumers, maxInFlight, stream } = yield* makeAll(queues, options, Consumer.observed)
    return {
      stream: stream(false),
      consumers: yield* Effect.forEach(consumers, Consumer.handleOf),
      maxInFlight,
      drain: (drainOptions) =>
        Effect.flatMap(Consumer.deadlineOf(drainOptions, "20 seconds"), (deadline) =>
          Effect.flatMap(together(consumers.map(({ engine }) => engine.drain.run(deadline))), (exits) =>
            Effect.all(exits)
          )
        )
    }
  })

/** The same, as a stream alone. */
export const stream = <E>(
  queues: ReadonlyArray<Queue<E>>,
  options: Options = {}
): Stream.Stream<Delivery.Delivery<string>, E | InvalidOptions.InvalidOptions> =>
  Stream.unwrap(Effect.map(makeAll(queues, options, Consumer.unobserved), ({ stream }) => stream(true)))

const makeAll = <E, O extends Observing>(queues: ReadonlyArray<Queue<E>>, options: Options, observer: () => O) =>
  Effect.gen(function* () {
    yield* InvalidOptions.argument("queues", queues, InvalidOptions.list(InvalidOptions.fields(queueChecks())))
    yield* InvalidOptions.check("Prioritized", options, checks())
    const { floor, ...common } = options
    const named = queues.map(({ name, queue, weight }) => ({ name: name ?? queue.name, weight }))
    const problem = problemOf(named, options)
    if (problem !== undefined) return yield* problem
    const { maxInFlight } = yield* Effect.mapError(Consumer.tunables(common, queues.length), ({ message, option }) =>
      refuse(option, `${message}: each of the ${queues.length} queues has a receive open`)
    )
    const weights = queues.flatMap(({ weight }) => weight ?? [])
    const isStrict = weights.length === 0
    const turns = isStrict ? strict(queues.length, floor ?? 0.004) : weighted(weights)
    const clock = new Steady(yield* Effect.clock)
    const permits = new SharedPermits({
      maxInFlight,
      members: queues.length,
      batchSize: Math.max(...queues.map(({ queue }) => queue.limits.batchSize)),
      strict: isStrict,
      turns,
      now: () => clock.now(),
      fork: yield* fork()
    })
    const idle = Consumer.idleOf(common)
    const consumers = yield* Effect.forEach(queues, ({ name, queue }, rank) =>
      Consumer.makeOne(queue, { ...common, maxInFlight, name }, observer, { permits: permits.all[rank], idle })
    )
    /** While something of an earlier one waits here a later one does not go before it. */
    const mayGo = (rank: number) =>
      !isStrict ||
      turns.isOwed(rank) ||
      permits.all.every((own) => own.rank >= rank || (own.member?.prefetched() ?? 0) === 0)
    return {
      consumers,
      maxInFlight,
      stream: (joins: boolean) =>
        Stream.ensuring(
          mergeStage(
            consumers.map((consumer) => consumer.stream(joins)),
            turns,
            mayGo
          ),
          Effect.sync(() => permits.end())
        )
    }
  })
