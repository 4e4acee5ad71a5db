/**
 * A failing head of a FIFO group, and what becomes of those behind it.
 *
 *   npm run fifo -- --help
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import * as Cli from "../Cli.js"
import * as Story from "../Story.js"
import { givesBack, goesOn, ours } from "./Consumers.js"
import * as Page from "./Page.js"
import { play } from "./Stage.js"

const tell = Effect.all({
  ours: Story.simulated(play("Millrace", ours)),
  goesOn: Story.simulated(play("goes on", goesOn)),
  givesBack: Story.simulated(play("gives back", givesBack))
}).pipe(Effect.map((plays) => ({ text: Page.print(plays), html: Page.html(plays) })))

const what = `The first of a FIFO group fails for 12 seconds: three consumers, in virtual time, and a page with
what they make of it.`

NodeRuntime.runMain(Story.program("fifo", what, tell), { teardown: Cli.teardown })
