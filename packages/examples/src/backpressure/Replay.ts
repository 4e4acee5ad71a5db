/** The acts of our own consumer once more, side by side on the dashboard. */
import { ProcessLoad } from "@millrace/core"
import type { Dashboard } from "@millrace/dashboard"
import { Console, Deferred, Effect, Fiber } from "effect"
import { withSpeed } from "../FastClock.js"
import * as Monitor from "../Monitor.js"
import { acts } from "./Acts.js"
import * as Stage from "./Stage.js"

const shown = [acts.oneAtATime, acts.enough, acts.slowDownstream]

/** Plays them `speed` times as fast as the clock; the page's times are those of the play. It stays until Ctrl-C. */
export const onDashboard = (port: number, speed: number) =>
  Effect.gen(function* () {
    yield* Console.log(`Once more on the dashboard, ${speed === 1 ? "in real time" : `${speed} times as fast`}.`)
    const plays = yield* Effect.forEach(shown, (scenario) =>
      Effect.map(Deferred.make<Dashboard.Entry>(), (entry) => ({ scenario, entry }))
    )
    const playing = yield* Effect.forkScoped(
      Effect.forEach(
        plays,
        ({ entry, scenario }) =>
          Stage.play(scenario, undefined, (shown) => Deferred.succeed(entry, { ...shown, controls: { pause: true } })),
        { concurrency: "unbounded", discard: true }
      )
    )
    const dashboard = yield* Monitor.serve({
      port,
      consumers: Effect.map(
        Effect.forEach(plays, ({ entry, scenario }) =>
          Effect.map(Deferred.await(entry), (e) => [scenario.name, e] as const)
        ),
        Object.fromEntries<Dashboard.Entry>
      )
    })
    yield* Fiber.join(playing)
    return yield* Monitor.stay(dashboard)
  }).pipe(Effect.scoped, Effect.provide(ProcessLoad.layer), withSpeed(speed))
