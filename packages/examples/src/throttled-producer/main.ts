/**
 * A producer of 20 orders a second against a consumer of 2, with and without a throttle that holds the backlog.
 *
 *   npm run throttled-producer -- --help
 */
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import * as Cli from "../Cli.js"
import { count, table } from "../Format.js"
import * as Story from "../Story.js"
import * as Page from "./Page.js"
import { figures, play, settledAfter, strategies } from "./Play.js"

const usage = `Usage: npm run throttled-producer -- [options]

Plays half an hour of a producer, a queue and a consumer in virtual time, with and without a throttle,
prints what it comes to, and writes a page with the charts.

  --out <file>  where the page goes (default throttled-producer.html)
  --help        this text`

const read = Effect.try({
  try: () =>
    parseArgs({
      options: {
        out: { type: "string", default: "throttled-producer.html" },
        help: { type: "boolean", default: false }
      }
    }).values,
  catch: (cause) => new Cli.BadArguments({ message: cause instanceof Error ? cause.message : String(cause) })
})

const print = (plays: Page.Plays): string => {
  const all = [plays.unthrottled, plays.throttled].map((played) => ({ name: played.name, ...figures(played) }))
  const row = (label: string, cell: (one: (typeof all)[number]) => string) => [label, ...all.map(cell)]
  return table(
    [
      ["", ...all.map(({ name }) => name)],
      row("orders sent", ({ sent }) => count(sent)),
      row("orders done", ({ done }) => count(done)),
      row("most waiting", ({ mostWaiting }) => count(mostWaiting)),
      row(
        `waiting from the ${settledAfter / 60}th minute on`,
        ({ settled }) => `${count(settled.least)} to ${count(settled.most)}`
      ),
      row("orders a second at the end", ({ rateAtEnd }) => rateAtEnd.toFixed(1)),
      row("calls to read the queue", ({ readings }) => count(readings))
    ],
    ["left", "right", "right"]
  )
}

const main = Effect.gen(function* () {
  const options = yield* read
  if (options.help) return yield* Effect.as(Console.log(usage), 0)
  const plays = {
    unthrottled: yield* Story.simulated(play("without a throttle", strategies.unthrottled)),
    throttled: yield* Story.simulated(play("throttled", strategies.throttled))
  }
  yield* Console.log(`${print(plays)}\n`)
  yield* Story.writePage(resolve(options.out), Page.html(plays))
  return 0
})

NodeRuntime.runMain(Cli.exitWith(main, usage), { teardown: Cli.teardown })
