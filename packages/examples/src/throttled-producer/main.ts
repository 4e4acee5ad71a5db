/**
 * A producer of 20 orders a second against a consumer of 2, with and without a throttle that holds the backlog.
 *
 *   npm run throttled-producer -- --help
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import * as Cli from "../Cli.js"
import { count, table } from "../Format.js"
import * as Story from "../Story.js"
import * as Page from "./Page.js"
import { figures, play, settledAfter, strategies } from "./Play.js"

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

const program = Story.program(
  "throttled-producer",
  `Plays twenty minutes of a producer, a queue and a consumer in virtual time, with and without a throttle,
prints what they come to, and writes a page with the charts.`,
  Effect.all({
    unthrottled: Story.simulated(play("without a throttle", strategies.unthrottled)),
    throttled: Story.simulated(play("throttled", strategies.throttled))
  }).pipe(Effect.map((plays) => ({ text: `${print(plays)}\n`, html: Page.html(plays) })))
)

NodeRuntime.runMain(program, { teardown: Cli.teardown })
