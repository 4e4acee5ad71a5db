/**
 * How busy the process is: one thread runs all handlers' JavaScript, so a full event loop is as good as no free slot.
 *
 * Node tells it for the whole process, so it is a service that a program provides once and a test replaces.
 */
import { monitorEventLoopDelay, performance } from "node:perf_hooks"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"

export interface Load {
  /** The part of the time in which the event loop was working, from 0 to 1. */
  readonly utilization: number
  /** By how much timers were late, in milliseconds: the mean, and the 99th percentile. */
  readonly delay: number
  readonly delayP99: number
}

export interface Service {
  /** Begins to measure: each look gives the load since the look before, or `undefined` where nobody knows. */
  readonly meter: Effect.Effect<Effect.Effect<Load | undefined>, never, Scope.Scope>
}

export class ProcessLoad extends Context.Tag("@millrace/core/ProcessLoad")<ProcessLoad, Service>() {}

/** How often Node looks how late a timer is, in milliseconds. */
const resolution = 20

const nanosInMillis = 1e6

/**
 * Of this process, from Node's `perf_hooks`. Costs a timer of 20 milliseconds while somebody measures.
 *
 * @see https://nodejs.org/api/perf_hooks.html#performanceeventlooputilizationutilization1-utilization2
 * @see https://nodejs.org/api/perf_hooks.html#perf_hooksmonitoreventloopdelayoptions
 */
export const layer: Layer.Layer<ProcessLoad> = Layer.succeed(ProcessLoad, {
  meter: Effect.gen(function* () {
    const histogram = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const monitor = monitorEventLoopDelay({ resolution })
        monitor.enable()
        return monitor
      }),
      (monitor) => Effect.sync(() => monitor.disable())
    )
    let before = performance.eventLoopUtilization()
    return Effect.sync(() => {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, before)
      before = now
      // What Node measures is the time between two looks, its own resolution included; nothing yet is `NaN`.
      const late = (nanos: number) => (Number.isFinite(nanos) ? Math.max(0, nanos / nanosInMillis - resolution) : 0)
      const load = { utilization, delay: late(histogram.mean), delayP99: late(histogram.percentile(99)) }
      histogram.reset()
      return load
    })
  })
})

/** A load of the test's own, looked at each time. */
export const layerOf = (load: Load | Effect.Effect<Load | undefined>): Layer.Layer<ProcessLoad> =>
  Layer.succeed(ProcessLoad, { meter: Effect.succeed(Effect.isEffect(load) ? load : Effect.succeed(load)) })

/** Nobody knows: for simulations, whose virtual time says nothing of the machine. */
export const layerUnknown: Layer.Layer<ProcessLoad> = layerOf(Effect.succeed(undefined))
