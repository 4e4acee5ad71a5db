/** The counts of a queue of which only a number is known each second, as SQS tells them; and a run of virtual time. */
import { Simulation } from "@millrace/core/testing"
import { Cause, Clock, Effect, Exit, Logger, LogLevel, Random, type Scope } from "effect"
import type { Counting } from "../World.js"

/** What waits at a second, told late and wrong as `counting` has it. */
export const told = (
  { how, late, off }: Counting,
  waits: (second: number) => number,
  inFlight: (second: number) => number = () => 0
): Effect.Effect<{ readonly visible: number; readonly inFlight: number; readonly delayed: number }> => {
  let lateness: number | undefined
  return Effect.gen(function* () {
    if (lateness === undefined || how === "jitter") lateness = late * (yield* Random.next)
    if (how === "wandering") {
      lateness = Math.min(late, Math.max(0, lateness + (yield* Random.nextRange(-0.25, 0.25)) * late))
    }
    const noise = yield* Random.nextRange(1 - off, 1 + off)
    const now = (yield* Clock.currentTimeMillis) / 1000
    const visible = Math.round(waits(Math.max(0, Math.floor(now - lateness))) * noise)
    return { visible, inFlight: inFlight(now), delayed: 0 }
  })
}

/** Runs a world of a seed in virtual time to its end. */
export const lived = <A, E>(seed: number, world: Effect.Effect<A, E, Scope.Scope>): A => {
  const quiet = Logger.withMinimumLogLevel(world, LogLevel.None)
  const { exit } = Simulation.run(seed, quiet, { maxWakes: 100_000_000, order: "fifo" })
  if (Exit.isFailure(exit)) throw new Error(`seed ${seed}: ${Cause.pretty(exit.cause)}`)
  return exit.value
}

export const mean = (numbers: ReadonlyArray<number>): number =>
  numbers.reduce((sum, one) => sum + one, 0) / Math.max(1, numbers.length)

export const quantile = (numbers: ReadonlyArray<number>, q: number): number =>
  [...numbers].sort((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(q * numbers.length))] ?? 0
