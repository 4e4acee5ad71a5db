/** What the stages downstream of a consumer have to say to it as its stream starts, before anything is received. */
import type { Tunable } from "../../Tunable.js"
import * as Local from "../effect/local.js"
import type { InFlight } from "../lease/inFlight.js"
import type { Source } from "../lease/source.js"

export interface Downstream {
  /** Of the stage that settles: the consumer starts. False where a stage cannot work with it: then it ends at once. */
  readonly onStart: (source: Source<InFlight>) => boolean
  /** The slots of each stage, the first one first. */
  readonly slots: ReadonlyArray<Tunable>
}

/** A stage runs its upstream with what it adds to this. */
export const downstream: Local.Local<Downstream> = Local.make<Downstream>({ onStart: () => true, slots: [] })
