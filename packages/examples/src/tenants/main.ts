/**
 * One noisy tenant beside 99 quiet ones, with shares and without.
 *
 *   npm run tenants -- --help
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import * as Cli from "../Cli.js"
import * as Story from "../Story.js"
import * as Page from "./Page.js"
import { play } from "./Town.js"

const tell = Effect.all({
  alone: Story.simulated(play("without the noisy one", false, undefined)),
  without: Story.simulated(play("without shares", true, undefined)),
  shared: Story.simulated(play("with shares", true, {}))
}).pipe(Effect.map((plays) => ({ text: Page.print(plays), html: Page.html(plays) })))

const what = `One tenant has 90 % of a queue's messages, 99 others have the rest: what they wait, with shares and
without, in virtual time, and a page with a picture of it.`

NodeRuntime.runMain(Story.program("tenants", what, tell), { teardown: Cli.teardown })
