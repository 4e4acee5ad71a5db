/**
 * Messages that can never be handled, and where they end.
 *
 *   npm run dead-letter -- --help
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import * as Cli from "../Cli.js"
import * as Story from "../Story.js"
import { naive, ours } from "./Consumers.js"
import * as Page from "./Page.js"
import { play } from "./Stage.js"

const tell = Effect.all({
  ours: Story.simulated(play("Millrace", ours)),
  naive: Story.simulated(play("plain loops", naive))
}).pipe(Effect.map((plays) => ({ text: Page.print(plays), html: Page.html(plays) })))

const what = `Two of 300 orders can never be done: two ways to consume them, in virtual time, what the dead-letter
queue holds in the end, and a page with the charts.`

NodeRuntime.runMain(Story.program("dead-letter", what, tell), { teardown: Cli.teardown })
