import * as FiberRef from "effect/FiberRef"
import type { Custodian } from "./inFlight.js"

/**
 * What the stage downstream that settles does as a consumer's stream starts, before anything is received: it runs its
 * upstream with this set.
 */
export const introduction: FiberRef.FiberRef<(custodian: Custodian) => void> = FiberRef.unsafeMake(
  (_: Custodian): void => {}
)
