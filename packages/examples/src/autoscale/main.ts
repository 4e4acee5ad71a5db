/**
 * A day with a peak: consumers that come and go by advice, against a fixed fleet of the same cost.
 *
 *   npm run autoscale -- --help
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import * as Cli from "../Cli.js"
import * as Story from "../Story.js"
import * as Page from "./Page.js"
import { both, problem } from "./Play.js"

const tell = Effect.map(both, (plays) => ({
  text: Page.print(plays),
  html: Page.html(plays),
  code: Object.values(plays).every((played) => problem(played) === undefined) ? 0 : 1
}))

const what = `A day of a queue in virtual time: consumers come and go by the advice of Scaling, against a fixed fleet that
costs as much. Exits with 1 where an order was lost.`

NodeRuntime.runMain(Story.program("autoscale", what, tell), { teardown: Cli.teardown })
