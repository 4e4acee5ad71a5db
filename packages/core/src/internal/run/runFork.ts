import type { ForkFor } from "../effect/forkFor.js"
import type { InFlight } from "../lease/inFlight.js"

/** Runs an effect in a fiber of its own, for one delivery or the first of a batch where it is given. */
export type RunFork<R> = ForkFor<InFlight, R>
