/** What a kind of stage is made of: by which rules its items run, and what is done with one. `stage.ts` runs it. */
import type { InFlight } from "../lease/inFlight.js"
import type { Source } from "../lease/source.js"
import type { Claims } from "./claims.js"
import type { Gate } from "./gate.js"
import type { LaneRules } from "./lanes.js"
import type { RunFork } from "./runFork.js"
import type { ShareRules } from "./shareRules.js"
import type { Slots } from "./slots.js"

/** One item's right to run; given back by the first of these to be called. */
export interface Slot<in Out> {
  /** It is done with, and has become so much. */
  readonly done: (results?: ReadonlyArray<Out>) => void
  /** The same for one that has failed: what is behind it in its lane waits for its end, also where an ack is not waited for. */
  readonly failed: (results?: ReadonlyArray<Out>) => void
  /** It runs again after this long; its lane waits for it meanwhile, and nothing else does. So much has come of it already. */
  readonly hold: ((millis: number, results?: ReadonlyArray<Out>) => void) | undefined
  /** It could not run after all: it runs as soon as the gate lets it. */
  readonly defer: (() => void) | undefined
  /** It cannot run yet: the same as `hold`, in a lane or not. Where the stage `foresees`. */
  readonly wait: ((millis: number, results?: ReadonlyArray<Out>) => void) | undefined
}

/** What a stage does, and by which rules. */
export interface Work<in In, Out, R> {
  /** For items that are worked on at once. */
  readonly slots: Slots
  readonly claims: Claims
  readonly deliveries: (item: In) => ReadonlyArray<InFlight>
  readonly lanes: LaneRules<In> | undefined
  readonly gate?: Gate | undefined
  /** How keys share its slots; its items are then one delivery each. Default: the first one that comes is the next. */
  readonly share?: ShareRules<In> | undefined
  /** Whether the stage settles what it claims, and so ends only when that is confirmed. */
  readonly settles: boolean
  /** Told, now and then, of an item that waits for nothing but a slot. Such a stage may find that an item has to wait. */
  readonly foresee?: ((item: In, runFork: RunFork<R>) => void) | undefined
  /** Told of a consumer as its stream starts, by a stage that settles. */
  readonly onStart?: ((source: Source<InFlight>, runFork: RunFork<R>) => void) | undefined
  /** Told of each consumer that hands over to it, as that starts. */
  readonly knows?: ((source: Source<InFlight>) => void) | undefined
  /** The delivery that a result is, where the stage passes it on. */
  readonly passedOn?: ((result: Out) => InFlight) | undefined
  /** Starts the work on one item and returns; calls one of `slot` once, then or later. */
  readonly start: (item: In, slot: Slot<Out>, runFork: RunFork<R>) => void
}
