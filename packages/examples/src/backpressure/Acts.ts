/** The three acts: the same code, with one thing changed each time. */
import type { ProcessLoad } from "@millrace/core"
import type { SqsClient } from "@millrace/sqs"
import { Duration, type Effect } from "effect"
import { type Handler, naive, ours, type Watch } from "./Consumers.js"

export interface Scenario {
  readonly name: string
  /** Orders that wait in the queue when it begins. */
  readonly backlog: number
  /** How long one order takes that is begun `at` seconds after the beginning. */
  readonly service: (at: number) => Duration.Duration
  readonly consume: (
    handle: Handler,
    watch: Watch
  ) => Effect.Effect<void, { readonly message: string }, SqsClient.SqsClient | ProcessLoad.ProcessLoad>
  /** When the consumer is asked why the queue is behind, in seconds; one that cannot tell is not asked. */
  readonly diagnosedAt: number | undefined
  /** The most in flight at once; `undefined` where there is no bound. */
  readonly bound: number | undefined
  /** When the curtain falls, in seconds. */
  readonly until: number
}

const maxInFlight = 50
const steady = () => Duration.millis(500)

/** 20 orders a second come in and 2 are done: 900 wait when the last has come. */
const oneAtATime: Scenario = {
  name: "one at a time",
  backlog: 0,
  service: steady,
  consume: ours({ concurrency: 1, maxInFlight }),
  diagnosedAt: 45,
  bound: maxInFlight,
  until: 540
}

/** The same slot, behind a loop that receives all it can. */
const naiveLoop: Scenario = {
  ...oneAtATime,
  name: "the naive loop",
  consume: naive,
  diagnosedAt: undefined,
  bound: undefined
}

/** The backlog that the first act left, and 32 slots: 64 orders a second. */
const enough: Scenario = {
  ...oneAtATime,
  name: "32 at a time",
  backlog: 900,
  consume: ours({ concurrency: 32, maxInFlight }),
  until: 75
}

/** When the downstream is slow, in seconds. */
export const slow = { from: 15, to: 35 } as const

/** From the 15th to the 35th second an order takes 5 seconds. */
const slowDownstream: Scenario = {
  ...enough,
  name: "a slow downstream",
  backlog: 0,
  diagnosedAt: 30,
  service: (at) => (at >= slow.from && at < slow.to ? Duration.seconds(5) : steady())
}

export const acts = { oneAtATime, naiveLoop, enough, slowDownstream } as const
