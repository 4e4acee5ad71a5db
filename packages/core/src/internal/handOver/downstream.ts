import * as FiberRef from "effect/FiberRef"
import type { Tunable } from "../../Tunable.js"
import type { Custodian } from "../lease/inFlight.js"

/** What the stages downstream of a consumer have to say to it as its stream starts, before anything is received. */
export interface Introduction {
  /** Of the stage that settles. */
  readonly meet: (custodian: Custodian) => void
  /** The slots of each stage, the first one first. */
  readonly slots: ReadonlyArray<Tunable>
}

/** A stage runs its upstream with what it adds to this. */
export const introduction: FiberRef.FiberRef<Introduction> = FiberRef.unsafeMake<Introduction>({
  meet: () => {},
  slots: []
})
