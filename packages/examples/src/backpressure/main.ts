/**
 * The classic case in three acts: a queue that fills faster than one worker empties it, the same with enough workers,
 * and a downstream that becomes slow.
 *
 *   npm run backpressure -- --help
 */
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { ProcessLoad } from "@millrace/core"
import { Console, Effect } from "effect"
import * as Cli from "../Cli.js"
import * as Monitor from "../Monitor.js"
import * as Story from "../Story.js"
import { acts, type Scenario } from "./Acts.js"
import * as Figures from "./Figures.js"
import * as Page from "./Page.js"
import * as Replay from "./Replay.js"
import * as Stage from "./Stage.js"

const usage = `Usage: npm run backpressure -- [options]

Plays three acts of a producer, a queue and a consumer in virtual time, prints what they come to,
and writes a page with the charts.

  --out <file>      where the page goes (default backpressure.html)
  --live            on the wall clock: nine minutes
${Monitor.usage}
                    (played once more, ten times as fast; with --live in real time)
  --help            this text`

const read = Effect.try({
  try: () =>
    parseArgs({
      options: {
        out: { type: "string", default: "backpressure.html" },
        live: { type: "boolean", default: false },
        ...Monitor.options,
        help: { type: "boolean", default: false }
      }
    }).values,
  catch: (cause) => new Cli.BadArguments({ message: cause instanceof Error ? cause.message : String(cause) })
})

/** All at once, with a line every ten seconds. */
const live = (scenario: Scenario) =>
  Stage.play(scenario, ({ again, at, backlog, done, inFlight }) =>
    at % 10 === 0
      ? Console.log(
          `${String(at).padStart(3)} s  ${scenario.name}: backlog ${backlog}, in flight ${inFlight}, done ${done}, again ${again}`
        )
      : Effect.void
  ).pipe(Effect.provide(ProcessLoad.layer))

// Virtual time says nothing of how busy this machine is.
const simulated = (scenario: Scenario) =>
  Story.simulated(Effect.provide(Stage.play(scenario), ProcessLoad.layerUnknown))

const main = Effect.gen(function* () {
  const options = yield* read
  if (options.help) return yield* Effect.as(Console.log(usage), 0)
  const port = yield* Monitor.read(options)
  const perform = options.live && port === undefined ? live : simulated
  const plays = yield* Effect.all(
    {
      oneAtATime: perform(acts.oneAtATime),
      naiveLoop: perform(acts.naiveLoop),
      enough: perform(acts.enough),
      slowDownstream: perform(acts.slowDownstream)
    },
    { concurrency: "unbounded" }
  )
  yield* Console.log(
    `Act 1: one at a time\n${Figures.print([plays.oneAtATime, plays.naiveLoop])}\n\n${Figures.diagnosis(plays.oneAtATime)}\n`
  )
  yield* Console.log(
    `Act 2: enough at a time\n${Figures.print([plays.enough])}\n\n${Figures.diagnosis(plays.enough)}\n`
  )
  yield* Console.log(
    `Act 3: a slow downstream\n${Figures.print([plays.slowDownstream])}\n\n${Figures.diagnosis(plays.slowDownstream)}\n`
  )
  yield* Story.writePage(resolve(options.out), Page.html(plays))
  if (port !== undefined) return yield* Replay.onDashboard(port, options.live ? 1 : 10)
  return 0
})

NodeRuntime.runMain(Cli.exitWith(main, usage), { teardown: Cli.teardown })
