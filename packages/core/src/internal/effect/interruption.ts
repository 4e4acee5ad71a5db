/** Who interrupts, and what is left of it in a cause. */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as HashSet from "effect/HashSet"

/** Interrupts a handler whose lease is lost. */
export const leaseLostId: FiberId.FiberId = FiberId.runtime(-1, 0)

export const isInterruptedBy = (cause: Cause.Cause<unknown>, id: FiberId.FiberId): boolean =>
  HashSet.has(Cause.interruptors(cause), id)

/** Interrupted, by nobody. */
export const interrupted: Exit.Exit<never> = /* @__PURE__ */ Exit.interrupt(FiberId.none)
