/** What a seed plays: the queue, the load, the faults, and the options of each consumer that is started. */
import type { Fault } from "@millrace/sqs/emulator"
import { Effect, Random } from "effect"

export interface Scenario {
  /** One seed in ten: more of everything. Most mistakes show in a few messages, and many small plays show more of them. */
  readonly large: boolean
  readonly fifo: boolean
  /** The queue's visibility timeout, in seconds. */
  readonly visibility: number
  /** In milliseconds, each call. */
  readonly latency: number
  readonly messages: number
  readonly groups: number
  /** Receives before the queue itself moves a message; with none there is no dead-letter queue. */
  readonly maxReceiveCount: number | undefined
  readonly consumers: number
  /** What befalls the fleet while there is chaos, and how long until the next, in milliseconds at most. */
  readonly events: number
  readonly gap: number
  readonly faults: Fault.Odds
  readonly work: Work
  readonly order: Order
}

/** How likely each fate is for a run of the handler, and how long the longest takes, in milliseconds. */
export interface Work {
  readonly fails: number
  readonly isDown: number
  readonly dies: number
  readonly neverEnds: number
  readonly longest: number
  /** For each message: its body does not decode. */
  readonly poison: number
}

/**
 * - `strict`: what a FIFO queue promises, also across failures.
 * - `ackAhead`: the next may begin as soon as the one before is handled.
 * - `skip`: a group goes on without what failed.
 * - `none`: not sequenced at all.
 */
export type Order = "strict" | "ackAhead" | "skip" | "none"

export type Pipeline = "process" | "processBatches" | "mapEffect"

export interface ConsumerOptions {
  readonly pipeline: Pipeline
  readonly maxInFlight: number
  readonly concurrency: number
  readonly batch: { readonly max: number; readonly within: number }
  readonly heartbeat: boolean
  readonly linger: number
  readonly pollGrace: number
  /** In milliseconds. */
  readonly fatalGrace: number
  readonly rate: number | undefined
  /** In milliseconds. */
  readonly timeout: number | undefined
  readonly holdLimit: number
  readonly keyed: boolean
  readonly circuit: boolean
  /** Ends by itself after so many results. */
  readonly take: number | undefined
  readonly inPlace: number
  readonly attempts: number
  /** In milliseconds. None is a visibility timeout of a scenario, which would look like an extension. */
  readonly delay: number
  readonly growing: boolean
  readonly last: "deadLetter" | "discard" | "leave"
}

export const chance = (probability: number) => Effect.map(Random.next, (drawn) => drawn < probability)
export const below = (n: number) => Random.nextIntBetween(0, n)
export const between = (least: number, most: number) => Random.nextIntBetween(least, most + 1)
export const pick = <const A>(first: A, ...others: ReadonlyArray<A>): Effect.Effect<A> =>
  Effect.map(below(others.length + 1), (i) => others[i - 1] ?? first)

/** Mostly small, now and then large. */
const skewed = (least: number, most: number, power = 3) =>
  Effect.map(Random.next, (drawn) => least + Math.floor(drawn ** power * (most - least + 1)))

const odds = (sometimes: number, most: number) =>
  Effect.flatMap(chance(sometimes), (is) => (is ? Random.nextRange(0, most) : Effect.succeed(0)))

export const draw: Effect.Effect<Scenario> = Effect.gen(function* () {
  const large = yield* chance(0.1)
  const fifo = yield* Random.nextBoolean
  const sound = yield* chance(0.2)
  const rarely = sound ? 0 : 0.5
  const visibility = yield* pick(3, 5, 10, 30)
  return {
    large,
    fifo,
    visibility,
    latency: yield* pick(0, 5, 40),
    messages: yield* skewed(1, large ? 150 : 30, 2),
    groups: yield* skewed(1, large ? 12 : 5, 1),
    maxReceiveCount: (yield* chance(0.7)) ? yield* between(2, 12) : undefined,
    consumers: large ? yield* skewed(1, 20, 3) : yield* skewed(1, 4, 2),
    events: yield* below(large ? 10 : 7),
    gap: yield* skewed(500, 60_000),
    faults: {
      fail: yield* odds(rarely, 0.2),
      throttle: yield* odds(rarely, 0.2),
      dropResponse: yield* odds(rarely, 0.2),
      failEntry: yield* odds(rarely, 0.2),
      shortReceive: yield* odds(rarely, 0.7),
      duplicate: yield* odds(rarely, 0.2),
      strand: yield* odds(rarely, 0.5),
      delay: yield* odds(rarely, 0.2),
      maxDelay: yield* pick(100, 1000, 4000)
    },
    work: {
      fails: yield* odds(0.6, 0.4),
      isDown: yield* odds(0.3, 0.4),
      dies: yield* odds(0.4, 0.2),
      neverEnds: yield* odds(0.3, 0.1),
      longest: yield* pick(200, 2000, visibility * 1000, visibility * 4000),
      poison: yield* odds(0.4, 0.2)
    },
    order: fifo ? yield* pick<Order>("strict", "strict", "strict", "ackAhead", "skip", "none") : "none"
  }
})

export const drawConsumer = ({ fifo, large, visibility, work }: Scenario): Effect.Effect<ConsumerOptions> =>
  Effect.gen(function* () {
    const pipeline = yield* pick<Pipeline>("process", "process", "process", "processBatches", "mapEffect")
    const endless = work.neverEnds > 0
    return {
      pipeline,
      maxInFlight: yield* skewed(1, large ? 60 : 20, 2),
      concurrency: yield* skewed(1, large ? 30 : 10, 2),
      batch: { max: yield* between(1, 12), within: yield* pick(0, 100, 3000) },
      heartbeat: yield* chance(0.8),
      linger: yield* pick(0, 50, 250, 1000),
      pollGrace: yield* pick(0, 2000, 25_000),
      fatalGrace: yield* pick(0, 15_000, 60_000),
      rate: (yield* chance(0.1)) ? yield* between(2, 50) : undefined,
      timeout: endless || (yield* chance(0.3)) ? yield* pick(900, 4000, visibility * 1300) : undefined,
      holdLimit: yield* pick(0, 2000, 300_000),
      keyed: !fifo && (yield* chance(0.3)),
      circuit: work.isDown > 0 && (yield* chance(0.6)),
      take: (yield* chance(0.1)) ? yield* between(1, 20) : undefined,
      inPlace: yield* pick(0, 0, 1, 3),
      attempts: yield* pick(1, 2, 4, 10),
      delay: yield* pick(0, 300, 1000, 4000, 7000),
      growing: yield* Random.nextBoolean,
      last: yield* pick("deadLetter", "discard", "leave")
    }
  })
